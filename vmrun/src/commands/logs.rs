//! `vmrun logs`: what a machine's process has written.

use std::fs::File;
use std::io::{self, Write};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rootfs_builder::image::format_time;

use crate::age::moment;
use crate::arguments::LogsArguments;
use crate::home::Home;
use crate::machine::{LogReader, LogRecord, LogStream, MachineDirectory, Machines};
use crate::output::stdout;

/// How often a log that is followed is looked at.
const STEP: Duration = Duration::from_millis(100);

pub fn logs(home: &Home, arguments: &LogsArguments) -> Result<u8> {
    let machine = Machines::open(home).find(&arguments.machine)?;
    if arguments.kernel_log {
        return kernel_log(&machine, &arguments.machine);
    }
    if !machine.config()?.keep_output {
        bail!("machine {} was made with --log-driver none: its output was not kept", arguments.machine);
    }
    let nanoseconds = |time: &String| -> Result<u64> {
        Ok(moment(time)?.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64))
    };
    let since = arguments.since.as_ref().map(nanoseconds).transpose()?;
    let until = arguments.until.as_ref().map(nanoseconds).transpose()?;
    let tail = match arguments.tail.as_str() {
        "all" => None,
        number => {
            Some(number.parse::<usize>().with_context(|| format!("'{number}' is neither a number nor all"))?)
        }
    };
    let path = machine.output_log();
    let cannot = || format!("cannot read {}", path.display());
    let mut reader = LogReader::open(&path).with_context(cannot)?;
    let mut shown = Shown { timestamps: arguments.timestamps, ..Shown::default() };
    let is_wanted = |record: &LogRecord| {
        since.is_none_or(|since| record.time >= since) && until.is_none_or(|until| record.time < until)
    };
    let mut ended = false;
    let mut skipped = tail.is_none();
    loop {
        if !skipped {
            let mut counted = LogReader::open(&path).with_context(cannot)?;
            shown.skip_lines =
                lines_before_tail(&mut counted, &is_wanted, tail.unwrap_or(0)).with_context(cannot)?;
            skipped = true;
        }
        while let Some(record) = reader.next().with_context(cannot)? {
            if is_wanted(&record) {
                shown.write(&record)?;
            }
        }
        let over = until.is_some_and(|until| since_1970() >= until);
        if !arguments.follow || ended || over {
            return shown.finish().map(|()| 0);
        }
        // What it wrote last is read once more.
        ended = !machine.path().exists() || !machine.state()?.status.is_attended();
        if !ended {
            thread::sleep(STEP);
        }
    }
}

fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
}

fn kernel_log(machine: &MachineDirectory, name: &str) -> Result<u8> {
    let path = machine.kernel_log();
    match File::open(&path) {
        Ok(mut file) => io::copy(&mut file, &mut stdout()).map(|_| 0).map_err(Into::into),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            bail!("there is no kernel log of machine {name}: it never ran, or was run with --rm")
        }
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// How many lines there are before the last `tail` ones, of both streams together.
fn lines_before_tail(
    reader: &mut LogReader,
    is_wanted: &dyn Fn(&LogRecord) -> bool,
    tail: usize,
) -> io::Result<usize> {
    let mut lines = 0;
    let mut open = [false; 2];
    while let Some(record) = reader.next()? {
        if is_wanted(&record) {
            let ends = record.bytes.iter().filter(|byte| **byte == b'\n').count();
            let open = &mut open[usize::from(record.stream == LogStream::Stderr)];
            lines += ends;
            *open = !record.bytes.ends_with(b"\n") && (*open || !record.bytes.is_empty());
        }
    }
    lines += open.into_iter().filter(|open| *open).count();
    Ok(lines.saturating_sub(tail))
}

/// Writes each stream to its own, with times where lines begin.
#[derive(Default)]
struct Shown {
    timestamps: bool,
    skip_lines: usize,
    /// Whether a line of each stream has begun, and its end is to come.
    within: [bool; 2],
    /// Of a line that is left out.
    skipping: [bool; 2],
}

impl Shown {
    fn write(&mut self, record: &LogRecord) -> Result<()> {
        let stream = usize::from(record.stream == LogStream::Stderr);
        let mut out = Vec::with_capacity(record.bytes.len());
        for line in record.bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within[stream] {
                self.skipping[stream] = self.skip_lines > 0;
                self.skip_lines = self.skip_lines.saturating_sub(1);
                if self.timestamps && !self.skipping[stream] {
                    let time = UNIX_EPOCH + Duration::from_nanos(record.time);
                    out.extend_from_slice(format_time(time).unwrap_or_default().as_bytes());
                    out.push(b' ');
                }
            }
            if !self.skipping[stream] {
                out.extend_from_slice(line);
            }
            self.within[stream] = !line.ends_with(b"\n");
        }
        match record.stream {
            LogStream::Stdout => stdout().write_all(&out)?,
            LogStream::Stderr => io::stderr().write_all(&out)?,
        }
        Ok(())
    }

    fn finish(self) -> Result<()> {
        Ok(stdout().flush()?)
    }
}
