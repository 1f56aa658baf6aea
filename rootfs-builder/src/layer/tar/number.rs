//! The ways in which tar archives write numbers and times.

use crate::layer::Time;

/// A header field: octal digits, or a big-endian two's complement number marked by the first byte's high
/// bit (GNU and star's "base-256"). An empty field is 0.
pub fn header_field(field: &[u8]) -> Option<i64> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => base_256(field),
        _ => octal(field).and_then(|value| i64::try_from(value).ok()),
    }
}

fn base_256(field: &[u8]) -> Option<i64> {
    let (&first, rest) = field.split_first()?;
    // The mark is the top bit; the sign is the bit below it.
    let mut value = i128::from(first & 0x7f);
    if first & 0x40 != 0 {
        value -= 0x80;
    }
    for &byte in rest {
        value = value.checked_mul(256)?.checked_add(i128::from(byte))?;
    }
    i64::try_from(value).ok()
}

fn octal(field: &[u8]) -> Option<u64> {
    let padding = |byte: &u8| *byte == b' ' || *byte == 0;
    let start = field.iter().position(|byte| !padding(byte)).unwrap_or(field.len());
    let digits = &field[start..];
    let end = digits.iter().position(padding).unwrap_or(digits.len());
    if !digits[end..].iter().all(padding) {
        return None;
    }
    digits[..end].iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'7' => value.checked_mul(8)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A decimal number without sign, as in PAX records and sparse maps.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, &byte| match byte {
        b'0'..=b'9' => value.checked_mul(10)?.checked_add(u64::from(byte - b'0')),
        _ => None,
    })
}

/// A PAX time: seconds since the epoch with an optional sign and fraction. Digits beyond the nanosecond are
/// cut off.
pub fn pax_time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let dot = text.iter().position(|&byte| byte == b'.');
    let (whole, fraction) = match dot {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let seconds = i64::try_from(decimal(whole)?).ok()?;
    let mut nanoseconds = 0;
    for place in 0..9 {
        let digit = match fraction.get(place) {
            Some(digit @ b'0'..=b'9') => u32::from(digit - b'0'),
            Some(_) => return None,
            None => 0,
        };
        nanoseconds = nanoseconds * 10 + digit;
    }
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => Time { seconds, nanoseconds },
        (true, 0) => Time { seconds: -seconds, nanoseconds: 0 },
        (true, _) => Time { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_fields_in_every_padding() {
        assert_eq!(header_field(b"0000644\0"), Some(0o644));
        assert_eq!(header_field(b"   644 \0"), Some(0o644));
        assert_eq!(header_field(b"\0\0\0\0"), Some(0));
        assert_eq!(header_field(b"777777777777"), Some(0o777777777777));
        assert_eq!(header_field(b"-1\0"), None);
        assert_eq!(header_field(b"12 3\0"), None);
        assert_eq!(header_field(b"89\0"), None);
    }

    #[test]
    fn base_256_fields_of_both_signs() {
        assert_eq!(header_field(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]), Some(256));
        assert_eq!(header_field(&[0xff; 12]), Some(-1));
        assert_eq!(header_field(&[0x80, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        assert_eq!(header_field(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]), Some(-256));
    }

    #[test]
    fn times_before_and_after_the_epoch() {
        let time = |seconds, nanoseconds| Some(Time { seconds, nanoseconds });
        assert_eq!(pax_time(b"1350244992.023960108"), time(1350244992, 23960108));
        assert_eq!(pax_time(b"1.5"), time(1, 500_000_000));
        assert_eq!(pax_time(b"-1.5"), time(-2, 500_000_000));
        assert_eq!(pax_time(b"-3"), time(-3, 0));
        assert_eq!(pax_time(b"1.1234567899"), time(1, 123456789));
        assert_eq!(pax_time(b"1.x"), None);
        assert_eq!(pax_time(b"."), None);
        assert_eq!(pax_time(b""), None);
    }
}
