//! The machine's processes, as /proc shows them to guest-init.

use std::collections::HashMap;
use std::fs;

use guest_protocol::frame::{self, MAX_FRAME};
use guest_protocol::statistics::{ProcessList, ProcessRow};

use crate::statistics;

/// A command line is cut at this many bytes, or where there are too many, at fewer.
const MAX_COMMAND: usize = 1024;
const SHORT_COMMAND: usize = 80;

/// What a frame has beside the rows, at most, in bytes.
const REST: usize = 64;

/// A process's number as guest-init has it, and what is to be told of it.
struct Found {
    pid: u32,
    threads: u64,
    row: ProcessRow,
}

/// What is told of processes' commands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Commands {
    /// Their words. They are in the process's own memory, which may keep a reader waiting for ever.
    Whole,
    /// The names that the kernel has of them.
    Names,
}

/// How many threads the machine's processes have, together.
pub fn count() -> u64 {
    found(Commands::Names).iter().map(|process| process.threads).sum()
}

/// As many of the machine's processes as fit into a frame, the oldest first.
pub fn list(commands: Commands) -> Result<ProcessList, String> {
    let rows = found(commands).into_iter().map(|process| process.row).collect();
    Ok(fitting(rows, statistics::uptime()))
}

fn fitting(mut rows: Vec<ProcessRow>, uptime: u64) -> ProcessList {
    let length = |row: &ProcessRow| frame::encode(row).map_or(MAX_FRAME, |bytes| bytes.len());
    if rows.iter().map(length).sum::<usize>() > MAX_FRAME - REST {
        for row in &mut rows {
            cut(&mut row.command, SHORT_COMMAND);
        }
    }
    let (all, mut room) = (rows.len(), MAX_FRAME - REST);
    let mut kept = Vec::new();
    for row in rows {
        let Some(left) = room.checked_sub(length(&row)) else { break };
        room = left;
        kept.push(row);
    }
    let left_out = (all - kept.len()) as u64;
    ProcessList { rows: kept, left_out, uptime }
}

/// All processes but the kernel's, guest-init, and what guest-init does in processes of its own.
fn found(commands: Commands) -> Vec<Found> {
    let own = fs::read_link("/proc/self/exe").ok();
    let mut found = Vec::new();
    for pid in numbers() {
        let directory = ["/proc/", &pid.to_string(), "/"].concat();
        let path = |name: &str| [&directory, name].concat();
        if own.is_some() && fs::read_link(path("exe")).ok() == own {
            continue;
        }
        // One that ends in between is left out.
        let (Ok(stat), Ok(status)) = (fs::read(path("stat")), fs::read(path("status"))) else { continue };
        let command = match commands {
            Commands::Whole => fs::read(path("cmdline")).unwrap_or_default(),
            Commands::Names => Vec::new(),
        };
        if let Some(process) = parse(&stat, &status, &command) {
            found.push(Found { pid, ..process });
        }
    }
    let inner: HashMap<u32, u32> = found.iter().map(|process| (process.pid, process.row.pid)).collect();
    for process in &mut found {
        process.row.parent = inner.get(&process.row.parent).copied().unwrap_or(0);
    }
    found
}

fn numbers() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = names.collect();
    numbers.sort_unstable();
    numbers
}

/// One process; `None` for a thread of the kernel. The parent is in guest-init's numbers still.
fn parse(stat: &[u8], status: &[u8], command: &[u8]) -> Option<Found> {
    /// PF_KTHREAD of linux/sched.h.
    const KERNEL_THREAD: u64 = 0x0020_0000;
    let (stat, status) = (String::from_utf8_lossy(stat), String::from_utf8_lossy(status));
    // The name may hold anything, parentheses and blanks too.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // Numbered from 3, as proc(5) does.
    let field = |number: usize| fields.get(number - 3).and_then(|text| text.parse::<u64>().ok());
    if field(9)? & KERNEL_THREAD != 0 {
        return None;
    }
    let line = |wanted: &str| status.lines().find_map(|line| line.strip_prefix(wanted));
    let numbers: Vec<u32> = words(line("NSpid:")?);
    let ticks = |ticks: u64| ticks.saturating_mul(statistics::TICK) / 1000;
    let row = ProcessRow {
        // The machine's own namespace is the one below guest-init's.
        pid: *numbers.get(1).or(numbers.first())?,
        parent: field(4)? as u32,
        user: words(line("Uid:")?).get(1).copied()?,
        state: fields.first()?.chars().next()?,
        cpu: ticks(field(14)?.saturating_add(field(15)?)),
        started: ticks(field(22)?),
        resident: field(24)?.saturating_mul(4096),
        terminal: field(7)? as u32,
        command: command_line(command, name),
    };
    Some(Found { pid: 0, threads: field(20)?, row })
}

fn words(line: &str) -> Vec<u32> {
    line.split_ascii_whitespace().map_while(|word| word.parse().ok()).collect()
}

fn command_line(bytes: &[u8], name: &str) -> String {
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let text: String = String::from_utf8_lossy(&bytes[..end.min(4 * MAX_COMMAND)])
        .chars()
        .map(|character| if character.is_control() { ' ' } else { character })
        .collect();
    let mut text = if text.trim().is_empty() { ["[", name, "]"].concat() } else { text };
    cut(&mut text, MAX_COMMAND);
    text
}

fn cut(text: &mut String, length: usize) {
    let mut end = length.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &[u8] = b"57 (a) (b) S 1 57 57 34816 57 4194560 1 0 0 0 12 3 0 0 20 0 4 0 250 1 300 1";
    const STATUS: &[u8] = b"Name:\ta\nUid:\t0\t1000\t0\t0\nNSpid:\t57\t9\n";

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let process = parse(STAT, STATUS, b"sleep\x00100\n\0\0").unwrap();
        assert_eq!((process.threads, process.row.pid, process.row.parent), (4, 9, 1));
        assert_eq!((process.row.user, process.row.state, process.row.terminal), (1000, 'S', 34816));
        assert_eq!((process.row.cpu, process.row.started, process.row.resident), (150, 2500, 300 * 4096));
        assert_eq!(process.row.command, "sleep 100 ");
        assert_eq!(parse(STAT, STATUS, b"").unwrap().row.command, "[a) (b]");
        let kernel = String::from_utf8_lossy(STAT).replace("4194560", "2129984");
        assert!(parse(kernel.as_bytes(), STATUS, b"").is_none());
        assert!(parse(b"57 (a", STATUS, b"").is_none());
    }

    #[test]
    fn what_is_too_much_is_cut_and_that_is_said() {
        let row = |length| ProcessRow { command: "ä".repeat(length / 2), ..ProcessRow::default() };
        let some = fitting((0..70).map(|_| row(MAX_COMMAND)).collect(), 0);
        assert_eq!((some.rows.len(), some.left_out, some.rows[0].command.len()), (70, 0, SHORT_COMMAND));
        let many = fitting((0..10_000).map(|_| row(MAX_COMMAND)).collect(), 0);
        assert_eq!(many.rows.len() as u64 + many.left_out, 10_000);
        assert!(frame::answer(&Ok(many)).len() > MAX_FRAME / 2);
    }
}
