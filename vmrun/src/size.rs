//! Sizes as people write and read them.

/// Reads `512m`, `2g`, `64k`, `1048576` (bytes), as Docker's `--memory` does; `MiB` and `mb` mean
/// the same powers of two.
pub fn parse(text: &str) -> Result<u64, String> {
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 =
        text[..digits].parse().map_err(|_| format!("'{text}' is not a size, such as 512m or 2g"))?;
    let unit = text[digits..].to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("'{text}' is not a size: '{unit}' is none of b, k, m, g, t")),
    };
    number.checked_mul(1 << shift).ok_or_else(|| format!("'{text}' is more than there can be"))
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
        for bad in ["", "m", "-1", "1.5g", "3x", "99999999999t"] {
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
