//! `vmrun top`: a machine's processes.

use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};
use guest_protocol::Hello;
use guest_protocol::statistics::{ProcessList, ProcessRow};
use rootfs_builder::image::format_time;

use crate::arguments::TopArguments;
use crate::home::Home;
use crate::machine::{Machines, inquire};
use crate::output::{table, warn};

pub fn top(home: &Home, arguments: &TopArguments) -> Result<u8> {
    let options: Vec<&str> = arguments.options.iter().map(String::as_str).collect();
    let by_resources = match options[..] {
        [] | ["-ef" | "ef"] => false,
        ["aux" | "-aux" | "u" | "ux"] => true,
        _ => bail!("of ps's options, there are -ef and aux here, not '{}'", options.join(" ")),
    };
    let machine = Machines::open(home).find(&arguments.machine)?;
    // A paused one tells of its processes too.
    let list: ProcessList = inquire(&machine.attended(&arguments.machine)?, Hello::Processes)?;
    let now = SystemTime::now();
    if by_resources {
        let rows: Vec<_> = list.rows.iter().map(|row| resources(row, list.uptime, now)).collect();
        table(["USER", "PID", "%CPU", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND"], &rows)?;
    } else {
        let rows: Vec<_> = list.rows.iter().map(|row| family(row, list.uptime, now)).collect();
        table(["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"], &rows)?;
    }
    if list.left_out > 0 {
        warn(&format!("vmrun: {} more processes are not shown", list.left_out));
    }
    Ok(0)
}

fn family(row: &ProcessRow, uptime: u64, now: SystemTime) -> [String; 8] {
    [
        user(row.user),
        row.pid.to_string(),
        row.parent.to_string(),
        (per_mille(row, uptime) / 10).to_string(),
        started(row, uptime, now),
        terminal(row.terminal),
        time(row.cpu),
        command(row),
    ]
}

fn resources(row: &ProcessRow, uptime: u64, now: SystemTime) -> [String; 9] {
    let cpu = per_mille(row, uptime);
    [
        user(row.user),
        row.pid.to_string(),
        format!("{}.{}", cpu / 10, cpu % 10),
        (row.resident / 1024).to_string(),
        terminal(row.terminal),
        row.state.to_string(),
        started(row, uptime, now),
        time(row.cpu),
        command(row),
    ]
}

/// Names are in the image; this one is the same in all of them.
fn user(number: u32) -> String {
    if number == 0 { "root".into() } else { number.to_string() }
}

/// The guest's word, which must not move the cursor.
fn command(row: &ProcessRow) -> String {
    row.command.trim_end().chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// The share of a processor that it has had since it was started.
fn per_mille(row: &ProcessRow, uptime: u64) -> u64 {
    let age = uptime.saturating_sub(row.started).max(1);
    row.cpu.saturating_mul(1000) / age
}

/// The time of day (UTC), or the date of one that is older than a day.
fn started(row: &ProcessRow, uptime: u64, now: SystemTime) -> String {
    const DAY: u64 = 24 * 3600 * 1000;
    let age = uptime.saturating_sub(row.started);
    let at = now.checked_sub(Duration::from_millis(age)).and_then(format_time).unwrap_or_default();
    let part = if age < DAY { at.get(11..16) } else { at.get(5..10) };
    part.unwrap_or("?").to_owned()
}

fn terminal(device: u32) -> String {
    let (major, minor) = (device >> 8 & 0xfff, (device & 0xff) | (device >> 12 & 0xfff00));
    match major {
        0 => "?".into(),
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        4 if minor >= 64 => format!("ttyS{}", minor - 64),
        4 => format!("tty{minor}"),
        _ => format!("{major}:{minor}"),
    }
}

fn time(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_reads_as_ps_writes_it() {
        let row = ProcessRow {
            pid: 7,
            parent: 1,
            user: 1000,
            state: 'S',
            cpu: 3_725_000,
            started: 0,
            resident: 8192,
            terminal: 136 << 8 | 3,
            command: "sh -c \x1b[2J ".into(),
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let row = family(&row, 14_900_000, now);
        assert_eq!(row, ["1000", "7", "1", "25", "18:05", "pts/3", "01:02:05", "sh -c ?[2J"]);
    }
}
