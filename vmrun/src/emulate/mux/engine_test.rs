use proptest::prelude::*;

use super::*;

/// What one side may be asked to do.
#[derive(Debug, Clone)]
enum Step {
    Open,
    Send {
        side: usize,
        channel: usize,
        length: usize,
    },
    Consume {
        side: usize,
        channel: usize,
        length: usize,
    },
    End {
        side: usize,
        channel: usize,
    },
    /// So many bytes reach the other side.
    Carry {
        side: usize,
        length: usize,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (side, channel) = (0..2_usize, 0..4_usize);
    let step = prop_oneof![
        1 => Just(Step::Open),
        6 => (side.clone(), channel.clone(), 0..100_000_usize)
            .prop_map(|(side, channel, length)| Step::Send { side, channel, length }),
        6 => (side.clone(), channel.clone(), 0..100_000_usize)
            .prop_map(|(side, channel, length)| Step::Consume { side, channel, length }),
        1 => (side.clone(), channel).prop_map(|(side, channel)| Step::End { side, channel }),
        6 => (side, 0..100_000_usize).prop_map(|(side, length)| Step::Carry { side, length }),
    ];
    proptest::collection::vec(step, 1..200)
}

/// Both sides, and what was sent and has come in each direction of each channel.
struct Pair {
    sides: [Mux; 2],
    ids: Vec<ChannelId>,
    /// By channel, then by the side that sends.
    sent: Vec<[Vec<u8>; 2]>,
    come: Vec<[Vec<u8>; 2]>,
}

impl Pair {
    fn new() -> Pair {
        let sides = [Mux::opening(), Mux::accepting()];
        Pair { sides, ids: Vec::new(), sent: Vec::new(), come: Vec::new() }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Open if self.ids.len() < 4 => {
                self.ids.push(self.sides[0].open(b"request").unwrap());
                self.sent.push(Default::default());
                self.come.push(Default::default());
            }
            Step::Open => {}
            Step::Send { side, channel, length } => {
                let Some(&id) = self.ids.get(channel) else { return };
                let length = length.min(self.sides[side].room(id));
                let sent = &mut self.sent[channel][side];
                let bytes: Vec<u8> = (0..length).map(|index| (sent.len() + index) as u8).collect();
                assert_eq!(self.sides[side].send(id, &bytes), length, "room that was not there");
                sent.extend(bytes);
            }
            Step::Consume { side, channel, length } => {
                let Some(&id) = self.ids.get(channel) else { return };
                let inbox = self.sides[side].inbox(id);
                let length = length.min(inbox.len());
                self.come[channel][1 - side].extend_from_slice(&inbox[..length]);
                self.sides[side].consume(id, length);
            }
            Step::End { side, channel } => {
                let Some(&id) = self.ids.get(channel) else { return };
                self.sides[side].end(id);
            }
            Step::Carry { side, length } => {
                let length = length.min(self.sides[side].output().len());
                let bytes = self.sides[side].output()[..length].to_vec();
                self.sides[side].wrote(length);
                self.sides[1 - side].receive(&bytes).unwrap();
            }
        }
    }
}

proptest! {
    /// Whatever is done in whatever order: all bytes come, in order, and ends after them; no more than
    /// a window waits anywhere; and nothing is left of a channel that is over.
    #[test]
    fn every_byte_comes_once_and_in_order(steps in steps()) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.take(step);
            for (side, id) in [0, 1].into_iter().flat_map(|side| pair.ids.iter().map(move |id| (side, *id))) {
                let waiting = pair.sides[side].channels.get(&id).map_or(0, |channel| channel.inbox.len());
                prop_assert!(waiting <= WINDOW);
            }
        }
        // By now both sides know of all channels.
        pair.take(&Step::Carry { side: 0, length: usize::MAX });
        for side in [0, 1] {
            for channel in 0..pair.ids.len() {
                pair.take(&Step::End { side, channel });
            }
        }
        for _ in 0..16 {
            for side in [0, 1] {
                pair.take(&Step::Carry { side, length: usize::MAX });
                for channel in 0..pair.ids.len() {
                    pair.take(&Step::Consume { side, channel, length: usize::MAX });
                }
            }
        }
        prop_assert_eq!(&pair.come, &pair.sent);
        for side in &mut pair.sides {
            for id in &pair.ids {
                prop_assert!(side.has_ended(*id) && side.forget(*id));
            }
            prop_assert!(side.channels.is_empty() && side.output().is_empty());
        }
    }

    /// What comes from a broken other side is an error or nothing: no panic, no memory without bound.
    #[test]
    fn anything_may_come_through_the_port(
        pieces in proptest::collection::vec(hostile_piece(), 0..60)
    ) {
        let mut mux = Mux::accepting();
        for piece in pieces {
            if mux.receive(&piece).is_err() {
                break;
            }
            prop_assert!(mux.input.len() <= 2 * MAX_CONTENT);
            prop_assert!(mux.channels.values().all(|channel| channel.inbox.len() <= WINDOW));
        }
    }
}

/// A frame that nearly makes sense, or none.
fn hostile_piece() -> impl Strategy<Value = Vec<u8>> {
    let content = proptest::collection::vec(any::<u8>(), 0..40);
    let frame = (0..5_u32, 0..7_u8, content.clone(), any::<bool>()).prop_map(|(id, kind, content, cut)| {
        let mut bytes = id.to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend((content.len() as u32 + u32::from(cut)).to_le_bytes());
        bytes.extend(content);
        bytes
    });
    let large = (1..4_u32).prop_map(|id| {
        let mut bytes = Vec::new();
        frame::write(&mut bytes, id, Kind::Data, &[7; MAX_CONTENT]);
        bytes
    });
    prop_oneof![8 => frame, 4 => large, 1 => content]
}

#[test]
fn a_channel_that_nobody_reads_holds_up_no_other() {
    let mut pair = Pair::new();
    pair.take(&Step::Open);
    pair.take(&Step::Open);
    for _ in 0..1000 {
        for channel in [0, 1] {
            pair.take(&Step::Send { side: 0, channel, length: usize::MAX });
        }
        pair.take(&Step::Carry { side: 0, length: usize::MAX });
        pair.take(&Step::Consume { side: 1, channel: 1, length: usize::MAX });
        pair.take(&Step::Carry { side: 1, length: usize::MAX });
    }
    assert_eq!(pair.sent[0][0].len(), WINDOW);
    assert!(pair.come[1][0].len() > 100 * WINDOW);
}

#[test]
fn after_a_stop_the_other_side_sends_no_more() {
    let mut pair = Pair::new();
    pair.take(&Step::Open);
    let id = pair.ids[0];
    pair.take(&Step::Send { side: 0, channel: 0, length: 1000 });
    pair.take(&Step::Carry { side: 0, length: usize::MAX });
    pair.sides[1].stop(id);
    pair.take(&Step::Carry { side: 1, length: usize::MAX });
    assert_eq!((pair.sides[0].room(id), pair.sides[0].is_sending(id)), (0, false));
    assert!(pair.sides[1].is_drained(id) && !pair.sides[1].has_ended(id));
    // The other direction is as it was.
    pair.take(&Step::Send { side: 1, channel: 0, length: 10 });
    assert_eq!(pair.sent[0][1].len(), 10);
}

#[test]
fn rules_that_are_broken_are_errors() {
    let from = |frames: &[(u32, Kind, &[u8])]| {
        let mut bytes = Vec::new();
        for (id, kind, content) in frames {
            frame::write(&mut bytes, *id, *kind, content);
        }
        bytes
    };
    let full = [7; MAX_CONTENT];
    let open: (u32, Kind, &[u8]) = (1, Kind::Open, b"");
    let refused: [Vec<u8>; 6] = [
        from(&[open, open]),
        from(&[open, (1, Kind::End, b""), (1, Kind::Data, b"late")]),
        from(&[open, (1, Kind::Credit, &[1, 0, 0, 0])]),
        from(&[open, (1, Kind::Credit, &[1])]),
        [
            from(&[open]),
            from(&[(1, Kind::Data, &full[..]); WINDOW / MAX_CONTENT]),
            from(&[(1, Kind::Data, b"x")]),
        ]
        .concat(),
        vec![1, 0, 0, 0, 9, 0, 0, 0, 0],
    ];
    for bytes in refused {
        assert!(Mux::accepting().receive(&bytes).is_err(), "{:?}", &bytes[..9]);
    }
    assert!(Mux::opening().receive(&from(&[open])).is_err(), "only one side opens");
    assert!(Mux::accepting().receive(&from(&[(5, Kind::Data, b"of a channel that is over")])).is_ok());
}
