//! The keys that leave a machine running: `ctrl-p,ctrl-q` unless other ones are given.

use std::fmt;
use std::str::FromStr;

/// A sequence of bytes that a terminal sends, at least one unless detaching is switched off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetachKeys {
    text: String,
    bytes: Vec<u8>,
}

impl Default for DetachKeys {
    fn default() -> DetachKeys {
        DetachKeys { text: "ctrl-p,ctrl-q".into(), bytes: vec![16, 17] }
    }
}

impl FromStr for DetachKeys {
    type Err = String;

    /// Letters, and `ctrl-` with a letter or one of `@ [ \ ] ^ _`, with commas between them; empty for none.
    fn from_str(text: &str) -> Result<DetachKeys, String> {
        let keys = text.split(',').filter(|_| !text.is_empty());
        let bytes = keys.map(key).collect::<Option<Vec<u8>>>();
        let bytes = bytes.ok_or("it is letters, or ctrl- with a letter, with commas between them")?;
        Ok(DetachKeys { text: text.to_owned(), bytes })
    }
}

fn key(word: &str) -> Option<u8> {
    let (control, letter) = match word.strip_prefix("ctrl-") {
        Some(letter) => (true, letter),
        None => (false, word),
    };
    let &[byte] = letter.as_bytes() else { return None };
    match byte.to_ascii_uppercase() {
        _ if !control => Some(byte),
        upper @ b'@'..=b'_' => Some(upper - b'@'),
        _ => None,
    }
}

impl fmt::Display for DetachKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Looks for the keys in what is typed.
#[derive(Debug)]
pub struct Detector {
    keys: Vec<u8>,
    /// How many of them were typed last.
    matched: usize,
}

impl Detector {
    pub fn new(keys: &DetachKeys) -> Detector {
        Detector { keys: keys.bytes.clone(), matched: 0 }
    }

    /// Takes what was typed; returns what is for the process, without the keys, and whether they are complete. Keys
    /// that turn out to be the beginning of something else are passed on then.
    pub fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for &byte in typed {
            if self.keys.get(self.matched) == Some(&byte) {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    self.matched = 0;
                    return (passed, true);
                }
                continue;
            }
            passed.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(self.keys.first() == Some(&byte) && self.keys.len() > 1);
            if self.matched == 0 {
                passed.push(byte);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_letters_and_control_letters() {
        let bytes = |text: &str| text.parse::<DetachKeys>().map(|keys| keys.bytes).ok();
        assert_eq!(bytes("ctrl-p,ctrl-q"), Some(vec![16, 17]));
        assert_eq!(bytes("a,ctrl-@,ctrl-["), Some(vec![b'a', 0, 27]));
        assert_eq!(bytes(""), Some(vec![]));
        assert_eq!([bytes("ctrl-"), bytes("ab"), bytes("ctrl-1")], [None, None, None]);
    }

    #[test]
    fn only_the_whole_sequence_detaches() {
        let mut detector = Detector::new(&DetachKeys::default());
        assert_eq!(detector.take(b"ls\x10"), (b"ls".to_vec(), false));
        assert_eq!(detector.take(b"x\x10\x10"), (b"\x10x\x10".to_vec(), false));
        assert_eq!(detector.take(b"\x11later"), (b"".to_vec(), true));
        let mut never = Detector::new(&"".parse().unwrap());
        assert_eq!(never.take(b"\x10\x11"), (b"\x10\x11".to_vec(), false));
    }
}
