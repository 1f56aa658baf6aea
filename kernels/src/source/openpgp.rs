//! Who made an OpenPGP signature (RFC 9580, section 5.2): the key it names. Nothing is verified here.

/// The issuer's fingerprint or key ID, in hexadecimal, of the first signature packet.
pub fn signer(packet: &[u8]) -> Option<String> {
    let body = body(packet)?;
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02X}")).collect() };
    match *body.first()? {
        3 => body.get(7..15).map(|id| format!("key {}", hex(id))),
        4 | 6 => {
            let wide = body[0] == 6;
            let mut rest = body.get(4..)?;
            let mut named = None;
            // The hashed subpackets, then the others.
            for _ in 0..2 {
                let (area, after) = area(rest, wide)?;
                named = named.or_else(|| issuer(area));
                rest = after;
            }
            named.map(|id| format!("key {}", hex(id)))
        }
        _ => None,
    }
}

/// The content of a signature packet (tag 2), whichever way its length is written.
fn body(packet: &[u8]) -> Option<&[u8]> {
    let (first, rest) = packet.split_first()?;
    let (length, rest) = match first {
        0xc2 => length(rest)?,
        0x88 => (usize::from(*rest.first()?), &rest[1..]),
        0x89 => (usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])), &rest[2..]),
        _ => return None,
    };
    rest.get(..length)
}

fn area(from: &[u8], wide: bool) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match wide {
        true => (u32::from_be_bytes(from.get(..4)?.try_into().ok()?) as usize, &from[4..]),
        false => (usize::from(u16::from_be_bytes(from.get(..2)?.try_into().ok()?)), &from[2..]),
    };
    rest.split_at_checked(length)
}

/// The issuer among subpackets: a fingerprint (33) if there is one, else a key ID (16).
fn issuer(mut subpackets: &[u8]) -> Option<&[u8]> {
    let mut id = None;
    while !subpackets.is_empty() {
        let (length, rest) = length(subpackets)?;
        let (subpacket, after) = rest.split_at_checked(length)?;
        match subpacket.split_first() {
            // The fingerprint's version comes first.
            Some((33, fingerprint)) if fingerprint.len() > 1 => return Some(&fingerprint[1..]),
            Some((16, issuer)) if issuer.len() == 8 => id = Some(issuer),
            _ => {}
        }
        subpackets = after;
    }
    id
}

fn length(from: &[u8]) -> Option<(usize, &[u8])> {
    let first = *from.first()?;
    match first {
        0..=191 => Some((usize::from(first), &from[1..])),
        192..=254 => {
            let second = usize::from(*from.get(1)?);
            Some((((usize::from(first) - 192) << 8) + second + 192, &from[2..]))
        }
        255 => {
            let length = u32::from_be_bytes(from.get(1..5)?.try_into().ok()?);
            Some((length as usize, &from[5..]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Version 4, an issuer's key ID among the unhashed subpackets, as GnuPG 2.0 and rpm's signers made them.
    fn old() -> Vec<u8> {
        let mut body = vec![4, 0, 1, 8, 0, 6, 5, 2, 1, 2, 3, 4, 0, 10, 9, 16, 0xab, 1, 2, 3, 4, 5, 6, 7];
        body.extend([0, 0, 0, 8, 0xff]);
        [vec![0x88, body.len() as u8], body].concat()
    }

    #[test]
    fn the_issuer_is_found_in_all_versions() {
        assert_eq!(signer(&old()).unwrap(), "key AB01020304050607");
        let mut new = vec![4, 0, 22, 8, 0, 23, 22, 33, 4];
        new.extend([0xcd; 20]);
        new.extend([0, 0]);
        let new = [vec![0xc2, new.len() as u8], new].concat();
        assert_eq!(signer(&new).unwrap(), format!("key {}", "CD".repeat(20)));
        let three = [vec![0x88, 15, 3, 5, 0, 1, 2, 3, 4], vec![0xee; 8]].concat();
        assert_eq!(signer(&three).unwrap(), format!("key {}", "EE".repeat(8)));
    }

    #[test]
    fn what_is_cut_or_lies_names_nobody_and_harms_nobody() {
        let good = old();
        for end in 0..good.len() - 1 {
            assert_eq!(signer(&good[..end]), None, "{end}");
        }
        for at in 0..good.len() {
            for value in [0, 1, 127, 192, 255] {
                let mut bad = good.clone();
                bad[at] = value;
                let _ = signer(&bad);
            }
        }
    }
}
