//! `vmrun emulate`: any command on an emulated machine that has KVM; and the emulated host that
//! machines run in where this host has none.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::json;

use super::stop;
use crate::age::age;
use crate::arguments::{EmulateArguments, EmulatedHostCommand, Format};
use crate::emulate::host::{Census, Connection, EmulatedHost, Status, Wanted};
use crate::emulate::{self, EmulateOptions};
use crate::home::Home;
use crate::machine::{MachineSummary, Machines};
use crate::output::{complain, say, stdout, table};

pub fn emulate(home: &Home, arguments: EmulateArguments) -> Result<u8> {
    if let Some(command) = arguments.host {
        return manage(home, command);
    }
    emulate::run(
        home,
        &EmulateOptions {
            memory: arguments.memory,
            cpus: if arguments.icount { 1 } else { arguments.cpus },
            icount: arguments.icount,
            kernel: arguments.kernel,
            write_back: arguments.write_back,
            command: arguments.command,
        },
    )
}

fn manage(home: &Home, command: EmulatedHostCommand) -> Result<u8> {
    let host = EmulatedHost::new(home.root());
    match command {
        EmulatedHostCommand::Status { format } => show(home, host.status()?, format),
        EmulatedHostCommand::Stop { force } => {
            if force {
                stop_machines(home)?;
            }
            if !host.stop(force)? {
                say("no emulated host runs")?;
            }
            Ok(0)
        }
        EmulatedHostCommand::Connect { path } => {
            let connection = host.connect(&path);
            relay(connection.with_context(|| format!("cannot connect to {}", path.display()))?)
        }
        EmulatedHostCommand::Spawn { detached, memory, words } => {
            let wanted = Wanted { label: "spawned by hand", words: &words, memory };
            match detached {
                true => host.spawn(&wanted, Connection::Said).map(|_| 0),
                false => relay(host.spawn(&wanted, Connection::Life)?),
            }
        }
    }
}

/// Ends all machines at once, each in its own time.
fn stop_machines(home: &Home) -> Result<()> {
    let running = Machines::open(home).list()?.into_iter().filter(MachineSummary::is_running);
    let stopping =
        running.map(|machine| thread::spawn(move || stop::end(&machine.directory, None, None, false)));
    for stopping in stopping.collect::<Vec<_>>() {
        // One that does not end now ends with its host.
        if let Ok(Err(error)) = stopping.join() {
            complain(&error);
        }
    }
    Ok(())
}

/// The exit code is 1 when it does not run, as that of `systemctl status` is not 0.
fn show(home: &Home, found: Option<(Status, Census)>, format: Format) -> Result<u8> {
    let Some((status, census)) = found else {
        match format {
            Format::Json => say(json!({ "running": false }))?,
            Format::Table => say("no emulated host runs")?,
        }
        return Ok(1);
    };
    let machines = Machines::open(home);
    let name = |id: &String| machines.find(id).and_then(|machine| machine.name());
    // One that has just been removed has its ID for a name.
    let names: Vec<String> = census.labels.iter().map(|id| name(id).unwrap_or_else(|_| id.clone())).collect();
    match format {
        Format::Json => say(json!({
            "running": true,
            "since": status.since,
            "memory": status.memory,
            "available": census.available,
            "pid": status.qemu,
            "machines": names,
        }))?,
        Format::Table => {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(status.since);
            let row = [
                age(Some(since)),
                format!("{} MiB", status.memory >> 20),
                format!("{} MiB", census.available >> 20),
                status.qemu.to_string(),
                names.join(" "),
            ];
            table(["STARTED", "MEMORY", "AVAILABLE", "PID", "MACHINES"], &[row])?;
        }
    }
    Ok(0)
}

/// Copies standard input to the connection, and the connection to standard output, to its end.
fn relay(connection: UnixStream) -> Result<u8> {
    let mut to = connection.try_clone()?;
    thread::spawn(move || {
        // Either side may have had enough.
        let _ = io::copy(&mut io::stdin().lock(), &mut to);
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut from, mut out) = (connection, stdout());
    io::copy(&mut from, &mut out)?;
    out.flush()?;
    Ok(0)
}
