//! Control data (deb-control(5)): stanzas of `Name: value` lines, parted by empty lines, read one at a time.

use std::io::{self, BufRead, Read};

/// The longest stanza, in bytes. Debian's have some ten thousand.
const LONGEST: usize = 1 << 20;

/// One stanza's text.
#[derive(Debug, Default)]
pub struct Stanza(String);

impl Stanza {
    /// A field that is one line, by its name as Debian writes it.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.lines(name).map(|(value, _)| value)
    }

    /// The lines that continue a field.
    pub fn list(&self, name: &str) -> impl Iterator<Item = &str> {
        let rest = self.lines(name).map_or("", |(_, rest)| rest);
        rest.lines().take_while(|line| line.starts_with([' ', '\t'])).map(str::trim)
    }

    /// A field with the lines that continue it.
    pub fn words(&self, name: &str) -> Vec<&str> {
        let first = self.field(name).unwrap_or_default();
        std::iter::once(first).chain(self.list(name)).flat_map(str::split_whitespace).collect()
    }

    fn lines(&self, name: &str) -> Option<(&str, &str)> {
        let mut rest = self.0.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_once('\n').unwrap_or((rest, ""));
            if let Some((field, value)) = line.split_once(':')
                && field.eq_ignore_ascii_case(name)
            {
                return Some((value.trim(), after));
            }
            rest = after;
        }
        None
    }
}

/// The stanzas of a text, one after the other.
pub struct Stanzas<R>(R);

impl<R: BufRead> Stanzas<R> {
    pub fn new(text: R) -> Stanzas<R> {
        Stanzas(text)
    }

    fn read(&mut self) -> io::Result<Option<Stanza>> {
        let mut text = String::new();
        loop {
            let begin = text.len();
            let most = (LONGEST - begin) as u64;
            let mut line = Vec::new();
            let read = (&mut self.0).take(most).read_until(b'\n', &mut line)?;
            text.push_str(&String::from_utf8_lossy(&line));
            if text.len() >= LONGEST {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a stanza is longer than 1 MiB"));
            }
            let is_empty = text[begin..].trim().is_empty();
            match (read, is_empty) {
                (0, _) if begin == 0 => return Ok(None),
                (0, _) => return Ok(Some(Stanza(text))),
                (_, true) if begin == 0 => text.clear(),
                (_, true) => return Ok(Some(Stanza(text))),
                (_, false) if text[begin..].starts_with('#') => text.truncate(begin),
                (_, false) => {}
            }
        }
    }
}

impl<R: BufRead> Iterator for Stanzas<R> {
    type Item = io::Result<Stanza>;

    fn next(&mut self) -> Option<io::Result<Stanza>> {
        self.read().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stanzas_are_parted_by_empty_lines_and_fields_go_on() {
        let text =
            "\nPackage: a\nDepends: b,\n c\n# no\nVersion: 1:2\n\n\n\nPackage: d\nSHA256:\n 00 1 x\n 11 2 y";
        let stanzas: Vec<Stanza> = Stanzas::new(text.as_bytes()).map(Result::unwrap).collect();
        assert_eq!(stanzas.len(), 2);
        assert_eq!(stanzas[0].field("version"), Some("1:2"));
        assert_eq!(stanzas[0].words("Depends"), ["b,", "c"]);
        assert_eq!(stanzas[1].list("SHA256").collect::<Vec<_>>(), ["00 1 x", "11 2 y"]);
        assert_eq!(stanzas[1].field("Version"), None);
    }

    #[test]
    fn a_stanza_without_end_is_an_error_and_no_memory() {
        let endless = io::repeat(b'a');
        assert!(Stanzas::new(io::BufReader::new(endless)).next().unwrap().is_err());
    }
}
