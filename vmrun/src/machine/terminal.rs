//! The user's own terminal: its size, and raw mode for as long as the guest has it.

use std::io::{self, IsTerminal};

use guest_protocol::WindowSize;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// Raw mode on standard input; the terminal's former settings are restored when this is dropped.
pub struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Switches the terminal to raw mode; `None` when standard input is no terminal.
    pub fn enter() -> io::Result<Option<RawMode>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Some(RawMode { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // A terminal that has gone away needs no restoring.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// The size of the terminal on standard output or input, else the traditional 24 by 80.
pub fn window_size() -> WindowSize {
    for size in [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())].into_iter().flatten() {
        if size.ws_row > 0 && size.ws_col > 0 {
            return WindowSize { rows: size.ws_row, columns: size.ws_col };
        }
    }
    WindowSize { rows: 24, columns: 80 }
}
