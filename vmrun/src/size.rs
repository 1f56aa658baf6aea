//! Sizes as people write and read them.

/// As many digits of a fraction count.
const MAX_DIGITS: usize = 18;

/// Reads `512m`, `2g`, `1.5g`, `64k`, `1048576` (bytes), as Docker's `--memory` does; `MiB` and `mb` mean
/// the same powers of two. Of a byte, nothing is left.
pub fn parse(text: &str) -> Result<u64, String> {
    let end =
        text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = (&text[..end], text[end..].to_ascii_lowercase());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    // Longer ones than this say nothing more.
    let fraction = &fraction[..fraction.len().min(MAX_DIGITS)];
    let digits = |digits: &str| digits.parse::<u64>().ok();
    let (Some(whole), Some(part)) = (digits(whole), digits(fraction)) else {
        return Err(format!("'{text}' is not a size, such as 512m or 1.5g"));
    };
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("'{text}' is not a size: '{unit}' is none of b, k, m, g, t")),
    };
    let part = (u128::from(part) << shift) / 10_u128.pow(fraction.len() as u32);
    let bytes = (u128::from(whole) << shift) + part;
    u64::try_from(bytes).map_err(|_| format!("'{text}' is more than there can be"))
}

/// Writes a number of bytes as Docker's tables do: three digits, decimal units.
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = if unit == 0 || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.decimals$}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_docker_reads_them() {
        assert_eq!(parse("512m"), Ok(512 << 20));
        assert_eq!(parse("2G"), Ok(2 << 30));
        assert_eq!(parse("64KiB"), Ok(64 << 10));
        assert_eq!(parse("1048576"), Ok(1 << 20));
        assert_eq!(parse("7b"), Ok(7));
        assert_eq!(parse("1.5g"), Ok(3 << 29));
        assert_eq!(parse("0.5"), Ok(0));
        assert_eq!(parse("1.7KiB"), Ok(1740));
        assert_eq!(parse(&format!("0.{}t", "9".repeat(400))), Ok((1 << 40) - 1));
        assert_eq!(parse("16777215.999999999t"), Ok(u64::MAX - 1099));
        for bad in
            ["", "m", "-1", ".", "1.", ".5g", "1.5.5g", "1.-5g", "1,5g", "3x", "99999999999t", "16777216t"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_with_three_digits() {
        assert_eq!(show(0), "0B");
        assert_eq!(show(999), "999B");
        assert_eq!(show(1000), "1.00kB");
        assert_eq!(show(4_440_000), "4.44MB");
        assert_eq!(show(123_456_789), "123MB");
    }
}
