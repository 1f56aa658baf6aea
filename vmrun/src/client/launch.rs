//! Starting a machine's supervisor.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::home::Home;
use crate::machine::{MachineDirectory, window_size};
use crate::supervisor::{Order, READY};

/// The most that is read of what a supervisor complains of, in bytes.
const MAX_COMPLAINT: u64 = 16 << 10;

/// Starts the supervisor of `machine`, and with it the machine; returns when it can be talked to.
pub fn launch(home: &Home, machine: &MachineDirectory) -> Result<()> {
    let order = Order { id: machine.id().clone(), root: home.root().to_owned(), window: window_size() };
    let mut child = Command::new("/proc/self/exe")
        .arg0("vmrun")
        .args(order.words())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start the machine's supervisor")?;
    let mut said = vec![0; READY.len()];
    let mut stdout = child.stdout.take().context("the supervisor has no standard output")?;
    if stdout.read_exact(&mut said).is_ok() && said == READY.as_bytes() {
        return Ok(());
    }
    let mut complaint = String::new();
    if let Some(stderr) = child.stderr.take() {
        let _ = stderr.take(MAX_COMPLAINT).read_to_string(&mut complaint);
    }
    let _ = child.wait();
    match complaint.lines().last() {
        Some(line) => bail!("{}", line.strip_prefix("vmrun: ").unwrap_or(line)),
        None => bail!("the machine's supervisor ended before it began"),
    }
}
