//! A guest-init that lies: a listener on a Unix socket in the place of a machine's.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use guest_protocol::files::{Change, ChangeKind, Entry, Kind, Time};
use guest_protocol::frame;
use tempfile::TempDir;

use super::*;
use crate::place::Place;

struct Mock {
    _directory: TempDir,
    guest: Guest,
    thread: JoinHandle<()>,
}

impl Mock {
    /// A machine whose connections are all served by `serve`, after greeting and request.
    fn serving(serve: impl Fn(UnixStream) + Send + 'static, connections: usize) -> Mock {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        let thread = thread::spawn(move || {
            for _ in 0..connections {
                let (mut connection, _) = listener.accept().unwrap();
                connection.read_exact(&mut [0; 10]).unwrap();
                connection.write_all(b"OK 1\n").unwrap();
                frame::read::<Hello>(&connection).unwrap();
                frame::read::<Request>(&connection).unwrap();
                serve(connection);
            }
        });
        let guest = Guest::new(&Place::Here.socket(socket)).with_patience(Duration::from_millis(300));
        Mock { _directory: directory, guest, thread }
    }

    fn look(self) -> String {
        let error = format!("{:#}", self.guest.look(b"/", false).unwrap_err());
        self.thread.join().unwrap();
        error
    }
}

fn entry(path: &str, size: u64) -> Item {
    let (modified, xattrs) = (Time::default(), Vec::new());
    let kind = Kind::File(size);
    Item::Entry(Entry { path: path.into(), kind, mode: 0o644, uid: 0, gid: 0, modified, xattrs })
}

#[test]
fn one_that_never_answers_is_given_up() {
    let begun = Instant::now();
    let mock = Mock::serving(|mut connection| drop(connection.read_to_end(&mut Vec::new())), 1);
    assert_eq!(mock.look(), "the machine has not answered for 0.3 seconds");
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn an_oversized_frame_is_not_read() {
    let mock = Mock::serving(|mut connection| connection.write_all(&[0xff; 8]).unwrap(), 1);
    assert!(mock.look().contains("cannot be understood"));
    let mock = Mock::serving(|mut connection| connection.write_all(b"\x03\0\0\0\xff\xff\xff").unwrap(), 1);
    assert!(mock.look().contains("cannot be understood"));
}

#[test]
fn one_that_goes_away_is_said_so() {
    let mock = Mock::serving(drop, 1);
    assert!(mock.look().contains("in the middle of its answer"));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    for item in [entry("f", 0), Item::Done, Item::Warning("?".into())] {
        let mock = Mock::serving(move |connection| ItemWriter::new(connection).item(&item).unwrap(), 1);
        assert!(mock.look().contains("what was not asked"));
    }
    let change = Item::Change(Change { path: b"../x".to_vec(), kind: ChangeKind::Added });
    let mock = Mock::serving(move |connection| ItemWriter::new(connection).item(&change).unwrap(), 1);
    assert!(mock.look().contains("‘../x’"));
}

#[test]
fn links_that_lead_nowhere_end() {
    let found = |connection: UnixStream| {
        let mut writer = ItemWriter::new(connection);
        writer.item(&Item::Found(Some(Found::Symlink(b"loop".to_vec())))).unwrap();
        writer.end(Ok(())).unwrap();
    };
    let mock = Mock::serving(found, MAX_LINKS);
    assert!(mock.guest.resolve(b"/loop").unwrap_err().to_string().starts_with("too many symbolic links"));
    mock.thread.join().unwrap();
}

#[test]
fn a_refusal_in_the_middle_is_told_with_its_reason() {
    let refuse = |connection: UnixStream| {
        let mut answers = ItemWriter::new(connection.try_clone().unwrap());
        answers.end(Err("No space left on device")).unwrap();
        let _ = (&connection).read_to_end(&mut Vec::new());
    };
    let mock = Mock::serving(refuse, 1);
    let mut delivery = mock.guest.deliver(b"/").unwrap();
    let sent = (|| {
        delivery.items.item(&entry("f", 100 << 20))?;
        for _ in 0..100 {
            delivery.items.data(&[0; 1 << 20])?;
        }
        Ok(())
    })();
    assert!(sent.is_err(), "it is noticed long before the end");
    assert_eq!(delivery.finish(sent).unwrap_err().to_string(), "No space left on device");
    mock.thread.join().unwrap();
}

#[test]
fn done_too_early_is_no_success() {
    let done = |connection: UnixStream| {
        ItemWriter::new(connection.try_clone().unwrap()).end(Ok(())).unwrap();
        let _ = (&connection).read_to_end(&mut Vec::new());
    };
    let mock = Mock::serving(done, 1);
    let mut delivery = mock.guest.deliver(b"/").unwrap();
    thread::sleep(Duration::from_millis(50));
    let sent = (|| {
        delivery.items.item(&entry("f", 1 << 20))?;
        Ok(delivery.items.data(&[0; 1 << 20])?)
    })();
    assert!(delivery.finish(sent).unwrap_err().to_string().contains("what was not asked"));
    mock.thread.join().unwrap();
}
