//! What a thread that serves devices does: it waits for the guest's notifications and for the devices' own descriptors.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

use crate::virtio::{Frontend, VirtioDevice};

/// Events fetched from the kernel at a time.
const BATCH: usize = 32;

/// How long the readers of what a guest has sent get to read it after the guest's end.
const DRAIN: Duration = Duration::from_secs(10);
/// After this time at the latest, devices are asked again whether they have finished.
const DRAIN_TURN: Duration = Duration::from_millis(20);

pub struct EventLoop {
    epoll: Epoll,
    devices: Vec<Served>,
    quit: EventFd,
}

struct Served {
    device: Arc<Mutex<dyn VirtioDevice>>,
    queue_events: Vec<Arc<EventFd>>,
}

impl Served {
    fn lock(&self) -> MutexGuard<'_, dyn VirtioDevice + 'static> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an event is about, and how that is packed into the number that epoll keeps for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Quit,
    Queue { device: usize, queue: usize },
    Device { device: usize },
}

const QUIT: u64 = u64::MAX;
const OWN: u64 = 0xffff;

impl Source {
    fn pack(self) -> u64 {
        match self {
            Self::Quit => QUIT,
            Self::Queue { device, queue } => (device as u64) << 16 | queue as u64,
            Self::Device { device } => (device as u64) << 16 | OWN,
        }
    }

    fn unpack(data: u64) -> Self {
        let device = (data >> 16) as usize;
        match data {
            QUIT => Self::Quit,
            _ if data & OWN == OWN => Self::Device { device },
            _ => Self::Queue { device, queue: (data & OWN) as usize },
        }
    }
}

impl EventLoop {
    /// A loop over the devices behind `frontends` that ends when `quit` becomes readable. It is this loop's alone.
    pub fn new(frontends: &[&Frontend], quit: EventFd) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let watch = |fd, source: Source| {
            epoll.ctl(ControlOperation::Add, fd, EpollEvent::new(EventSet::IN, source.pack()))
        };
        watch(quit.as_raw_fd(), Source::Quit)?;
        let mut devices = Vec::with_capacity(frontends.len());
        for (device, frontend) in frontends.iter().enumerate() {
            for (queue, event) in frontend.queue_events().iter().enumerate() {
                watch(event.as_raw_fd(), Source::Queue { device, queue })?;
            }
            if let Some(fd) = frontend.device_event_fd() {
                watch(fd, Source::Device { device })?;
            }
            devices.push(Served {
                device: frontend.device().clone(),
                queue_events: frontend.queue_events().to_vec(),
            });
        }
        Ok(Self { epoll, devices, quit })
    }

    /// How many it serves.
    #[cfg(test)]
    pub fn devices(&self) -> usize {
        self.devices.len()
    }

    /// Serves until it is told to quit.
    pub fn run(&self) -> io::Result<()> {
        while !self.turn(None)? {}
        self.quit.read().map(drop)
    }

    /// Brings out of the monitor what a guest that has ended left in its queues, for as long as [`DRAIN`].
    pub fn drain(&self) -> io::Result<()> {
        let end = Instant::now() + DRAIN;
        // Every device gets to drain, whatever those before it say.
        let drain = || self.devices.iter().filter(|served| served.lock().drain()).count() > 0;
        while drain() && Instant::now() < end {
            self.turn(Some(DRAIN_TURN))?;
        }
        Ok(())
    }

    /// Waits for events, at most for `limit`, and serves them. True when one of them says to quit.
    fn turn(&self, limit: Option<Duration>) -> io::Result<bool> {
        let mut events = [EpollEvent::default(); BATCH];
        let timeout = limit.map_or(-1, |limit| limit.as_millis() as i32);
        let count = match self.epoll.wait(timeout, &mut events) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        let sources = events.iter().take(count).map(|event| Source::unpack(event.data()));
        let mut quit = false;
        for source in sources {
            quit |= source == Source::Quit;
            self.serve(source);
        }
        Ok(quit)
    }

    fn serve(&self, source: Source) {
        let (Source::Queue { device, .. } | Source::Device { device }) = source else { return };
        let Some(served) = self.devices.get(device) else { return };
        match source {
            Source::Queue { queue, .. } => {
                if let Some(event) = served.queue_events.get(queue) {
                    // Empties the counter; one that another wakeup already emptied says so, and costs one look.
                    let _ = event.read();
                    served.lock().queue_notified(queue);
                }
            }
            _ => served.lock().events_ready(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_survive_their_packing() {
        for source in [Source::Quit, Source::Queue { device: 18, queue: 2 }, Source::Device { device: 0 }] {
            assert_eq!(Source::unpack(source.pack()), source);
        }
    }
}
