//! Aliases are patterns as shells have them: `*`, `?` and `[…]`.

/// Whether all of `text` is as `pattern` says.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut in_text) = (0, 0);
    // Where to go on when the last `*` has to stand for one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(at), text.get(in_text)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                retry = Some((at + 1, in_text));
                at += 1;
                continue;
            }
            (Some(_), Some(byte)) => {
                if let Some(length) = one(&pattern[at..], *byte) {
                    at += length;
                    in_text += 1;
                    continue;
                }
            }
            _ => {}
        }
        match retry {
            Some((after, taken)) if taken < text.len() => {
                retry = Some((after, taken + 1));
                (at, in_text) = (after, taken + 1);
            }
            _ => return false,
        }
    }
}

/// How long the beginning of `pattern` is that stands for `byte`; `None` if it stands for another.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'[', rest @ ..] => set(rest, byte),
        [literal, ..] => (*literal == byte).then_some(1),
        [] => None,
    }
}

/// As `one`, behind a bracket. A closing bracket that is the first is one of the set.
fn set(rest: &[u8], byte: u8) -> Option<usize> {
    let negated = matches!(rest.first(), Some(b'!' | b'^'));
    let begin = usize::from(negated);
    let length = rest.iter().skip(begin + 1).position(|byte| *byte == b']')? + begin + 1;
    let mut set = &rest[begin..length];
    let mut found = false;
    while let [first, more @ ..] = set {
        set = match more {
            [b'-', last, after @ ..] => {
                found |= (first..=last).contains(&&byte);
                after
            }
            _ => {
                found |= *first == byte;
                more
            }
        };
    }
    // The brackets themselves.
    (found != negated).then_some(length + 2)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_the_shells() {
        let says = |pattern: &str, text: &str| matches(pattern.as_bytes(), text.as_bytes());
        assert!(says("block_major_7_*", "block_major_7_0"));
        assert!(!says("block_major_7_*", "block_major_8_0"));
        assert!(says("pci:v*d00001000sv*", "pci:v00001AF4d00001000sv0"));
        assert!(says("a*b*c", "aXbXbYc") && !says("a*b*c", "aXbX"));
        assert!(says("x?[0-9a]", "xya") && says("x[!0-9]", "xa") && !says("x[!0-9]", "x5"));
        assert!(says("[]]", "]") && !says("[a", "a"));
        assert!(says("*", "") && says("", "") && !says("", "x"));
    }
}
