//! Signals that this process gets and somebody else is to have.

use std::io;
use std::thread;

use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;

/// Gives each size that the terminal gets to `pass`, in a thread; all other signals do what they always do.
pub fn forward_resizing(pass: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    forward_these(&[SIGWINCH], pass)
}

/// Gives each signal to `pass`, in a thread, until that returns `false`. From now on none of them ends this process.
pub fn forward(pass: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    forward_these(&[SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGCONT, SIGWINCH], pass)
}

fn forward_these(signals: &[i32], mut pass: impl FnMut(i32) -> bool + Send + 'static) -> io::Result<()> {
    let mut signals = Signals::new(signals)?;
    thread::spawn(move || signals.forever().all(&mut pass));
    Ok(())
}
