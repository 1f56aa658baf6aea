//! Signals that this process gets and somebody else is to have.

use std::io;
use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

/// Gives each signal to `pass`, in a thread, until that returns `false`. From now on none of them ends this process.
pub fn forward(mut pass: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH])?;
    thread::spawn(move || signals.forever().all(&mut pass));
    Ok(())
}
