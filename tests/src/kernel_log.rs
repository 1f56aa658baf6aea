//! What hung machines have to say.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use guest_protocol::{Hello, PORT, Stream, frame};

/// How long a guest-init may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: usize = 1 << 20;

/// How many lines are shown, the last ones.
const LINES: usize = 100;

/// The kernel logs of all machines that run now, as far as their guest-init still tells them.
pub fn of_running_machines() -> String {
    let mut told = String::new();
    for directory in fs::read_dir(sockets()).into_iter().flatten().flatten() {
        let log = read(&directory.path().join("vsock.sock")).unwrap_or_else(|error| {
            format!("its guest-init does not answer ({error}): run the same with --console to see its kernel's log")
        });
        told += &format!("--- machine {}\n{log}\n", directory.file_name().to_string_lossy());
    }
    told
}

fn sockets() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(runtime) => PathBuf::from(runtime).join("vmrun"),
        None => "/run/vmrun".into(),
    }
}

fn read(socket: &Path) -> Result<String, Box<dyn std::error::Error>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    writeln!(stream, "CONNECT {PORT}")?;
    let mut byte = [0];
    while byte != [b'\n'] {
        stream.read_exact(&mut byte)?;
    }
    frame::write(&stream, &Hello::Stream(Stream::KernelLog))?;
    let (mut log, mut piece, end) = (Vec::new(), [0; 4096], Instant::now() + PATIENCE);
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // The stream stays open while the machine lives: a silent second means that this was all.
    while let Ok(length @ 1..) = stream.read(&mut piece) {
        log.extend_from_slice(&piece[..length]);
        if log.len() > LONGEST || Instant::now() > end {
            break;
        }
    }
    let text = String::from_utf8_lossy(&log);
    // A record is `priority,sequence,microseconds,flags;text`; what begins with a space belongs to it.
    let lines: Vec<String> = text.lines().filter_map(|line| line.split_once(';')).map(console_line).collect();
    Ok(lines[lines.len().saturating_sub(LINES)..].join("\n"))
}

fn console_line((prefix, text): (&str, &str)) -> String {
    let time: u64 = prefix.split(',').nth(2).and_then(|time| time.parse().ok()).unwrap_or(0);
    format!("[{:5}.{:06}] {text}", time / 1_000_000, time % 1_000_000)
}
