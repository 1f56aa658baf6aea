//! The state of all channels: frames in, frames out, and what lies between.

use std::collections::{BTreeMap, VecDeque};

use anyhow::{Result, bail};

use super::frame::{self, Frame, Kind, MAX_CONTENT};

/// How many bytes of a channel may be under way in one direction.
const WINDOW: usize = 128 << 10;

/// Credit is given back in portions of this size, in bytes.
const PORTION: usize = WINDOW / 4;

/// How many channels there may be at once.
const MAX_CHANNELS: usize = 2048;

/// How many bytes wait for the port before channels are asked to wait, too.
const FULL: usize = 256 << 10;

/// Which channel; numbers are not used again.
pub type ChannelId = u32;

/// One end of the port. The other end is not trusted: what breaks the rules is an error, after which
/// the port is of no more use.
#[derive(Debug)]
pub struct Mux {
    /// Whether the other side may open channels; if not, this one may.
    accepts: bool,
    channels: BTreeMap<ChannelId, Channel>,
    next: ChannelId,
    /// The beginning of a frame whose rest has not come.
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of `output` has been written.
    written: usize,
}

#[derive(Debug)]
struct Channel {
    /// Bytes that the other side takes, beyond those it has been sent.
    credit: usize,
    /// No end was sent, and the other side has not said that it takes no more.
    sending: bool,
    inbox: VecDeque<u8>,
    /// Bytes that the other side may send, beyond those in the inbox.
    granted: usize,
    /// Bytes that were taken out of the inbox and not granted again.
    owed: usize,
    /// No end has come, and no stop was sent.
    receiving: bool,
    /// An end has come.
    ended: bool,
}

/// What a frame has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// The other side has opened a channel with this request.
    Opened(ChannelId, Vec<u8>),
    /// A channel has data, credit, or an end.
    Moved(ChannelId),
}

impl Mux {
    /// The side that opens channels.
    pub fn opening() -> Mux {
        Mux::new(false)
    }

    /// The side that the channels are opened to.
    pub fn accepting() -> Mux {
        Mux::new(true)
    }

    fn new(accepts: bool) -> Mux {
        let (channels, input, output) = (BTreeMap::new(), Vec::new(), Vec::new());
        Mux { accepts, channels, next: 1, input, output, written: 0 }
    }

    /// Opens a channel; `None` when there are too many.
    pub fn open(&mut self, request: &[u8]) -> Option<ChannelId> {
        if self.accepts || self.channels.len() >= MAX_CHANNELS || request.len() > MAX_CONTENT {
            return None;
        }
        let id = self.next;
        self.next = self.next.checked_add(1)?;
        self.channels.insert(id, Channel::new());
        frame::write(&mut self.output, id, Kind::Open, request);
        Some(id)
    }

    /// Takes what has come through the port.
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Vec<Change>> {
        let mut changes = Vec::new();
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(bytes);
        let mut rest = input.as_slice();
        while let Some((Frame { channel, kind, content }, after)) = frame::split(rest)? {
            changes.extend(self.obey(channel, kind, content)?);
            rest = after;
        }
        let taken = input.len() - rest.len();
        input.drain(..taken);
        self.input = input;
        Ok(changes)
    }

    fn obey(&mut self, id: ChannelId, kind: Kind, content: &[u8]) -> Result<Option<Change>> {
        if kind == Kind::Open {
            // Numbers grow, so that none is ever meant for a channel that is over.
            if !self.accepts || id < self.next || self.channels.len() >= MAX_CHANNELS {
                bail!("a channel that may not be opened");
            }
            self.next = id.saturating_add(1);
            self.channels.insert(id, Channel::new());
            return Ok(Some(Change::Opened(id, content.to_vec())));
        }
        // What was sent before the other side knew that the channel is over.
        let Some(channel) = self.channels.get_mut(&id) else { return Ok(None) };
        match kind {
            Kind::Open => {}
            Kind::Data => channel.take(content)?,
            Kind::Credit => {
                let Ok(more) = content.try_into() else { bail!("credit of {} bytes", content.len()) };
                channel.credit = channel.credit.saturating_add(u32::from_le_bytes(more) as usize);
                if channel.credit > WINDOW {
                    bail!("more credit than a window has");
                }
            }
            Kind::End => (channel.receiving, channel.ended) = (false, true),
            Kind::Stop => channel.sending = false,
        }
        Ok(Some(Change::Moved(id)))
    }

    /// How many bytes [`Mux::send`] takes now.
    pub fn room(&self, id: ChannelId) -> usize {
        let waiting = self.output.len() - self.written;
        match self.channels.get(&id) {
            Some(channel) if channel.sending && waiting < FULL => channel.credit.min(MAX_CONTENT),
            _ => 0,
        }
    }

    /// Whether there is credit, and only the port is in the way.
    pub fn waits_for_port(&self, id: ChannelId) -> bool {
        self.room(id) == 0
            && self.channels.get(&id).is_some_and(|channel| channel.sending && channel.credit > 0)
    }

    /// Sends as much of `bytes` as there is credit for, and says how much.
    pub fn send(&mut self, id: ChannelId, bytes: &[u8]) -> usize {
        let Some(channel) = self.channels.get_mut(&id).filter(|channel| channel.sending) else { return 0 };
        let length = bytes.len().min(channel.credit).min(MAX_CONTENT);
        channel.credit -= length;
        frame::write(&mut self.output, id, Kind::Data, &bytes[..length]);
        length
    }

    /// Nothing more will be sent.
    pub fn end(&mut self, id: ChannelId) {
        if let Some(channel) = self.channels.get_mut(&id)
            && std::mem::take(&mut channel.sending)
        {
            frame::write(&mut self.output, id, Kind::End, &[]);
        }
    }

    /// Nothing more will be taken; what has come is dropped.
    pub fn stop(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        channel.inbox = VecDeque::new();
        if std::mem::take(&mut channel.receiving) {
            frame::write(&mut self.output, id, Kind::Stop, &[]);
        }
    }

    /// Whether the channel takes what is sent.
    pub fn is_sending(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_some_and(|channel| channel.sending)
    }

    /// What has come and was not taken: the first of it.
    pub fn inbox(&self, id: ChannelId) -> &[u8] {
        self.channels.get(&id).map_or(&[], |channel| channel.inbox.as_slices().0)
    }

    /// Takes `length` bytes out of the inbox.
    pub fn consume(&mut self, id: ChannelId, length: usize) {
        let Some(channel) = self.channels.get_mut(&id) else { return };
        let length = length.min(channel.inbox.len());
        channel.inbox.drain(..length);
        channel.owed += length;
        if channel.receiving && channel.owed >= PORTION {
            let owed = std::mem::take(&mut channel.owed);
            channel.granted += owed;
            frame::write(&mut self.output, id, Kind::Credit, &(owed as u32).to_le_bytes());
        }
    }

    /// Whether all that will ever come has been taken.
    pub fn is_drained(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_none_or(|channel| channel.inbox.is_empty() && !channel.receiving)
    }

    /// Whether an end has come and all before it has been taken.
    pub fn has_ended(&self, id: ChannelId) -> bool {
        self.channels.get(&id).is_some_and(|channel| channel.ended && channel.inbox.is_empty())
    }

    /// Forgets a channel whose both directions are over; whether it was one.
    pub fn forget(&mut self, id: ChannelId) -> bool {
        let over = !self.is_sending(id) && self.is_drained(id);
        if over {
            self.channels.remove(&id);
        }
        over
    }

    /// What is to be written to the port.
    pub fn output(&self) -> &[u8] {
        &self.output[self.written..]
    }

    /// The first `length` bytes of the output have been written.
    pub fn wrote(&mut self, length: usize) {
        self.written += length;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written >= FULL {
            self.output.drain(..self.written);
            self.written = 0;
        }
    }
}

impl Channel {
    fn new() -> Channel {
        Channel {
            credit: WINDOW,
            sending: true,
            inbox: VecDeque::new(),
            granted: WINDOW,
            owed: 0,
            receiving: true,
            ended: false,
        }
    }

    fn take(&mut self, content: &[u8]) -> Result<()> {
        if self.ended {
            bail!("data after its end");
        }
        let Some(granted) = self.granted.checked_sub(content.len()) else { bail!("data without credit") };
        self.granted = granted;
        // After a stop it is nobody's.
        if self.receiving {
            self.inbox.extend(content);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "engine_test.rs"]
mod tests;
