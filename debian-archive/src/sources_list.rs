//! The host's sources of packages (sources.list(5)), as far as they name a mirror of Debian's archive.

use std::fs;
use std::path::Path;

use crate::stanza::Stanzas;

/// Mirrors of the main archive and of the security archive, where the host names any.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mirrors {
    pub main: Option<String>,
    pub security: Option<String>,
}

impl Mirrors {
    /// Reads `sources.list` and `sources.list.d` of `directory`, which is /etc/apt. What cannot be read is not there.
    pub fn of(directory: &Path) -> Mirrors {
        let mut mirrors = Mirrors::default();
        let mut files = vec![directory.join("sources.list")];
        let mut more: Vec<_> = fs::read_dir(directory.join("sources.list.d"))
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        more.sort();
        files.extend(more);
        for file in files {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            match file.extension().and_then(|extension| extension.to_str()) {
                Some("list") => mirrors.add_lines(&text),
                Some("sources") => mirrors.add_stanzas(&text),
                _ => {}
            }
        }
        mirrors
    }

    /// `deb [option=value …] URI SUITE COMPONENT…`
    fn add_lines(&mut self, text: &str) {
        for line in text.lines() {
            let Some(rest) =
                line.trim().strip_prefix("deb").filter(|rest| rest.starts_with([' ', '\t', '[']))
            else {
                continue;
            };
            let rest = rest.trim_start();
            let rest = match rest.strip_prefix('[') {
                Some(options) => options.split_once(']').map_or("", |(_, rest)| rest),
                None => rest,
            };
            if let Some(uri) = rest.split_whitespace().next() {
                self.add(uri);
            }
        }
    }

    /// The same as stanzas: `Types:`, `URIs:`, `Suites:`.
    fn add_stanzas(&mut self, text: &str) {
        for stanza in Stanzas::new(text.as_bytes()).map_while(Result::ok) {
            let is_off = stanza.field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
            if !is_off && stanza.words("Types").contains(&"deb") {
                stanza.words("URIs").into_iter().for_each(|uri| self.add(uri));
            }
        }
    }

    /// A mirror is known by the name of its directory; other archives have others.
    fn add(&mut self, uri: &str) {
        let uri = uri.trim_end_matches('/');
        let is_web = uri.starts_with("http://") || uri.starts_with("https://");
        let place = match uri.rsplit('/').next() {
            _ if !is_web || uri.contains('@') => return,
            Some("debian") => &mut self.main,
            Some("debian-security") => &mut self.security,
            _ => return,
        };
        place.get_or_insert_with(|| uri.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_are_found_in_both_forms() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Mirrors::of(directory.path()), Mirrors::default());
        let more = directory.path().join("sources.list.d");
        fs::create_dir(&more).unwrap();
        fs::write(
            more.join("a.sources"),
            "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: nodistro\n\n\
            Types: deb\nEnabled: no\nURIs: http://off.example/debian\n\nTypes: deb-src deb\n\
            URIs: http://mirror.example/debian/\nSuites: bookworm\n",
        )
        .unwrap();
        fs::write(
            more.join("z.list"),
            "deb http://late.example/debian x main\n\
            deb [arch=amd64 trusted=no] http://sec.example/debian-security x main\n",
        )
        .unwrap();
        let mirrors = Mirrors::of(directory.path());
        assert_eq!(mirrors.main.as_deref(), Some("http://mirror.example/debian"));
        assert_eq!(mirrors.security.as_deref(), Some("http://sec.example/debian-security"));
        fs::write(
            directory.path().join("sources.list"),
            "# deb http://no.example/debian\ndeb cdrom:[x]/ y z\n\
            deb-src http://src.example/debian x\ndeb https://first.example/debian x main\n",
        )
        .unwrap();
        assert_eq!(Mirrors::of(directory.path()).main.as_deref(), Some("https://first.example/debian"));
    }
}
