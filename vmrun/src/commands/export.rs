//! `vmrun export`: all of a machine's files as an archive.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, bail};
use guest_protocol::files::Request;

use crate::arguments::ExportArguments;
use crate::files::{OpenMachine, TarStream};
use crate::home::Home;
use crate::output::stdout;
use crate::whole_file::write_whole;

pub fn export(home: &Home, arguments: &ExportArguments) -> Result<u8> {
    if arguments.output.is_none() && io::stdout().is_terminal() {
        bail!("an archive is not for a terminal: name a file with -o, or redirect standard output");
    }
    let machine = OpenMachine::open(home, &arguments.machine)?;
    let export = |out: &mut dyn Write| {
        let mut warn = |text: String| machine.guest.warning(&text);
        let mut stream = TarStream::new(machine.guest.ask(&Request::Root)?, &mut warn);
        let copied = io::copy(&mut stream, out).and_then(|_| out.flush());
        stream.outcome(copied, &machine.guest)
    };
    match &arguments.output {
        Some(path) => write_whole(path, |file| export(file))?,
        None => export(&mut stdout())?,
    }
    Ok(0)
}
