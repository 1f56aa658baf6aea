//! Questions that guest-init answers with one frame.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use guest_protocol::{Hello, frame};
use serde::de::DeserializeOwned;

use super::streams::connect;
use crate::place::Socket;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What the guest-init at `socket` answers to `hello`.
pub fn inquire<T: DeserializeOwned>(socket: &Socket, hello: Hello) -> Result<T> {
    let connection = connect(socket, &[hello])?.pop().context("the machine does not answer")?;
    connection.set_read_timeout(Some(PATIENCE))?;
    let answer: Result<T, String> = frame::read(&connection).context("the machine does not answer")?;
    answer.map_err(|message| anyhow!(message))
}
