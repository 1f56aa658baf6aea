//! The connections to guest-init, and the copying between them and vmrun's own standard streams.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use guest_protocol::{Hello, PORT, frame};

use crate::place::Socket;

/// How much is copied at a time, in bytes.
const PIECE: usize = 64 << 10;

/// How long guest-init may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connects to guest-init once for each greeting. All are asked for before any answer is awaited.
pub fn connect(socket: &Socket, hellos: &[Hello]) -> Result<Vec<UnixStream>> {
    connect_within(PATIENCE, socket, hellos)
}

/// The same, of a guest that has so long to accept each.
pub fn connect_within(patience: Duration, socket: &Socket, hellos: &[Hello]) -> Result<Vec<UnixStream>> {
    let mut connections = Vec::new();
    for _ in hellos {
        let mut connection =
            socket.connect().with_context(|| format!("cannot reach the machine at {socket}"))?;
        connection.write_all(format!("CONNECT {PORT}\n").as_bytes())?;
        connections.push(connection);
    }
    for (connection, hello) in connections.iter_mut().zip(hellos) {
        connection.set_read_timeout(Some(patience))?;
        await_acceptance(connection, patience)?;
        connection.set_read_timeout(None)?;
        frame::write(connection, hello)?;
    }
    Ok(connections)
}

/// Reads the line `OK <port>`, byte by byte, for what follows belongs to the stream.
fn await_acceptance(connection: &mut UnixStream, patience: Duration) -> Result<()> {
    let mut line = Vec::new();
    let mut byte = [0];
    while line.last() != Some(&b'\n') {
        let count = connection.read(&mut byte).map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => anyhow!("the machine has not answered for {patience:?}"),
            _ => error.into(),
        })?;
        if line.len() > 32 || count == 0 {
            bail!("the machine refused a connection to its guest-init");
        }
        line.push(byte[0]);
    }
    if !line.starts_with(b"OK ") {
        bail!("the machine answered a connection with '{}'", String::from_utf8_lossy(&line).trim_end());
    }
    Ok(())
}

/// Copies the guest's output until it ends. When `to` cannot take it any more (a closed pipe, a
/// full disk) the guest is told by shutting the stream, and its writers see it as on any pipe.
pub fn copy_output(mut from: UnixStream, mut to: impl Write, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let length = match from.read(&mut piece) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The machine is gone; how it ended is told elsewhere.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(()),
            Err(error) => return Err(error),
        };
        seen(&piece[..length]);
        if let Err(error) = to.write_all(&piece[..length]).and_then(|()| to.flush()) {
            let _ = from.shutdown(Shutdown::Both);
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;
    use std::os::unix::net::UnixListener;
    use std::thread;

    #[test]
    fn a_connection_is_asked_for_accepted_and_greeted() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let guest = thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut line = [0; 10];
            connection.read_exact(&mut line).unwrap();
            connection.write_all(b"OK 1073741824\nhello").unwrap();
            (line, frame::read::<Hello>(&mut connection).unwrap())
        });
        let mut connections = connect(&Place::Here.socket(socket), &[Hello::Control]).unwrap();
        let (line, hello) = guest.join().unwrap();
        assert_eq!((&line, hello), (b"CONNECT 1\n", Hello::Control));
        let mut rest = String::new();
        connections[0].read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "hello");
    }

    #[test]
    fn a_refusal_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let guest = thread::spawn(move || drop(listener.accept().unwrap()));
        assert!(connect(&Place::Here.socket(socket), &[Hello::Control]).is_err());
        guest.join().unwrap();
    }
}
