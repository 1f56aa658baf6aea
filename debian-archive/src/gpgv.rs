//! Running gpgv on what a stranger wrote: so much output, for so long, and no more.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// gpgv takes a hundredth of a second, on a slow emulated host a few.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// What gpgv says of a few signatures, in bytes.
const STATUS_LIMIT: u64 = 1 << 20;

/// What apt takes no signature by, either; MD5 gpgv refuses by itself.
const WEAK: [&str; 2] = ["SHA1", "RIPEMD160"];

/// What gpgv makes of a message.
#[derive(Debug)]
pub struct Output {
    pub text: Vec<u8>,
    /// Its status lines (doc/DETAILS of GnuPG).
    pub status: Vec<u8>,
}

/// The command that looks at `message` by the keys of `keyring`, with an empty `home` of its own. The text goes to
/// its output, what is said of it to its errors: there is no file for a hostile message to fill.
pub fn command(message: &Path, keyring: &Path, home: &Path) -> Command {
    let mut gpgv = Command::new("gpgv");
    gpgv.args(["--status-fd", "2", "--log-file", "/dev/null"])
        .args(WEAK.iter().flat_map(|digest| ["--weak-digest", digest]))
        .arg("--keyring")
        .arg(keyring)
        .args(["--output", "-"])
        .arg(message)
        .env("GNUPGHOME", home)
        .env("LC_ALL", "C");
    gpgv
}

/// Runs the command to its end: an error, and it is killed, when its text has more than `limit` bytes or it takes
/// longer than `patience`.
pub fn run(mut command: Command, limit: u64, patience: Duration) -> io::Result<Output> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let mut running = Running(child);
    let (sender, ready) = channel();
    let text =
        running.0.stdout.take().map(|from| (Stream::Text, Box::new(from) as Box<dyn Read + Send>, limit));
    let status = running.0.stderr.take().map(|from| (Stream::Status, Box::new(from) as _, STATUS_LIMIT));
    for (stream, from, limit) in text.into_iter().chain(status) {
        let sender = sender.clone();
        thread::Builder::new().spawn(move || read(stream, from, limit, &sender))?;
    }
    drop(sender);
    let (end, mut output) = (Instant::now() + patience, Output { text: Vec::new(), status: Vec::new() });
    loop {
        match ready.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok((Stream::Text, text)) => output.text = text?,
            Ok((Stream::Status, status)) => output.status = status?,
            Err(RecvTimeoutError::Disconnected) => return Ok(output),
            Err(RecvTimeoutError::Timeout) => {
                let seconds = patience.as_secs();
                return Err(io::Error::other(format!("gpgv has no verdict after {seconds} seconds")));
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Stream {
    Text,
    Status,
}

fn read(stream: Stream, from: Box<dyn Read + Send>, limit: u64, to: &Sender<(Stream, io::Result<Vec<u8>>)>) {
    let mut content = Vec::new();
    let read = from.take(limit + 1).read_to_end(&mut content);
    let result = match read {
        Ok(_) if content.len() as u64 > limit => {
            Err(io::Error::other(format!("gpgv makes more than {limit} bytes of it")))
        }
        read => read.map(|_| content),
    };
    // Nobody wants it when the other stream was refused.
    let _ = to.send((stream, result));
}

/// A process that does not outlive whoever waits for it.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]);
        shell
    }

    #[test]
    fn what_says_no_end_of_things_is_killed() {
        let begun = Instant::now();
        let refused = run(shell("exec cat /dev/zero"), 1 << 20, PATIENCE).unwrap_err();
        assert!(refused.to_string().contains("more than 1048576 bytes"), "{refused}");
        let refused = run(shell("exec cat /dev/zero >&2"), 1 << 20, PATIENCE).unwrap_err();
        assert!(refused.to_string().contains("more than 1048576 bytes"), "{refused}");
        assert!(begun.elapsed() < PATIENCE);
    }

    #[test]
    fn what_does_not_end_is_killed() {
        let begun = Instant::now();
        let refused = run(shell("echo begun; exec sleep 600"), 100, Duration::from_secs(1)).unwrap_err();
        assert!(refused.to_string().contains("no verdict after 1 seconds"), "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(300));
    }

    #[test]
    fn both_streams_are_read_to_their_ends() {
        let output = run(shell("echo status >&2; echo text; echo more >&2"), 5, PATIENCE).unwrap();
        assert_eq!((&output.text[..], &output.status[..]), (&b"text\n"[..], &b"status\nmore\n"[..]));
    }
}
