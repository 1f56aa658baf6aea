//! `vmrun diff`: how a machine's files differ from its image's.

use std::io::{BufWriter, Write};

use anyhow::{Result, bail};
use guest_protocol::files::{ChangeKind, Item, Request};

use crate::arguments::DiffArguments;
use crate::files::OpenMachine;
use crate::home::Home;
use crate::output::stdout;

pub fn diff(home: &Home, arguments: &DiffArguments) -> Result<u8> {
    let machine = OpenMachine::open(home, &arguments.machine)?;
    let guest = &machine.guest;
    let mut answer = guest.ask(&Request::Changes)?;
    let mut out = BufWriter::new(stdout());
    loop {
        match answer.item().map_err(|error| guest.explain(error.into()))? {
            Item::Change(change) => {
                let letter = match change.kind {
                    ChangeKind::Added => 'A',
                    ChangeKind::Changed => 'C',
                    ChangeKind::Deleted => 'D',
                };
                writeln!(out, "{letter} /{}", one_line(&change.path))?;
            }
            Item::Warning(text) => guest.warning(&text),
            Item::Done => break,
            Item::Failed(message) => bail!(message),
            Item::Entry(_) | Item::Found(_) => bail!("the machine's guest-init answered what was not asked"),
        }
    }
    out.flush()?;
    Ok(0)
}

/// A path is one line, whatever is in its name.
fn one_line(path: &[u8]) -> String {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(path).chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}
