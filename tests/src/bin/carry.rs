//! Measures a stream: `carry MIB COMMAND…` starts the command, waits for the line `ready` on its standard output, writes
//! MIB MiB to its standard input and reads them back from its standard output. Prints how many MiB went each way in a
//! second of the clock of the machine that it runs on. What comes back must be what was sent.

use std::error::Error;
use std::io::{Read, Write};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long all of it may take, the command's start included.
const LIMIT: Duration = Duration::from_secs(300);
const PATIENCE: Duration = Duration::from_secs(2);

/// Bytes written and read at a time.
const PIECE: usize = 1 << 20;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [mib, program, arguments @ ..] = &words[..] else {
        eprintln!("carry MIB COMMAND…");
        return ExitCode::from(2);
    };
    let measured = mib.parse().map_err(Into::into);
    match measured.and_then(|mib| measure(mib, Command::new(program).args(arguments))) {
        Ok(rate) => {
            println!("{rate:.2}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("carry: {program}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(mib: usize, command: &mut Command) -> Result<f64, Box<dyn Error>> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut stdin = child.stdin.take().ok_or("has no input")?;
    let mut stdout = child.stdout.take().ok_or("has no output")?;
    let pid = Pid::from_child(&child);
    thread::spawn(move || {
        thread::sleep(LIMIT);
        // Reading fails then. If it has ended just now, so does this.
        let _ = kill_process(pid, Signal::KILL);
    });
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stdout.read_exact(&mut byte)?;
        line.extend(byte);
    }
    if line != b"ready\n" {
        return Err(format!("said {:?}", String::from_utf8_lossy(&line)).into());
    }
    let piece = piece();
    let begun = Instant::now();
    let sent = piece.clone();
    let writer = thread::spawn(move || (0..mib).try_for_each(|_| stdin.write_all(&sent)).map(|()| stdin));
    let mut read = vec![0; PIECE];
    for number in 0..mib {
        stdout.read_exact(&mut read)?;
        if read != piece {
            return Err(format!("MiB {number} came back as another").into());
        }
    }
    let rate = mib as f64 / begun.elapsed().as_secs_f64();
    drop(writer.join().map_err(|_| "the writer panicked")??);
    // It has served its purpose: with its input, most end by themselves, and the others are ended.
    let closed = Instant::now();
    while child.try_wait()?.is_none() && closed.elapsed() < PATIENCE {
        thread::sleep(PATIENCE / 100);
    }
    let _ = child.kill();
    child.wait()?;
    Ok(rate)
}

/// Bytes in which one that is missing, or too many, moves all others.
fn piece() -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(PIECE).collect()
}
