//! The words of an instruction: quotes, escapes, variables.

use std::iter::Peekable;
use std::str::Chars;

use super::{Error, Result};

/// Splits at blanks outside of quotes, and takes quotes and escapes away.
pub fn split(text: &str, environment: &[String]) -> Result<Vec<String>> {
    Reader { text, rest: text.chars().peekable(), environment }.words(true)
}

/// The same without splitting.
pub fn expand(text: &str, environment: &[String]) -> Result<String> {
    let words = Reader { text, rest: text.chars().peekable(), environment }.words(false)?;
    Ok(words.concat())
}

struct Reader<'a> {
    text: &'a str,
    rest: Peekable<Chars<'a>>,
    environment: &'a [String],
}

impl Reader<'_> {
    fn words(mut self, splits: bool) -> Result<Vec<String>> {
        let mut words = Vec::new();
        let mut word: Option<String> = None;
        while let Some(character) = self.rest.next() {
            if splits && character.is_whitespace() {
                words.extend(word.take());
                continue;
            }
            let word = word.get_or_insert_default();
            match character {
                '\'' => self.single_quoted(word)?,
                '"' => self.double_quoted(word)?,
                '\\' => word.extend(self.rest.next()),
                '$' => self.variable(word)?,
                character => word.push(character),
            }
        }
        words.extend(word);
        Ok(words)
    }

    fn single_quoted(&mut self, word: &mut String) -> Result<()> {
        loop {
            match self.rest.next() {
                Some('\'') => return Ok(()),
                Some(character) => word.push(character),
                None => return Err(self.unclosed()),
            }
        }
    }

    fn double_quoted(&mut self, word: &mut String) -> Result<()> {
        loop {
            match self.rest.next() {
                Some('"') => return Ok(()),
                Some('$') => self.variable(word)?,
                Some('\\') => match self.rest.next() {
                    Some(character @ ('"' | '$' | '\\')) => word.push(character),
                    Some(character) => word.extend(['\\', character]),
                    None => return Err(self.unclosed()),
                },
                Some(character) => word.push(character),
                None => return Err(self.unclosed()),
            }
        }
    }

    /// What comes after a `$`: a name, `{name}`, `{name:-otherwise}` or `{name:+if set}`.
    fn variable(&mut self, word: &mut String) -> Result<()> {
        let braced = self.rest.next_if_eq(&'{').is_some();
        let name = self.name();
        if !braced {
            match name.is_empty() {
                true => word.push('$'),
                false => word.push_str(self.value(&name).unwrap_or_default()),
            }
            return Ok(());
        }
        let mut inside = String::new();
        loop {
            match self.rest.next() {
                Some('}') => break,
                Some(character) => inside.push(character),
                None => return Err(self.unclosed()),
            }
        }
        let value = self.value(&name).filter(|value| !value.is_empty() || inside.is_empty());
        match (inside.get(..2), value) {
            (Some(":-"), None) => word.push_str(&inside[2..]),
            (Some(":+"), Some(_)) => word.push_str(&inside[2..]),
            (Some(":+"), None) => {}
            (_, value) => word.push_str(value.unwrap_or_default()),
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(character) = self.rest.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(character);
        }
        name
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.environment.iter().rev().find_map(|variable| variable.strip_prefix(name)?.strip_prefix('='))
    }

    fn unclosed(&self) -> Error {
        Error::Quote(self.text.to_owned())
    }
}
