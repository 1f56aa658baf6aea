//! POSIX ACLs: as programs see them in an xattr, and as ext4 keeps them.

/// The version of what programs see, and of what is kept.
const SEEN: [u8; 4] = 2u32.to_le_bytes();
const KEPT: [u8; 4] = 1u32.to_le_bytes();
/// Tags of entries that name a user or a group.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// The kept form of an ACL: entries that name nobody have no id.
pub fn encode(seen: &[u8]) -> Vec<u8> {
    let entries = seen.strip_prefix(&SEEN).unwrap_or_default();
    let mut kept = KEPT.to_vec();
    for entry in entries.chunks_exact(8) {
        let tag = u16::from_le_bytes([entry[0], entry[1]]);
        let length = if matches!(tag, USER | GROUP) { 8 } else { 4 };
        kept.extend_from_slice(&entry[..length]);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_entries_that_name_somebody_keep_their_id() {
        let entry = |tag: u16, permissions: u16, id: u32| {
            [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        };
        let none = u32::MAX;
        let seen = [&SEEN[..], &entry(1, 6, none), &entry(2, 4, 1000), &entry(0x20, 0, none)].concat();
        let kept = [&KEPT[..], &entry(1, 6, none)[..4], &entry(2, 4, 1000), &entry(0x20, 0, none)[..4]];
        assert_eq!(encode(&seen), kept.concat());
        assert_eq!(encode(&SEEN), KEPT);
    }
}
