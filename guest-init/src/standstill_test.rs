use std::fs;
use std::path::Path;

use rustix::io::write;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::*;

/// What looks like a cgroup of version 2, of which the test is the kernel.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new() -> Fake {
        let fake = Fake(tempfile::tempdir().unwrap());
        fs::write(fake.path().join("cgroup.freeze"), "0").unwrap();
        fake.says("frozen 0");
        fake
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn says(&self, event: &str) {
        fs::write(self.path().join("cgroup.events"), ["populated 1\n", event, "\n"].concat()).unwrap();
    }

    fn is_stopped(&self) -> bool {
        fs::read(self.path().join("cgroup.freeze")).unwrap() == b"1"
    }

    fn cgroups(&self) -> Vec<Cgroup> {
        vec![Cgroup::open(self.path()).unwrap()]
    }

    /// What is answered when all has stood still, or run, as it was told to.
    fn turn(&self, standstill: &mut Standstill) -> Vec<Result<(), String>> {
        let mut answers = standstill.turn(|| self.cgroups());
        self.says(if self.is_stopped() { "frozen 1" } else { "frozen 0" });
        answers.extend(standstill.turn(|| self.cgroups()));
        answers.into_iter().map(|(_, answer)| answer).collect()
    }
}

fn reader(standstill: &mut Standstill) -> OwnedFd {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (way, child) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    standstill.watch(way);
    child
}

#[test]
fn processes_go_on_when_the_last_reader_is_done() {
    let (fake, mut standstill) = (Fake::new(), Standstill::default());
    let (first, second, idle) = (reader(&mut standstill), reader(&mut standstill), reader(&mut standstill));
    write(&first, &[1]).unwrap();
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    assert!(fake.is_stopped());
    write(&second, &[1]).unwrap();
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    drop((first, idle));
    assert_eq!(fake.turn(&mut standstill), []);
    assert!(fake.is_stopped(), "the second one reads what changes");
    drop(second);
    fake.turn(&mut standstill);
    assert!(!fake.is_stopped());
}

#[test]
fn a_pause_outlasts_the_readers_and_they_a_pause() {
    let (fake, mut standstill) = (Fake::new(), Standstill::default());
    let host = Rc::new(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).unwrap());
    let child = reader(&mut standstill);
    write(&child, &[1]).unwrap();
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    assert!(standstill.pause(fake.cgroups(), &host).is_empty());
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    drop(child);
    fake.turn(&mut standstill);
    assert!(fake.is_stopped(), "it is paused");

    let child = reader(&mut standstill);
    write(&child, &[1]).unwrap();
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    assert_eq!(standstill.unpause(fake.cgroups(), &host).len(), 1);
    fake.turn(&mut standstill);
    assert!(fake.is_stopped(), "it is read");
    drop(child);
    fake.turn(&mut standstill);
    assert!(!fake.is_stopped());

    assert!(standstill.pause(fake.cgroups(), &host).is_empty());
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    assert!(standstill.unpause(fake.cgroups(), &host).is_empty());
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    assert!(!fake.is_stopped());
}

#[test]
fn what_an_image_has_stopped_itself_stays_so() {
    let (fake, mut standstill) = (Fake::new(), Standstill::default());
    fs::write(fake.path().join("cgroup.freeze"), "1").unwrap();
    let child = reader(&mut standstill);
    write(&child, &[1]).unwrap();
    assert_eq!(fake.turn(&mut standstill), [Ok(())]);
    drop(child);
    fake.turn(&mut standstill);
    assert!(fake.is_stopped());
}

#[test]
fn a_reader_that_gives_up_is_no_reason_to_stand_still() {
    let (fake, mut standstill) = (Fake::new(), Standstill::default());
    let host = Rc::new(rustix::io::fcntl_dupfd_cloexec(std::io::stdin(), 0).unwrap());
    let child = reader(&mut standstill);
    write(&child, &[1]).unwrap();
    assert!(standstill.turn(|| fake.cgroups()).is_empty(), "it does not stand still yet");
    drop(child);
    assert!(standstill.turn(|| fake.cgroups()).is_empty());
    assert!(!fake.is_stopped());
    // Nobody can freeze what is no cgroup.
    let nothing = tempfile::tempdir().unwrap();
    let answers = standstill.pause(vec![Cgroup::open(nothing.path()).unwrap()], &host);
    assert!(matches!(&answers[..], [(_, Err(_))]));
    assert!(!standstill.is_wanted());
}
