//! Names in archives: how they are shown, and what of them is used.

use std::fmt;

/// A component has at most this many bytes, in EROFS as in Linux.
pub const MAX_COMPONENT: usize = 255;
/// Linux takes paths below this many bytes, the closing NUL included.
pub const MAX_PATH: usize = 4095;

/// Shows a name in one line, whatever its bytes.
pub struct Name<'a>(pub &'a [u8]);

impl fmt::Display for Name<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// Bytes that are shown of a name, escapes among them.
        const SHOWN: usize = 200;
        let mut shown = String::new();
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character.is_control() {
                    true => shown.extend(character.escape_default()),
                    false => shown.push(character),
                }
                if shown.len() > SHOWN {
                    return write!(formatter, "{shown}…");
                }
            }
            shown.extend(chunk.invalid().escape_ascii().map(char::from));
            if shown.len() > SHOWN {
                return write!(formatter, "{shown}…");
            }
        }
        formatter.write_str(&shown)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("its name leads out of the root")]
    Escapes,
    #[error("its name has a part of more than {MAX_COMPONENT} bytes")]
    LongComponent,
    #[error("its name has more than {MAX_PATH} bytes")]
    LongPath,
    #[error("it is a whiteout of nothing")]
    EmptyWhiteout,
}

/// Writes a name's path below the root to `path`: no leading, doubled or trailing slashes, no `.`; `..` takes
/// back the part before it, as it does in Docker's and umoci's readers. Empty for the root itself.
pub fn clean(name: &[u8], path: &mut Vec<u8>) -> Result<(), NameError> {
    path.clear();
    for component in name.split(|&byte| byte == b'/') {
        match component {
            b"" | b"." => {}
            b".." if path.is_empty() => return Err(NameError::Escapes),
            b".." => path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)),
            _ if component.len() > MAX_COMPONENT => return Err(NameError::LongComponent),
            _ => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(component);
            }
        }
    }
    if path.len() > MAX_PATH { Err(NameError::LongPath) } else { Ok(()) }
}

/// What a name stands for by the whiteout rules of the OCI image specification ("Layer Filesystem
/// Changeset").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning<'a> {
    /// An entry of its own.
    Entry,
    /// Hides this path of the layers below.
    Whiteout { directory: &'a [u8], name: &'a [u8] },
    /// Hides what the layers below have in this directory.
    Opaque { directory: &'a [u8] },
    /// AUFS's own files, which no reader shows.
    Aufs,
    /// One of those that is the target of hard links, all of which can be shown.
    AufsLinkTarget,
}

/// The directory, in the root, where AUFS has files with several names.
pub const AUFS_LINKS: &[u8] = b".wh..wh.plnk";

pub fn meaning(path: &[u8]) -> Result<Meaning<'_>, NameError> {
    let (directory, name) = split(path);
    if name == b".wh..wh..opq" {
        return Ok(Meaning::Opaque { directory });
    }
    if directory == AUFS_LINKS {
        return Ok(Meaning::AufsLinkTarget);
    }
    if path.split(|&byte| byte == b'/').any(|component| component.starts_with(b".wh..wh.")) {
        return Ok(Meaning::Aufs);
    }
    match name.strip_prefix(b".wh.") {
        Some(b"" | b"." | b"..") => Err(NameError::EmptyWhiteout),
        Some(name) => Ok(Meaning::Whiteout { directory, name }),
        None => Ok(Meaning::Entry),
    }
}

/// A clean path's directory and last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(name: &[u8]) -> Result<Vec<u8>, NameError> {
        let mut path = Vec::new();
        clean(name, &mut path).map(|()| path)
    }

    #[test]
    fn names_become_paths_below_the_root() {
        for (name, path) in [
            (&b"./usr//bin/"[..], &b"usr/bin"[..]),
            (b"/etc/passwd", b"etc/passwd"),
            (b"./", b""),
            (b"a/./b/../c", b"a/c"),
            (b"a/..", b""),
            (b"\xff/\n", b"\xff/\n"),
        ] {
            assert_eq!(cleaned(name).unwrap(), path);
        }
        assert_eq!(cleaned(b"../x"), Err(NameError::Escapes));
        assert_eq!(cleaned(b"a/../../x"), Err(NameError::Escapes));
        assert_eq!(cleaned(&[b'a'; 256]), Err(NameError::LongComponent));
        assert_eq!(cleaned(&b"ab/".repeat(1366)), Err(NameError::LongPath));
    }

    #[test]
    fn whiteouts_are_told_apart() {
        assert_eq!(meaning(b"a/.wh.b"), Ok(Meaning::Whiteout { directory: b"a", name: b"b" }));
        assert_eq!(meaning(b".wh..wh..opq"), Ok(Meaning::Opaque { directory: b"" }));
        assert_eq!(meaning(b"a/.wh..wh.plnk/1.2"), Ok(Meaning::Aufs));
        assert_eq!(meaning(b".wh..wh.plnk/1.2"), Ok(Meaning::AufsLinkTarget));
        assert_eq!(meaning(b".wh..wh.plnk/1/2"), Ok(Meaning::Aufs));
        assert_eq!(meaning(b".wh..wh.plnk"), Ok(Meaning::Aufs));
        assert_eq!(meaning(b"a/.wh."), Err(NameError::EmptyWhiteout));
        assert_eq!(meaning(b".wh..."), Err(NameError::EmptyWhiteout));
        assert_eq!(meaning(b"a/.whatever"), Ok(Meaning::Entry));
        assert_eq!(meaning(b".wh....a"), Ok(Meaning::Whiteout { directory: b"", name: b"...a" }));
    }

    #[test]
    fn names_are_shown_in_one_line() {
        assert_eq!(Name(b"a\nb\xff\xc3\xa9").to_string(), "a\\nb\\xffé");
        for byte in [b'a', 0, b'\n', 0xff] {
            assert!(Name(&[byte; 5000]).to_string().len() < 220);
        }
    }
}
