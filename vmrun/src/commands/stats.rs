//! `vmrun stats`: what machines use, of their own and of the host's.

use std::io::{self, IsTerminal, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use guest_protocol::Hello;
use guest_protocol::statistics::Statistics;
use serde_json::json;

use crate::arguments::{Format, StatsArguments};
use crate::home::Home;
use crate::machine::{MachineSummary, Machines, inquire};
use crate::output::{stdout, table};
use crate::size;

/// Between one moment and the next.
const STEP: Duration = Duration::from_secs(1);

/// Moves a terminal's cursor to its corner and clears what follows.
const CLEAR: &[u8] = b"\x1b[H\x1b[J";

/// What is known of a machine at one moment.
struct Moment {
    machine: MachineSummary,
    /// Not of one that does not run, or does not answer.
    guest: Option<Statistics>,
    /// Processor time since the moment before, as a share of one processor.
    cpu: Option<f64>,
    /// What the processes on the host take, in bytes.
    host: Option<u64>,
}

pub fn stats(home: &Home, arguments: &StatsArguments) -> Result<u8> {
    let clear = !arguments.no_stream && arguments.format == Format::Table && io::stdout().is_terminal();
    // Shares are of the time between two moments.
    let mut before = moments(home, arguments, &[])?;
    loop {
        thread::sleep(STEP);
        let now = moments(home, arguments, &before)?;
        if clear {
            stdout().write_all(CLEAR)?;
        }
        match arguments.format {
            Format::Table => table(HEADING, &now.iter().map(row).collect::<Vec<_>>())?,
            Format::Json => now.iter().try_for_each(|moment| writeln!(stdout(), "{}", object(moment)))?,
        }
        stdout().flush()?;
        if arguments.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

fn moments(home: &Home, arguments: &StatsArguments, before: &[Moment]) -> Result<Vec<Moment>> {
    let machines = Machines::open(home);
    let mut summaries = Vec::new();
    if arguments.machines.is_empty() {
        summaries = machines.list()?;
        summaries.retain(|machine| arguments.all || machine.is_running());
    }
    for word in &arguments.machines {
        summaries.push(MachineSummary::read(machines.find(word)?)?);
    }
    Ok(summaries.into_iter().map(|machine| moment(machine, before)).collect())
}

fn moment(machine: MachineSummary, before: &[Moment]) -> Moment {
    let socket = machine.directory.vsock_socket().ok().filter(|_| machine.is_running());
    let guest: Option<Statistics> = socket.and_then(|socket| inquire(&socket, Hello::Statistics).ok());
    let earlier = before.iter().find(|moment| moment.machine.config.id == machine.config.id);
    let cpu = earlier.and_then(|earlier| share(earlier.guest.as_ref()?, guest.as_ref()?));
    let pids: Vec<u32> = [machine.state.supervisor, machine.state.monitor].into_iter().flatten().collect();
    let host = machine.directory.place().memory_of(&pids);
    Moment { machine, guest, cpu, host }
}

/// `None` when the machine has been started anew in between.
fn share(before: &Statistics, now: &Statistics) -> Option<f64> {
    let time = now.uptime.checked_sub(before.uptime).filter(|time| *time > 0)?;
    Some(now.busy.checked_sub(before.busy)? as f64 / time as f64)
}

const HEADING: [&str; 9] = [
    "MACHINE ID",
    "NAME",
    "CPU %",
    "MEM USAGE / LIMIT",
    "MEM %",
    "HOST MEM",
    "DISK READ / WRITTEN",
    "LAYER",
    "PIDS",
];

fn row(moment: &Moment) -> [String; 9] {
    let guest = |show: &dyn Fn(&Statistics) -> String| moment.guest.as_ref().map_or("--".into(), show);
    let percent = |share: f64| format!("{:.2}%", share * 100.0);
    [
        moment.machine.config.id.as_str().to_owned(),
        moment.machine.name.clone(),
        moment.cpu.map_or("--".into(), percent),
        guest(&|guest| {
            format!("{} / {}", size::show(guest.memory_used), size::show(moment.machine.config.memory))
        }),
        guest(&|guest| percent(guest.memory_used as f64 / moment.machine.config.memory.max(1) as f64)),
        moment.host.map_or("--".into(), size::show),
        guest(&|guest| format!("{} / {}", size::show(guest.disk_read), size::show(guest.disk_written))),
        size::show(moment.machine.directory.upper_size()),
        guest(&|guest| guest.pids.to_string()),
    ]
}

fn object(moment: &Moment) -> serde_json::Value {
    let guest = moment.guest.as_ref();
    json!({
        "Id": moment.machine.config.id.as_str(),
        "Name": moment.machine.name,
        "Cpu": moment.cpu,
        "MemoryUsed": guest.map(|guest| guest.memory_used),
        "MemoryAvailable": guest.map(|guest| guest.memory_available),
        "MemoryLimit": moment.machine.config.memory,
        "HostMemory": moment.host,
        "DiskRead": guest.map(|guest| guest.disk_read),
        "DiskWritten": guest.map(|guest| guest.disk_written),
        "Layer": moment.machine.directory.upper_size(),
        "Pids": guest.map(|guest| guest.pids),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_time_in_between() {
        let at = |uptime, busy| Statistics { uptime, busy, ..Statistics::default() };
        assert_eq!(share(&at(1_000, 100), &at(3_000, 3_100)), Some(1.5));
        assert_eq!(share(&at(1_000, 100), &at(500, 50)), None, "started anew");
        assert_eq!(share(&at(1_000, 100), &at(1_000, 100)), None);
    }
}
