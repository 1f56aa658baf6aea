//! guest-init's own lines in the kernel's log, each beginning with `vmrun: `.

use rustix::fs::{Mode, OFlags, open};
use rustix::io::write;

/// Syslog levels as the kernel's log takes them.
const EMERGENCY: &str = "<0>";
const INFO: &str = "<6>";

/// Something worth knowing later; not shown on a quiet console.
pub fn note(message: &str) {
    print(INFO, message);
}

/// The machine ends because of this; shown on the console however quiet it is.
pub fn emergency(message: &str) {
    // What the host knows it by.
    let message = ["fatal: ", message].concat();
    if !print(EMERGENCY, &message) {
        // No /dev yet: standard error is the console the kernel opened for us.
        let line = ["vmrun: ", &message, "\n"].concat();
        let _ = write(rustix::stdio::stderr(), line.as_bytes());
    }
}

fn print(level: &str, message: &str) -> bool {
    let Ok(log) = open("/dev/kmsg", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()) else {
        return false;
    };
    // One write is one record. A line break in it would hide what follows from a reader of lines;
    // without one at its end, the kernel holds it back in case it goes on.
    let line = [level, "vmrun: ", &message.replace('\n', " "), "\n"].concat();
    write(log, line.as_bytes()).is_ok()
}
