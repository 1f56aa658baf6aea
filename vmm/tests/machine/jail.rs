//! A monitor that has been taken over: it tries what its jail forbids, and is refused.
//!
//! Each attempt is made in a process of its own: this test, started again.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};
use std::sync::Arc;

use crate::guest::{Code, TemporaryFile, kernel, spec};
use vmm::{EventFd, Machine, Observer, jail};

const ATTEMPT: &str = "VMM_TEST_ATTEMPT";

/// An observer in whose place an attacker runs on a vCPU's thread.
struct Attacker(fn());

impl Observer for Attacker {
    fn stamp(&self, _byte: u8) {
        (self.0)();
    }

    fn serial(&self, _bytes: &[u8]) {}

    fn trouble(&self, _trouble: vmm::Trouble) {}
}

fn open_a_file() {
    let _ = std::fs::File::open("/etc/passwd");
}

fn start_a_program() {
    let _ = Command::new("/bin/true").spawn();
}

fn connect_somewhere() {
    // SAFETY: takes plain numbers.
    unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
}

fn make_code() {
    // SAFETY: a new mapping at an address of the kernel's choice.
    unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_EXEC,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
}

fn write_where_it_may() {
    eprintln!("allowed");
}

/// Lets a monitor with an attacker in it run, in this process. Returns only when the attack is not noticed.
fn attack(attempt: fn()) {
    let kernel =
        TemporaryFile::new("attack", &kernel(&Code::default().out(vmm::layout::STAMP_PORT, 1).power_off()));
    let machine = Machine::new(spec(&kernel)).unwrap();
    // Nobody will clean up behind a monitor that is killed.
    drop(kernel);
    machine.run(Arc::new(Attacker(attempt)), EventFd::new(0).unwrap()).unwrap();
}

/// Runs test `name` of this program in a new process, as an attempt.
fn again(name: &str) -> Output {
    let program = std::env::current_exe().unwrap();
    Command::new(program)
        .args(["--exact", &format!("jail::{name}"), "--nocapture"])
        .env(ATTEMPT, name)
        .output()
        .unwrap()
}

fn is_attempt() -> bool {
    std::env::var_os(ATTEMPT).is_some()
}

fn assert_stopped(output: &Output, call: i64) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), output.status.signal()), (Some(125), None), "{errors}");
    assert!(errors.contains(&format!("its jail forbids system call {call:4}\n")), "{errors}");
}

#[test]
fn opening_a_file_ends_the_monitor() {
    if is_attempt() {
        return attack(open_a_file);
    }
    assert_stopped(&again("opening_a_file_ends_the_monitor"), libc::SYS_openat);
}

#[test]
fn starting_a_program_ends_the_monitor() {
    if is_attempt() {
        return attack(start_a_program);
    }
    let output = again("starting_a_program_ends_the_monitor");
    // The standard library blocks all signals meanwhile, so that the refusal cannot be told.
    assert_eq!(output.status.signal(), Some(libc::SIGSYS), "{output:?}");
}

#[test]
fn opening_a_socket_ends_the_monitor() {
    if is_attempt() {
        return attack(connect_somewhere);
    }
    assert_stopped(&again("opening_a_socket_ends_the_monitor"), libc::SYS_socket);
}

#[test]
fn executable_memory_ends_the_monitor() {
    if is_attempt() {
        return attack(make_code);
    }
    assert_stopped(&again("executable_memory_ends_the_monitor"), libc::SYS_mmap);
}

#[test]
fn what_an_observer_needs_is_allowed() {
    if is_attempt() {
        return attack(write_where_it_may);
    }
    let output = again("what_an_observer_needs_is_allowed");
    assert!(output.status.success(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("allowed"));
}

/// Landlock alone, without the system call filter in front of it.
#[test]
fn no_file_can_be_opened_and_no_privilege_gained() {
    if !is_attempt() {
        let output = again("no_file_can_be_opened_and_no_privilege_gained");
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let file = std::env::current_exe().unwrap();
    let gaps = jail::lock_process().unwrap();
    let status = std::fs::read_to_string("/proc/thread-self/status");
    if gaps.iter().any(|gap| gap.contains("no Landlock")) {
        assert!(status.unwrap().contains("NoNewPrivs:\t1"));
        return;
    }
    assert!(status.is_err());
    for error in
        [std::fs::File::open(file).unwrap_err(), std::fs::write("/tmp/vmm-test-jail", "").unwrap_err()]
    {
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    }
    // SAFETY: takes plain numbers.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) }, 1);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }, 0);
}
