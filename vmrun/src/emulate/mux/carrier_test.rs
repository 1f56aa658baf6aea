use std::thread;
use std::time::Instant;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// Two carriers with a port between them; the accepting one has each channel served by `serve`, in a
/// thread of its own.
struct Pair {
    opening: Carrier,
}

impl Pair {
    fn new(serve: fn(Vec<u8>, UnixStream)) -> Pair {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_nonblocking(true).unwrap();
        let mut accepting = Carrier::new(far.into(), Mux::accepting()).unwrap();
        thread::spawn(move || {
            // Ends with the port.
            while let Ok(events) = accepting.wait(None) {
                for event in events {
                    let Event::Opened(id, request) = event else { continue };
                    let (ours, theirs) = UnixStream::pair().unwrap();
                    accepting.attach(id, b"", ours).unwrap();
                    thread::spawn(move || serve(request, theirs));
                }
            }
        });
        Pair { opening: Carrier::new(near.into(), Mux::opening()).unwrap() }
    }

    /// A connection through the port.
    fn connect(&mut self, request: &[u8]) -> UnixStream {
        let (ours, theirs) = UnixStream::pair().unwrap();
        self.opening.open(request, ours).unwrap().unwrap();
        theirs
    }

    /// Carries until `count` channels are over.
    fn carry(mut self, mut count: usize) {
        let deadline = Instant::now() + PATIENCE;
        while count > 0 {
            assert!(Instant::now() < deadline, "{count} channels are not over");
            let events = self.opening.wait(Some(Duration::from_millis(100))).unwrap();
            count -= events.iter().filter(|event| matches!(event, Event::Over(_))).count();
        }
        assert!(self.opening.sockets.is_empty());
    }
}

fn echo(_: Vec<u8>, mut stream: UnixStream) {
    let mut back = stream.try_clone().unwrap();
    std::io::copy(&mut stream, &mut back).unwrap();
    back.shutdown(Shutdown::Write).unwrap();
}

#[test]
fn streams_come_back_whole_and_end() {
    let mut pair = Pair::new(echo);
    let clients: Vec<_> = (0..20_u8)
        .map(|number| {
            let mut stream = pair.connect(b"");
            thread::spawn(move || {
                let sent: Vec<u8> = (0..600_000_u32).map(|index| (index / 7) as u8 ^ number).collect();
                let mut to = stream.try_clone().unwrap();
                let bytes = sent.clone();
                let sender = thread::spawn(move || {
                    to.write_all(&bytes).unwrap();
                    to.shutdown(Shutdown::Write).unwrap();
                });
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                sender.join().unwrap();
                assert!(received == sent, "channel {number} has changed what it carried");
            })
        })
        .collect();
    pair.carry(20);
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_client_that_leaves_is_missed_at_the_other_end() {
    fn write_for_ever(_: Vec<u8>, mut stream: UnixStream) {
        while stream.write_all(&[1; 10_000]).is_ok() {}
        // Its end comes, too.
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    let mut pair = Pair::new(write_for_ever);
    let mut stream = pair.connect(b"");
    let reader = thread::spawn(move || stream.read_exact(&mut [0; 500_000]).unwrap());
    pair.carry(1);
    reader.join().unwrap();
}

#[test]
fn what_was_said_before_leaving_arrives() {
    fn count(_: Vec<u8>, mut stream: UnixStream) {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes.len(), 300_000);
    }
    let mut pair = Pair::new(count);
    let mut stream = pair.connect(b"");
    let writer = thread::spawn(move || stream.write_all(&[1; 300_000]).unwrap());
    pair.carry(1);
    writer.join().unwrap();
}

#[test]
fn one_that_reads_nothing_does_not_hold_up_another() {
    fn flood_or_answer(request: Vec<u8>, mut stream: UnixStream) {
        match request.as_slice() {
            b"flood" => while stream.write_all(&[1; 10_000]).is_ok() {},
            _ => stream.write_all(b"answer").unwrap(),
        }
    }
    let mut pair = Pair::new(flood_or_answer);
    let idle = pair.connect(b"flood");
    let mut stream = pair.connect(b"");
    let client = thread::spawn(move || {
        // Long enough for the flood to fill all there is.
        thread::sleep(Duration::from_millis(200));
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        drop(idle);
        answer
    });
    pair.carry(2);
    assert_eq!(client.join().unwrap(), "answer");
}

#[test]
fn the_end_of_the_port_is_an_error() {
    let (near, far) = UnixStream::pair().unwrap();
    near.set_nonblocking(true).unwrap();
    let mut carrier = Carrier::new(near.into(), Mux::opening()).unwrap();
    let (ours, mut client) = UnixStream::pair().unwrap();
    carrier.open(b"", ours).unwrap();
    drop(far);
    assert!((0..10).any(|_| carrier.wait(Some(PATIENCE)).is_err()));
    drop(carrier);
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "clients see it end");
}
