//! Whom the process runs as: the image's /etc/passwd and /etc/group, read as Docker reads them.

use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::{Errno, read};

/// How much of an image's file is read. A line costs some fifty bytes, so this is tens of thousands
/// of users; what lies beyond is as if it were not there.
const MAX_FILE: usize = 4 << 20;

/// At most this many groups beside the first are given (the kernel takes 65,536).
const MAX_GROUPS: usize = 1024;

/// Why a user or group could not be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("unable to find user {0}: no matching entries in passwd file")]
    UnknownUser(String),
    #[error("unable to find group {0}: no matching entries in group file")]
    UnknownGroup(String),
    #[error("the user or group id {0} is out of range")]
    OutOfRange(String),
}

/// A process's user and groups.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// The supplementary groups, the first group among them.
    pub groups: Vec<u32>,
    /// The home directory; `/` where none is known.
    pub home: Vec<u8>,
}

/// Looks up `spec` (`user`, `uid`, `user:group`, `uid:gid`; empty is root) in the files of the root
/// that this process has. `groups` are given beside those that the user has, by name or number.
pub fn look_up(spec: &str, groups: &[String]) -> Result<Identity, Error> {
    let group_file = read_file("/etc/group");
    let mut identity = resolve(spec, &read_file("/etc/passwd"), &group_file)?;
    add_groups(&mut identity, groups, &group_file)?;
    Ok(identity)
}

fn add_groups(identity: &mut Identity, groups: &[String], group_file: &[u8]) -> Result<(), Error> {
    for group in groups {
        let gid = find_group(group, group_file)?;
        if !identity.groups.contains(&gid) {
            identity.groups.push(gid);
        }
    }
    Ok(())
}

/// The start of a regular file; a missing one, or anything else, is empty.
fn read_file(path: &str) -> Vec<u8> {
    let mut content = Vec::new();
    // Without blocking: the image may have a FIFO there.
    let Ok(file) = open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty()) else {
        return content;
    };
    if !fstat(&file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile) {
        return content;
    }
    let mut chunk = [0; 4096];
    while content.len() < MAX_FILE {
        match read(&file, &mut chunk) {
            Ok(0) => break,
            Ok(count) => content.extend_from_slice(&chunk[..count]),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
    }
    content
}

fn resolve(spec: &str, passwd: &[u8], group: &[u8]) -> Result<Identity, Error> {
    let (user, group_name) = spec.split_once(':').unwrap_or((spec, ""));
    let wanted_uid = number(user)?;
    let known = entries(passwd).find(|fields| match (user, wanted_uid) {
        ("", _) => id(fields, 2) == Some(0),
        // What looks like a number is one, even if a user is named so.
        (_, Some(uid)) => id(fields, 2) == Some(uid),
        // A line without ids names nobody: it must not end as root.
        (name, None) => fields.first() == Some(&name.as_bytes()) && id(fields, 2).is_some(),
    });
    let mut identity = match (&known, wanted_uid) {
        (Some(fields), _) => Identity {
            uid: id(fields, 2).unwrap_or(0),
            gid: id(fields, 3).unwrap_or(0),
            groups: Vec::new(),
            home: fields.get(5).filter(|home| !home.is_empty()).map_or(b"/".to_vec(), |home| home.to_vec()),
        },
        (None, uid) if uid.is_some() || user.is_empty() => {
            Identity { uid: uid.unwrap_or(0), gid: 0, groups: Vec::new(), home: b"/".to_vec() }
        }
        (None, _) => return Err(Error::UnknownUser(user.to_owned())),
    };
    if !group_name.is_empty() {
        identity.gid = find_group(group_name, group)?;
        identity.groups = vec![identity.gid];
        return Ok(identity);
    }
    identity.groups = vec![identity.gid];
    if let Some(name) = known.as_ref().and_then(|fields| fields.first()) {
        let of_user =
            entries(group).filter(|fields| is_member(fields, name)).filter_map(|fields| id(&fields, 2));
        for gid in of_user.take(MAX_GROUPS) {
            if !identity.groups.contains(&gid) {
                identity.groups.push(gid);
            }
        }
    }
    Ok(identity)
}

fn find_group(name: &str, group: &[u8]) -> Result<u32, Error> {
    if let Some(gid) = number(name)? {
        return Ok(gid);
    }
    entries(group)
        .find(|fields| fields.first() == Some(&name.as_bytes()))
        .and_then(|fields| id(&fields, 2))
        .ok_or_else(|| Error::UnknownGroup(name.to_owned()))
}

fn is_member(fields: &[&[u8]], name: &[u8]) -> bool {
    fields.get(3).is_some_and(|members| members.split(|byte| *byte == b',').any(|member| member == name))
}

/// The lines of a passwd-like file as their fields, without comments and blank lines.
fn entries(file: &[u8]) -> impl Iterator<Item = Vec<&[u8]>> {
    file.split(|byte| *byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && line[0] != b'#')
        .map(|line| line.split(|byte| *byte == b':').collect())
}

fn id(fields: &[&[u8]], at: usize) -> Option<u32> {
    std::str::from_utf8(fields.get(at)?).ok()?.parse().ok()
}

/// `text` as an id, `None` when it is a name. The kernel keeps -1 to itself, and Docker everything
/// from 2³¹ on.
fn number(text: &str) -> Result<Option<u32>, Error> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        Ok(value) if value <= i32::MAX as u32 => Ok(Some(value)),
        _ => Err(Error::OutOfRange(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &[u8] = b"# comment\nroot:x:0:0:root:/root:/bin/sh\n\ndaemon:x:1:1::/usr/sbin:/bin/false\n\
        app:x:1000:1001:App:/home/app:/bin/sh\n7:x:70:70::/seven:\nbroken\nnohome:x:5:5\n";
    const GROUP: &[u8] =
        b"root:x:0:\nwheel:x:10:root,app\nappgroup:x:1001:\nvideo:x:44:daemon,app\nshort:x\n";

    fn resolve(spec: &str) -> Result<Identity, Error> {
        super::resolve(spec, PASSWD, GROUP)
    }

    fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<Identity, Error> {
        Ok(Identity { uid, gid, groups: groups.to_vec(), home: home.into() })
    }

    #[test]
    fn empty_is_root_with_roots_groups() {
        assert_eq!(resolve(""), identity(0, 0, &[0, 10], "/root"));
    }

    #[test]
    fn a_name_brings_its_groups_and_home() {
        assert_eq!(resolve("app"), identity(1000, 1001, &[1001, 10, 44], "/home/app"));
        assert_eq!(resolve("1000"), resolve("app"));
    }

    #[test]
    fn a_group_that_is_said_is_the_only_one() {
        assert_eq!(resolve("app:video"), identity(1000, 44, &[44], "/home/app"));
        assert_eq!(resolve("app:9999"), identity(1000, 9999, &[9999], "/home/app"));
    }

    #[test]
    fn groups_are_added_by_name_or_number() {
        let mut app = resolve("app:video").unwrap();
        let groups = ["wheel".to_owned(), "4711".to_owned(), "video".to_owned()];
        add_groups(&mut app, &groups, GROUP).unwrap();
        assert_eq!(app.groups, [44, 10, 4711]);
        let unknown = add_groups(&mut app, &["nogroup".to_owned()], GROUP);
        assert_eq!(unknown, Err(Error::UnknownGroup("nogroup".into())));
    }

    #[test]
    fn a_number_needs_no_entry() {
        assert_eq!(resolve("4711"), identity(4711, 0, &[0], "/"));
        assert_eq!(resolve("4711:12"), identity(4711, 12, &[12], "/"));
        assert_eq!(resolve("7"), identity(7, 0, &[0], "/"), "a number is no name");
    }

    #[test]
    fn no_files_still_have_root() {
        assert_eq!(super::resolve("", b"", b""), identity(0, 0, &[0], "/"));
        assert_eq!(super::resolve("root", b"", b""), Err(Error::UnknownUser("root".into())));
    }

    #[test]
    fn what_is_unknown_is_said() {
        assert_eq!(resolve("nobody"), Err(Error::UnknownUser("nobody".into())));
        assert_eq!(resolve("app:nogroup"), Err(Error::UnknownGroup("nogroup".into())));
        assert_eq!(resolve("4294967295"), Err(Error::OutOfRange("4294967295".into())));
        assert_eq!(resolve("99999999999999999999"), Err(Error::OutOfRange("99999999999999999999".into())));
    }

    #[test]
    fn short_lines_are_no_harm() {
        assert_eq!(resolve("nohome"), identity(5, 5, &[5], "/"));
        assert_eq!(resolve("broken"), Err(Error::UnknownUser("broken".into())));
    }
}
