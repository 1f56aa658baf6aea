//! guest-init's own lines in the kernel's log, each beginning with `vmrun: `.

use guest_protocol::{STAMP_LINE, Stamp};
use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;

/// Syslog levels as the kernel's log takes them.
const EMERGENCY: &str = "<0>";
const INFO: &str = "<6>";

/// Something worth knowing later; not shown on a quiet console.
pub fn note(message: &str) {
    print(INFO, &["vmrun: ", message].concat());
}

/// The machine ends because of this; shown on the console however quiet it is.
pub fn emergency(message: &str) {
    // What the host knows it by.
    shout(&["vmrun: fatal: ", message].concat());
}

/// How far the start has come, for a host that cannot be told otherwise.
pub fn stamp(stamp: Stamp) {
    shout(&[STAMP_LINE, &(stamp as u8).to_string()].concat());
}

fn shout(line: &str) {
    if !print(EMERGENCY, line) {
        // No /dev yet: standard error is the console the kernel opened for us.
        let _ = write(rustix::stdio::stderr(), [line, "\n"].concat().as_bytes());
    }
}

fn print(level: &str, line: &str) -> bool {
    let Ok(log) = open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    // One write is one record. A line break in it would hide what follows from a reader of lines;
    // without one at its end, the kernel holds it back in case it goes on.
    let record = [level, &line.replace('\n', " "), "\n"].concat();
    write(log, record.as_bytes()).is_ok()
}
