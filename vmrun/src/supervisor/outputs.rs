//! The process's output on its way: into the log, and to everybody who is attached.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use guest_protocol::Stream;

use super::life::Happening;
use crate::machine::{LogStream, LogWriter};

/// How much is carried at a time, in bytes.
const PIECE: usize = 64 << 10;

/// Everything the process writes.
#[derive(Default)]
pub struct Outputs {
    log: Option<Arc<Mutex<LogWriter>>>,
    flows: Vec<Flow>,
    /// Clients that came before the process's streams were there.
    early: Vec<(Stream, UnixStream)>,
    /// How many streams are not over yet.
    open: usize,
    /// Which life of the machine they are of.
    generation: u32,
    over: bool,
}

/// One stream from the guest.
struct Flow {
    stream: Stream,
    guest: UnixStream,
    readers: Arc<Readers>,
}

#[derive(Default)]
struct Readers(Mutex<ReaderList>);

#[derive(Default)]
struct ReaderList {
    waiting: Vec<UnixStream>,
    over: bool,
}

impl Outputs {
    pub fn new(log: Option<LogWriter>) -> Outputs {
        Outputs { log: log.map(|log| Arc::new(Mutex::new(log))), ..Outputs::default() }
    }

    /// Sends `stream` to one more client, from now on.
    pub fn attach(&mut self, stream: Stream, client: UnixStream) {
        match self.flows.iter().find(|flow| flow.stream == stream) {
            Some(flow) => flow.readers.add(client),
            None if self.over => {}
            None => self.early.push((stream, client)),
        }
    }

    /// Begins to carry a stream of the guest's; says so when it is over.
    pub fn carry(&mut self, stream: Stream, guest: UnixStream, over: Sender<Happening>) -> io::Result<()> {
        let readers = Arc::new(Readers::default());
        for (_, client) in self.early.extract_if(.., |(wanted, _)| *wanted == stream) {
            readers.add(client);
        }
        let from = guest.try_clone()?;
        let (log, carried, generation) = (self.log.clone(), readers.clone(), self.generation);
        thread::Builder::new().stack_size(STACK).spawn(move || {
            copy(stream, from, log.as_deref(), &carried);
            carried.end();
            let _ = over.send(Happening::OutputOver { generation });
        })?;
        self.open += 1;
        self.flows.push(Flow { stream, guest, readers });
        Ok(())
    }

    /// The process gets an error where it writes on.
    pub fn refuse(&self, stream: Stream) {
        for flow in self.flows.iter().filter(|flow| flow.stream == stream) {
            let _ = flow.guest.shutdown(Shutdown::Both);
        }
    }

    /// Takes note of one stream's end.
    pub fn one_is_over(&mut self, generation: u32) {
        if generation == self.generation {
            self.open = self.open.saturating_sub(1);
        }
    }

    /// Whether everything has been carried.
    pub fn is_over(&self) -> bool {
        self.open == 0
    }

    /// Ends what is left of the streams, and waits for nobody.
    pub fn abandon(&mut self) {
        self.over = true;
        self.open = 0;
        self.early.clear();
        for flow in self.flows.drain(..) {
            let _ = flow.guest.shutdown(Shutdown::Both);
            flow.readers.end();
        }
    }

    /// For the next start of the machine.
    pub fn reopen(&mut self) {
        self.generation += 1;
        self.over = false;
    }
}

/// The carriers need little, and a detached machine keeps them.
const STACK: usize = 128 << 10;

impl Readers {
    fn list(&self) -> MutexGuard<'_, ReaderList> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, client: UnixStream) {
        let mut list = self.list();
        // Dropped where the stream is over: the client sees its end.
        if !list.over {
            list.waiting.push(client);
        }
    }

    fn end(&self) {
        let mut list = self.list();
        list.over = true;
        list.waiting.clear();
    }
}

fn copy(stream: Stream, mut guest: UnixStream, log: Option<&Mutex<LogWriter>>, readers: &Readers) {
    let log_stream = if stream == Stream::Stderr { LogStream::Stderr } else { LogStream::Stdout };
    let mut piece = vec![0; PIECE];
    let mut clients: Vec<UnixStream> = Vec::new();
    loop {
        let length = match guest.read(&mut piece) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // The machine is gone; how it ended is told elsewhere.
            Err(_) => return,
        };
        let piece = &piece[..length];
        if let Some(log) = log {
            log.lock().unwrap_or_else(PoisonError::into_inner).write(log_stream, piece);
        }
        clients.append(&mut readers.list().waiting);
        // One that has left is no loss; one that refuses has said so on its own connection.
        clients.retain_mut(|client| client.write_all(piece).is_ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn who_comes_between_two_lives_sees_the_next() {
        let mut outputs = Outputs::default();
        outputs.abandon();
        let (mut too_early, served) = UnixStream::pair().unwrap();
        outputs.attach(Stream::Stdout, served);
        let mut seen = String::new();
        too_early.read_to_string(&mut seen).unwrap();

        outputs.reopen();
        let (mut client, served) = UnixStream::pair().unwrap();
        outputs.attach(Stream::Stdout, served);
        let (guest, mut process) = UnixStream::pair().unwrap();
        let (over, happenings) = channel();
        outputs.carry(Stream::Stdout, guest, over).unwrap();
        process.write_all(b"hi").unwrap();
        drop(process);
        client.read_to_string(&mut seen).unwrap();
        assert_eq!(seen, "hi");
        let Ok(Happening::OutputOver { generation }) = happenings.recv() else { panic!("not over") };
        outputs.one_is_over(generation);
        assert!(outputs.is_over());
    }
}
