//! The user's ^C, heard by every machine that runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use super::trial::Heard;
use crate::output::warn;
use crate::signals;

/// Whether the matrix is to end now.
#[derive(Debug, Default)]
pub struct Interruption {
    has_come: AtomicBool,
    listeners: Mutex<Vec<Sender<Heard>>>,
}

impl Interruption {
    /// From now on, the first of such signals removes the machines that run, and the second ends vmrun.
    pub fn on_signals() -> Result<Arc<Interruption>> {
        let interruption = Arc::new(Interruption::default());
        let told = interruption.clone();
        signals::forward(move |signal| {
            if [SIGINT, SIGTERM, SIGHUP, SIGQUIT].contains(&signal) {
                if told.has_come() {
                    warn("vmrun: left the machines alone: `vmrun ps -f label=vmrun.matrix` lists them");
                    std::process::exit(128 + signal);
                }
                told.come();
            }
            true
        })?;
        Ok(interruption)
    }

    pub fn has_come(&self) -> bool {
        self.has_come.load(Ordering::SeqCst)
    }

    pub fn come(&self) {
        self.has_come.store(true, Ordering::SeqCst);
        for listener in self.listeners.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // One that has ended needs no telling.
            let _ = listener.send(Heard::Interrupted);
        }
    }

    /// Has `listener` told, now or later.
    pub fn tell(&self, listener: Sender<Heard>) {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner).push(listener);
        if self.has_come() {
            self.come();
        }
    }
}
