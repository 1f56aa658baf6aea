//! The serial port: a 16550 at COM1 whose output goes to the observer, a line at a time.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;

use vm_superio::{Serial, Trigger};
use vmm_sys_util::eventfd::EventFd;

use crate::observer::Observer;

/// How much of the latest output is kept, in bytes.
pub const KEPT: usize = 64 << 10;

/// How a Linux kernel begins to say that it panicked.
const PANIC: &[u8] = b"Kernel panic - not syncing";

/// A line longer than this is passed on in pieces.
const LINE: usize = 256;

/// The port and what hangs on it.
pub struct SerialPort {
    serial: Serial<Irq, vm_superio::serial::NoEvents, Output>,
}

impl SerialPort {
    /// A port that raises its interrupt through `irq` and shows its output to `observer`.
    pub fn new(irq: EventFd, observer: Arc<dyn Observer>) -> Self {
        Self { serial: Serial::new(Irq(irq), Output::new(observer)) }
    }

    /// The guest reads the register at `offset` (0 to 7).
    pub fn read(&mut self, offset: u8) -> u8 {
        self.serial.read(offset)
    }

    /// The guest writes the register at `offset` (0 to 7). What cannot be done (an interrupt that is lost) is the
    /// guest's loss.
    pub fn write(&mut self, offset: u8, value: u8) {
        let _ = self.serial.write(offset, value);
    }

    /// Whether a kernel panic was announced.
    pub fn panicked(&self) -> bool {
        self.serial.writer().panicked
    }

    /// Shows what is left of the last line and takes the output that was kept.
    pub fn finish(&mut self) -> Vec<u8> {
        let output = self.serial.writer_mut();
        output.show();
        std::mem::take(&mut output.kept).into()
    }
}

struct Irq(EventFd);

impl Trigger for Irq {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

struct Output {
    observer: Arc<dyn Observer>,
    line: Vec<u8>,
    kept: VecDeque<u8>,
    /// How many bytes of [`PANIC`] the latest output ends with.
    matched: usize,
    panicked: bool,
}

impl Output {
    fn new(observer: Arc<dyn Observer>) -> Self {
        Self { observer, line: Vec::with_capacity(LINE), kept: VecDeque::new(), matched: 0, panicked: false }
    }

    fn byte(&mut self, byte: u8) {
        self.look_for_panic(byte);
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(byte);
        self.line.push(byte);
        if byte == b'\n' || self.line.len() == LINE {
            self.show();
        }
    }

    /// The text's first letter does not occur in it again, so a mismatch can only start over at this byte.
    fn look_for_panic(&mut self, byte: u8) {
        if PANIC.get(self.matched) == Some(&byte) {
            self.matched += 1;
        } else {
            self.matched = usize::from(PANIC.first() == Some(&byte));
        }
        if self.matched == PANIC.len() {
            self.panicked = true;
            self.matched = 0;
        }
    }

    fn show(&mut self) {
        if !self.line.is_empty() {
            self.observer.serial(&self.line);
            self.line.clear();
        }
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        bytes.iter().for_each(|byte| self.byte(*byte));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Seen(Mutex<Vec<Vec<u8>>>);

    impl Observer for Seen {
        fn stamp(&self, _byte: u8) {}

        fn serial(&self, bytes: &[u8]) {
            self.0.lock().unwrap().push(bytes.to_vec());
        }

        fn trouble(&self, _trouble: crate::Trouble) {}
    }

    fn port() -> (SerialPort, Arc<Seen>) {
        let seen = Arc::new(Seen::default());
        (SerialPort::new(EventFd::new(0).unwrap(), seen.clone()), seen)
    }

    fn print(port: &mut SerialPort, text: &[u8]) {
        text.iter().for_each(|byte| port.write(0, *byte));
    }

    #[test]
    fn output_comes_in_lines_and_the_rest_at_the_end() {
        let (mut port, seen) = port();
        print(&mut port, b"one\ntwo\nrest");
        assert_eq!(*seen.0.lock().unwrap(), [b"one\n".to_vec(), b"two\n".to_vec()]);
        assert_eq!(port.finish(), b"one\ntwo\nrest");
        assert_eq!(seen.0.lock().unwrap().last().unwrap(), b"rest");
    }

    #[test]
    fn only_the_latest_output_is_kept() {
        let (mut port, _) = port();
        print(&mut port, &vec![b'a'; 1000]);
        print(&mut port, &vec![b'b'; KEPT]);
        assert_eq!(port.finish(), vec![b'b'; KEPT]);
    }

    #[test]
    fn a_panic_is_recognised_wherever_it_begins() {
        let (mut port, _) = port();
        print(&mut port, b"KKernel panic - Kernel panic - not syncin");
        assert!(!port.panicked());
        print(&mut port, b"Kernel panic - not syncing: VFS");
        assert!(port.panicked());
    }

    #[test]
    fn the_transmitter_is_always_empty() {
        let (mut port, _) = port();
        assert_eq!(port.read(5) & 0x60, 0x60);
    }
}
