//! Instructions as a Dockerfile writes them, as far as they are about an image's configuration.

mod apply;
mod healthcheck;
mod words;

pub use healthcheck::Healthcheck;

/// One change of an image's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Instruction {
    Cmd(Vec<String>),
    Entrypoint(Vec<String>),
    /// Names and values.
    Env(Vec<(String, String)>),
    /// `80/tcp` each.
    Expose(Vec<String>),
    Label(Vec<(String, String)>),
    User(String),
    Workdir(String),
    StopSignal(String),
    Volume(Vec<String>),
    Healthcheck(Healthcheck),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(
        "‘{0}’ is no instruction that changes an image's configuration: these are CMD, ENTRYPOINT, ENV, \
         EXPOSE, HEALTHCHECK, LABEL, STOPSIGNAL, USER, VOLUME and WORKDIR"
    )]
    Unknown(String),
    #[error("{0} says nothing: something has to follow it")]
    Empty(&'static str),
    #[error("{instruction} takes NAME=VALUE, not ‘{word}’")]
    Pair { instruction: &'static str, word: String },
    #[error("{instruction} takes {takes}, not ‘{word}’")]
    Word { instruction: &'static str, takes: &'static str, word: String },
    #[error("a quote in ‘{0}’ is not closed")]
    Quote(String),
}

type Result<T> = std::result::Result<T, Error>;

impl Instruction {
    /// Reads one instruction. `environment` has the variables (`NAME=VALUE`) that its words may name.
    pub fn parse(line: &str, environment: &[String]) -> Result<Instruction> {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let words = |name| match rest {
            "" => Err(Error::Empty(name)),
            _ => words::split(rest, environment),
        };
        let one = |name| Ok(words(name)?.join(" "));
        Ok(match word.to_ascii_uppercase().as_str() {
            "CMD" => Instruction::Cmd(command(rest)),
            "ENTRYPOINT" => Instruction::Entrypoint(command(rest)),
            "ENV" => Instruction::Env(pairs("ENV", rest, environment)?),
            "LABEL" => Instruction::Label(pairs("LABEL", rest, environment)?),
            "EXPOSE" => Instruction::Expose(ports(&words("EXPOSE")?)?),
            "USER" => Instruction::User(one("USER")?),
            "WORKDIR" => Instruction::Workdir(one("WORKDIR")?),
            "STOPSIGNAL" => Instruction::StopSignal(one("STOPSIGNAL")?),
            "VOLUME" => match list(rest) {
                Some(list) => Instruction::Volume(list),
                None => Instruction::Volume(words("VOLUME")?),
            },
            "HEALTHCHECK" => Instruction::Healthcheck(Healthcheck::parse(rest)?),
            _ => return Err(Error::Unknown(word.chars().take(40).collect())),
        })
    }
}

/// A command: a JSON list is taken as it is, everything else goes to a shell.
fn command(text: &str) -> Vec<String> {
    match list(text) {
        Some(list) => list,
        None if text.is_empty() => Vec::new(),
        None => vec!["/bin/sh".into(), "-c".into(), text.into()],
    }
}

fn list(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok()).flatten()
}

/// `NAME=VALUE…`, or in the old form one `NAME VALUE`.
fn pairs(instruction: &'static str, text: &str, environment: &[String]) -> Result<Vec<(String, String)>> {
    let first = text.split_whitespace().next().ok_or(Error::Empty(instruction))?;
    let pair = |word: &str| Error::Pair { instruction, word: word.to_owned() };
    if !first.contains('=') {
        let value = text[first.len()..].trim();
        if value.is_empty() {
            return Err(pair(first));
        }
        return Ok(vec![(first.to_owned(), words::expand(value, environment)?)]);
    }
    let split = |word: String| match word.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(pair(&word)),
    };
    words::split(text, environment)?.into_iter().map(split).collect()
}

/// `80`, `80/udp`, `8000-8010`, each as the configuration has it.
fn ports(words: &[String]) -> Result<Vec<String>> {
    let mut ports = Vec::new();
    for word in words {
        let refused =
            || Error::Word { instruction: "EXPOSE", takes: "ports such as 80 or 53/udp", word: word.clone() };
        let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().map_err(|_| refused());
        let (first, last) = (number(first)?, number(last)?);
        if first > last || !["tcp", "udp", "sctp"].contains(&protocol.to_ascii_lowercase().as_str()) {
            return Err(refused());
        }
        ports.extend((first..=last).map(|port| format!("{port}/{}", protocol.to_ascii_lowercase())));
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Instruction> {
        Instruction::parse(line, &["PATH=/bin".to_owned(), "A=a b".to_owned()])
    }

    fn strings(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn commands_have_two_forms() {
        assert_eq!(parsed(r#"CMD ["nginx", "-g"]"#), Ok(Instruction::Cmd(strings(&["nginx", "-g"]))));
        assert_eq!(parsed("cmd echo $HOME"), Ok(Instruction::Cmd(strings(&["/bin/sh", "-c", "echo $HOME"]))));
        assert_eq!(parsed("ENTRYPOINT []"), Ok(Instruction::Entrypoint(Vec::new())));
    }

    #[test]
    fn pairs_are_quoted_and_expanded() {
        let env = |pairs: &[(&str, &str)]| {
            Ok(Instruction::Env(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()))
        };
        assert_eq!(
            parsed(r#"ENV X=1 Y="two words" Z='$A'"#),
            env(&[("X", "1"), ("Y", "two words"), ("Z", "$A")])
        );
        assert_eq!(parsed("ENV PATH=/opt:$PATH"), env(&[("PATH", "/opt:/bin")]));
        assert_eq!(
            parsed(r#"ENV X="${A}" Y=${NO:-no} W=\$A"#),
            env(&[("X", "a b"), ("Y", "no"), ("W", "$A")])
        );
        assert_eq!(parsed("ENV OLD the form"), env(&[("OLD", "the form")]));
        assert!(matches!(parsed("ENV X=1 y"), Err(Error::Pair { .. })));
        assert!(matches!(parsed("ENV X"), Err(Error::Pair { .. })));
        assert!(matches!(parsed("ENV X=\"1"), Err(Error::Quote(_))));
        assert_eq!(parsed("ENV"), Err(Error::Empty("ENV")));
    }

    #[test]
    fn ports_are_written_out() {
        assert_eq!(
            parsed("EXPOSE 80 53/udp 8000-8001"),
            Ok(Instruction::Expose(strings(&["80/tcp", "53/udp", "8000/tcp", "8001/tcp"])))
        );
        for bad in ["EXPOSE http", "EXPOSE 99999", "EXPOSE 80/x", "EXPOSE 9-8"] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn other_words_are_no_instructions() {
        assert!(matches!(parsed("RUN make"), Err(Error::Unknown(_))));
        assert!(matches!(parsed(""), Err(Error::Unknown(_))));
        assert_eq!(parsed(r#"VOLUME ["/a b"]"#), Ok(Instruction::Volume(strings(&["/a b"]))));
        assert_eq!(parsed("VOLUME /a /b"), Ok(Instruction::Volume(strings(&["/a", "/b"]))));
    }
}
