//! Encoding extended attributes.

use super::format::{XATTR_ENTRY, XATTR_HEADER, XattrEntry, XattrHeader};
use zerocopy::IntoBytes;

/// Prefixes that EROFS abbreviates, and whether more has to follow them.
const PREFIXES: [(&[u8], u8, bool); 5] = [
    (b"user.", 1, true),
    (b"system.posix_acl_access", 2, false),
    (b"system.posix_acl_default", 3, false),
    (b"trusted.", 4, true),
    (b"security.", 6, true),
];

/// Linux's limit on a name, and EROFS's on a value.
const MAX_NAME: usize = 255;
const MAX_VALUE: usize = u16::MAX as usize;
/// All xattrs of an inode together, by the width of the field that counts them.
pub const MAX_BYTES: usize = XATTR_HEADER + 4 * (u16::MAX as usize - 1);

/// A prefix's number and what follows it, if EROFS can hold an xattr of this name.
pub fn split_name(name: &[u8]) -> Option<(u8, &[u8])> {
    PREFIXES.iter().find_map(|&(prefix, number, more)| {
        name.strip_prefix(prefix).filter(|rest| rest.is_empty() != more).map(|rest| (number, rest))
    })
}

/// Why an xattr cannot be in an image, or must not.
pub fn objection(name: &[u8], value: &[u8]) -> Option<&'static str> {
    if name.starts_with(b"trusted.overlay.") {
        return Some("the guest's overlay would obey it");
    }
    if name.len() > MAX_NAME || name.contains(&0) || split_name(name).is_none() {
        return Some("EROFS cannot hold this name");
    }
    if value.len() > MAX_VALUE {
        return Some("its value is too long");
    }
    // Linux refuses every access to a file whose ACL it cannot parse.
    if name.starts_with(b"system.posix_acl_") && !is_acl(value) {
        return Some("it is no POSIX ACL");
    }
    None
}

fn is_acl(value: &[u8]) -> bool {
    const VERSION: [u8; 4] = 2u32.to_le_bytes();
    matches!(value.strip_prefix(&VERSION), Some(entries) if entries.len() % 8 == 0)
}

/// Bytes of an xattr's entry.
pub fn entry_bytes(name: &[u8], value: &[u8]) -> usize {
    let suffix = split_name(name).map_or(0, |(_, suffix)| suffix.len());
    (XATTR_ENTRY + suffix + value.len()).next_multiple_of(4)
}

/// Bytes of an inode's xattrs, none of them shared.
pub fn inline_bytes<'a>(xattrs: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> usize {
    match xattrs.map(|(name, value)| entry_bytes(name, value)).sum() {
        0 => 0,
        entries => XATTR_HEADER + entries,
    }
}

/// The field of an inode that tells how long its xattrs are.
pub fn count_field(bytes: usize) -> u16 {
    match bytes {
        0 => 0,
        bytes => ((bytes - XATTR_HEADER) / 4 + 1) as u16,
    }
}

pub fn write_header(shared_count: u8, out: &mut Vec<u8>) {
    out.extend_from_slice(XattrHeader { shared_count, ..Default::default() }.as_bytes());
}

pub fn write_entry(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    let (prefix, suffix) = split_name(name).unwrap_or((0, name));
    let entry =
        XattrEntry { name_length: suffix.len() as u8, prefix, value_size: (value.len() as u16).into() };
    out.extend_from_slice(entry.as_bytes());
    out.extend_from_slice(suffix);
    out.extend_from_slice(value);
    out.resize(out.len().next_multiple_of(4), 0);
}
