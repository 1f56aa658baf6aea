//! Copying between this process's standard streams and the machine's ports, which carry them in
//! pieces (see [`guest_protocol::port`]).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use guest_protocol::port;

/// One of the command's outputs, on its way to one of ours.
pub struct Output {
    port: UnixStream,
    copier: JoinHandle<io::Result<()>>,
}

impl Output {
    /// Begins to copy. `refused` is called once when our side will not take any more.
    pub fn start(
        port: UnixStream,
        to: impl AsFd,
        refused: impl FnOnce() + Send + 'static,
    ) -> io::Result<Output> {
        let to = File::from(to.as_fd().try_clone_to_owned()?);
        let from = port.try_clone()?;
        Ok(Output { port, copier: thread::spawn(move || copy(from, to, refused)) })
    }

    /// Waits until the stream has ended and all of it is written.
    pub fn finish(self) -> io::Result<()> {
        self.copier.join().unwrap_or(Ok(()))
    }

    /// Takes what has come so far, and waits for no end.
    pub fn abandon(self) -> io::Result<()> {
        let _ = self.port.shutdown(Shutdown::Read);
        self.finish()
    }
}

fn copy(from: UnixStream, mut to: File, refused: impl FnOnce()) -> io::Result<()> {
    let mut piece = Vec::new();
    let mut refused = Some(refused);
    let mut outcome = Ok(());
    // An error is the machine's end, which is told elsewhere.
    while let Ok(true) = port::read(&from, &mut piece) {
        // What nobody takes is thrown away, so that the command can go on to its end.
        if outcome.is_ok() {
            outcome = to.write_all(&piece);
            if outcome.is_err()
                && let Some(refused) = refused.take()
            {
                refused();
            }
        }
    }
    outcome
}

/// Copies our standard input to the command's, and its end too, in a thread of its own: that one
/// may still wait for input when all else is over.
pub fn start_input(to: UnixStream) {
    thread::spawn(move || {
        let mut piece = vec![0; port::MAX_PIECE];
        let mut from = io::stdin().lock();
        loop {
            match from.read(&mut piece) {
                Ok(0) => break,
                Ok(length) if port::write(&to, &piece[..length]).is_err() => return,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        let _ = port::end(&to);
    });
}

#[cfg(test)]
mod tests {
    use std::io::Seek;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    fn content(mut file: File) -> Vec<u8> {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_stream_is_copied_up_to_its_end() {
        let (guest, ours) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let output = Output::start(ours, &file, || ()).unwrap();
        let late = thread::spawn(move || {
            port::write(&guest, b"one").unwrap();
            thread::sleep(Duration::from_millis(50));
            port::write(&guest, &[7; 200_000]).unwrap();
            port::end(&guest).unwrap();
            guest
        });
        output.finish().unwrap();
        late.join().unwrap();
        assert_eq!(content(file), [b"one".to_vec(), vec![7; 200_000]].concat());
    }

    #[test]
    fn without_an_end_what_has_come_is_kept() {
        let (guest, ours) = UnixStream::pair().unwrap();
        let file = tempfile::tempfile().unwrap();
        let output = Output::start(ours, &file, || ()).unwrap();
        port::write(&guest, b"one").unwrap();
        output.abandon().unwrap();
        assert_eq!(content(file), b"one");
    }

    #[test]
    fn a_reader_that_left_is_told_once_and_the_rest_is_dropped() {
        let (guest, ours) = UnixStream::pair().unwrap();
        let (read, write) = io::pipe().unwrap();
        drop(read);
        let told = Arc::new(AtomicU32::new(0));
        let teller = told.clone();
        let refused = move || {
            teller.fetch_add(1, Ordering::SeqCst);
        };
        let output = Output::start(ours, &write, refused).unwrap();
        for _ in 0..100 {
            port::write(&guest, &[0; 40_000]).unwrap();
        }
        port::end(&guest).unwrap();
        assert_eq!(output.finish().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        assert_eq!(told.load(Ordering::SeqCst), 1);
    }
}
