//! `vmrun emulate`: any command on an emulated machine that has KVM; and the emulated host that
//! machines run in where this host has none.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::json;

use super::create::find_image;
use crate::age::age;
use crate::arguments::{EmulateArguments, EmulatedHostCommand, Format, MachineArguments, words_after_pull};
use crate::emulate::host::{Census, Connection, EmulatedHost, Status, Wanted};
use crate::emulate::{self, EmulateOptions};
use crate::home::Home;
use crate::output::{table, warn};

/// What the emulated machine needs beside the machine that runs in it, in bytes.
const OWN_MEMORY: u64 = 1 << 30;

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

/// Runs this same command line again, on an emulated machine.
pub fn run_again(home: &Home, arguments: &MachineArguments) -> Result<u8> {
    // Out here, where there are registries.
    let image = find_image(&home.images()?, arguments)?;
    let copy = if arguments.no_share { image.disk().length } else { 0 };
    let memory = arguments.memory.saturating_add(copy);
    warn(
        "vmrun: no hardware virtualization here: using an emulated machine, which is slow (see `vmrun doctor`)",
    );
    let own = env::current_exe().context("cannot find vmrun's own executable")?;
    let command: Vec<OsString> = [own.into_os_string()].into_iter().chain(words_after_pull()).collect();
    let memory = memory.saturating_add(OWN_MEMORY);
    emulate::run(
        home,
        &EmulateOptions { memory, cpus: 1, icount: false, kernel: None, write_back: false, command },
    )
}

fn manage(home: &Home, command: EmulatedHostCommand) -> Result<u8> {
    let host = EmulatedHost::new(home.root());
    match command {
        EmulatedHostCommand::Status { format } => show(host.status()?, format),
        EmulatedHostCommand::Stop { force } => {
            if !host.stop(force)? {
                println!("no emulated host runs");
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

/// The exit code is 1 when it does not run, as that of `systemctl status` is not 0.
fn show(found: Option<(Status, Census)>, format: Format) -> Result<u8> {
    let Some((status, census)) = found else {
        match format {
            Format::Json => println!("{}", json!({ "running": false })),
            Format::Table => println!("no emulated host runs"),
        }
        return Ok(1);
    };
    match format {
        Format::Json => println!(
            "{}",
            json!({
                "running": true,
                "since": status.since,
                "memory": status.memory,
                "available": census.available,
                "pid": status.qemu,
                "machines": census.labels,
            })
        ),
        Format::Table => {
            let since = SystemTime::UNIX_EPOCH + Duration::from_secs(status.since);
            let row = [
                age(Some(since)),
                format!("{} MiB", status.memory >> 20),
                format!("{} MiB", census.available >> 20),
                status.qemu.to_string(),
                census.labels.join(" "),
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
    let (mut from, mut out) = (connection, io::stdout().lock());
    io::copy(&mut from, &mut out)?;
    out.flush()?;
    Ok(0)
}
