//! Encoding extended attributes: what fits is in the inode, the rest in a block that inodes with the same
//! xattrs share.

use super::acl;
use super::format::*;
use crate::erofs::xattr::split_name;
use crate::layer::table::XattrList;
use std::borrow::Cow;
use zerocopy::IntoBytes;

/// An xattr as it is kept.
struct Kept<'a> {
    prefix: u8,
    suffix: &'a [u8],
    value: Cow<'a, [u8]>,
}

/// The xattrs of an inode, ready to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    /// What follows the inode.
    pub in_inode: Vec<u8>,
    /// Everything of the block but how often it is used.
    pub block: Option<Vec<u8>>,
}

/// Bytes that all xattrs of a file may have together, which do not fit.
#[derive(Debug, PartialEq, Eq)]
pub struct TooLarge;

/// Encodes the xattrs of a file. Small ones go into the inode.
pub fn encode(xattrs: &XattrList<'_>) -> Result<Encoded, TooLarge> {
    let mut kept: Vec<Kept<'_>> = xattrs.iter().map(|&(name, value)| keep(name, value)).collect();
    // In a block, entries are sorted like this.
    kept.sort_by(|a, b| (a.prefix, a.suffix.len(), a.suffix).cmp(&(b.prefix, b.suffix.len(), b.suffix)));
    let mut by_size: Vec<usize> = (0..kept.len()).collect();
    by_size.sort_by_key(|&index| kept[index].bytes());
    let mut in_inode = vec![false; kept.len()];
    let mut left = INODE_XATTRS - size_of_val(&XATTR_MAGIC) - END;
    for index in by_size {
        let bytes = kept[index].bytes();
        if bytes <= left {
            left -= bytes;
            in_inode[index] = true;
        }
    }
    let (inside, outside): (Vec<_>, Vec<_>) = kept.into_iter().zip(in_inode).partition(|(_, inside)| *inside);
    let mut encoded = Encoded::default();
    if !inside.is_empty() {
        let begin = size_of_val(&XATTR_MAGIC);
        encoded.in_inode = vec![0; INODE_XATTRS];
        encoded.in_inode[..begin].copy_from_slice(&XATTR_MAGIC.to_le_bytes());
        write(&inside, &mut encoded.in_inode[begin..], 0);
    }
    if !outside.is_empty() {
        let bytes: usize = outside.iter().map(|(xattr, _)| xattr.bytes()).sum();
        if XATTR_BLOCK_HEADER + bytes + END > BLOCK {
            return Err(TooLarge);
        }
        let mut block = vec![0; BLOCK];
        let hash = write(&outside, &mut block, XATTR_BLOCK_HEADER);
        let header = XattrBlockHeader {
            magic: XATTR_MAGIC.into(),
            blocks: 1.into(),
            hash: hash.into(),
            ..XattrBlockHeader::default()
        };
        block[..XATTR_BLOCK_HEADER].copy_from_slice(header.as_bytes());
        encoded.block = Some(block);
    }
    Ok(encoded)
}

/// Says in a block how many inodes have it.
pub fn set_references(block: &mut [u8], references: u32) {
    block[4..8].copy_from_slice(&references.to_le_bytes());
}

/// Bytes of the zeroes that end the entries.
const END: usize = 4;

fn keep<'a>(name: &'a [u8], value: &'a [u8]) -> Kept<'a> {
    let (prefix, suffix) = split_name(name).unwrap_or((0, name));
    let value = match name.starts_with(b"system.posix_acl_") {
        true => Cow::Owned(acl::encode(value)),
        false => Cow::Borrowed(value),
    };
    Kept { prefix, suffix, value }
}

impl Kept<'_> {
    /// Of entry and value.
    fn bytes(&self) -> usize {
        self.entry_bytes() + self.value.len().next_multiple_of(4)
    }

    fn entry_bytes(&self) -> usize {
        (XATTR_ENTRY + self.suffix.len()).next_multiple_of(4)
    }

    fn hash(&self) -> u32 {
        let name = self.suffix.iter().fold(0u32, |hash, &byte| hash.rotate_left(5) ^ u32::from(byte));
        self.value.chunks(4).fold(name, |hash, chunk| {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.rotate_left(16) ^ u32::from_le_bytes(word)
        })
    }
}

/// Writes entries from `begin` on and their values before the end of `out`. The hash of all is returned.
fn write(xattrs: &[(Kept<'_>, bool)], out: &mut [u8], begin: usize) -> u32 {
    let (mut at, mut values, mut all) = (begin, out.len(), 0u32);
    for (xattr, _) in xattrs {
        let size = xattr.value.len();
        values -= size.next_multiple_of(4);
        let hash = xattr.hash();
        all = all.rotate_left(16) ^ hash;
        let entry = XattrEntry {
            name_length: xattr.suffix.len() as u8,
            prefix: xattr.prefix,
            value_offset: if size > 0 { values as u16 } else { 0 }.into(),
            value_inode: 0.into(),
            value_size: (size as u32).into(),
            hash: hash.into(),
        };
        out[at..at + XATTR_ENTRY].copy_from_slice(entry.as_bytes());
        out[at + XATTR_ENTRY..][..xattr.suffix.len()].copy_from_slice(xattr.suffix);
        out[values..values + size].copy_from_slice(&xattr.value);
        at += xattr.entry_bytes();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_ones_are_in_the_inode_and_the_rest_in_a_block() {
        let (small, large) = (vec![1; 20], vec![2; 300]);
        let encoded = encode(&vec![(&b"security.capability"[..], &small[..])]).unwrap();
        assert_eq!((encoded.in_inode.len(), encoded.block.is_none()), (INODE_XATTRS, true));
        let both = vec![(&b"security.capability"[..], &small[..]), (b"user.large", &large)];
        let encoded = encode(&both).unwrap();
        assert_eq!(encoded.in_inode[INODE_XATTRS - 20..], small[..]);
        assert_eq!(encoded.block.unwrap()[BLOCK - 300..], large[..]);
        assert_eq!(encode(&Vec::new()).unwrap(), Encoded::default());
    }

    #[test]
    fn a_block_is_filled_to_its_end_and_not_further() {
        let room = BLOCK - XATTR_BLOCK_HEADER - END - XATTR_ENTRY - 4;
        let value = vec![7; room + 1];
        assert!(encode(&vec![(&b"user.v"[..], &value[..room])]).is_ok());
        assert_eq!(encode(&vec![(&b"user.v"[..], &value[..])]), Err(TooLarge));
    }
}
