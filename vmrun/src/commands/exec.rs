//! `vmrun exec`: one more command in a machine that runs.

use std::io::{self, IsTerminal};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use anyhow::{Result, bail};
use guest_protocol::{ExecRequest, Process};

use crate::arguments::ExecArguments;
use crate::client;
use crate::home::Home;
use crate::machine::{self, Machines, Variables};

pub fn exec(home: &Home, exec: &ExecArguments) -> Result<u8> {
    if exec.tty && exec.interactive && !exec.detach && !io::stdin().is_terminal() {
        bail!("the input device is not a terminal: leave out -t, or run from one");
    }
    let machine = Machines::open(home).find(&exec.machine)?;
    let socket = machine.running(&exec.machine)?;
    let main = machine.config()?.process(None);
    let request = ExecRequest { process: process(exec, main)?, detached: exec.detach };
    client::exec(&socket, &request, &exec.detach_keys)
}

/// What `exec` says, over what the machine's own process is.
fn process(exec: &ExecArguments, main: Process) -> Result<Process> {
    let args: Vec<Vec<u8>> = exec.command.iter().map(|word| word.clone().into_vec()).collect();
    if args.iter().any(|argument| argument.contains(&0)) {
        bail!("an argument of the command contains a NUL byte");
    }
    let mut variables = Variables::default();
    main.env.into_iter().for_each(|variable| variables.set(variable));
    for file in &exec.env_file {
        variables.set_file(file)?;
    }
    for variable in &exec.env {
        variables.set_given(variable.as_bytes(), "given with --env")?;
    }
    Ok(Process {
        args,
        env: variables.into_inner(),
        cwd: exec.workdir.clone().map_or(main.cwd, String::into_bytes),
        user: exec.user.clone().unwrap_or(main.user),
        terminal: exec.tty.then(machine::window_size),
        stdin: exec.interactive && !exec.detach,
        dropped_capabilities: if exec.privileged { 0 } else { main.dropped_capabilities },
        ..main
    })
}
