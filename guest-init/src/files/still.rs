//! The machine's processes stand still while their files are read: guest-init's main process sees to that, for
//! it knows who else wants it.

use std::fs::File;

use guest_protocol::frame;
use rustix::fd::OwnedFd;
use rustix::io::write;
use rustix::net::{Shutdown, shutdown};

/// They may go on when this is dropped.
pub struct Still<'a>(&'a OwnedFd);

impl Still<'_> {
    /// Returns when all of them stand still. `parent` leads to guest-init's main process.
    pub fn begin(parent: &OwnedFd) -> Result<Still<'_>, String> {
        let lost = |_| String::from("guest-init does not answer its own child");
        write(parent, &[1]).map_err(lost)?;
        let from = File::from(parent.try_clone().map_err(|error| error.to_string())?);
        let answer: Result<(), String> = frame::read(&from).map_err(|error| error.to_string())?;
        answer.map(|()| Still(parent))
    }
}

impl Drop for Still<'_> {
    fn drop(&mut self) {
        let _ = shutdown(self.0, Shutdown::Both);
    }
}
