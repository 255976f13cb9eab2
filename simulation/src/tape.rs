//! What somebody on the segment has recorded, and may send again long afterwards.

use std::collections::BTreeMap;

use rand::rngs::SmallRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use vip_common::wire::Message;

use crate::process::Body;

/// Messages kept of each sender and kind. They are a fair sample of all there were, of whatever age.
const KEPT: usize = 12;

/// A recording of the segment.
#[derive(Debug)]
pub(crate) struct Tape {
    rng: SmallRng,
    /// By sender, then by kind, so that what is seldom said comes up as often as what is always said.
    shelves: BTreeMap<(u16, u8), Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    heard: usize,
    kept: Vec<(Message, Body)>,
}

impl Tape {
    /// An empty one.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: SmallRng::seed_from_u64(seed), shelves: BTreeMap::new() }
    }

    /// A message has been sent.
    pub(crate) fn record(&mut self, message: &Message, body: &Body) {
        let shelf = self.shelves.entry((message.sender.get(), message.kind)).or_default();
        shelf.heard += 1;
        if shelf.kept.len() < KEPT {
            return shelf.kept.push((*message, body.clone()));
        }
        let place = self.rng.random_range(0..shelf.heard);
        if let Some(old) = shelf.kept.get_mut(place) {
            *old = (*message, body.clone());
        }
    }

    /// Something that a node has said once.
    pub(crate) fn recall(&mut self, sender: u16) -> Option<(Message, Body)> {
        let shelves = self.shelves.range((sender, 0)..=(sender, u8::MAX)).map(|(_, shelf)| shelf);
        let shelf = shelves.choose(&mut self.rng)?;
        shelf.kept.iter().choose(&mut self.rng).cloned()
    }

    /// When to send it again, within so much time.
    pub(crate) fn moment(&mut self, within: u64) -> u64 {
        self.rng.random_range(0..within.max(1))
    }
}

#[cfg(test)]
mod tests {
    use vip_common::wire::Kind;

    use super::*;

    #[test]
    fn what_is_seldom_said_is_recalled_as_often_as_what_is_always_said() {
        let mut tape = Tape::new(1);
        let mut say = |kind, sender: u16, sequence: u64| {
            let mut message = Message::new(kind, 7);
            message.sender = sender.into();
            message.sequence = sequence.into();
            tape.record(&message, &None);
        };
        say(Kind::Release, 1, 1);
        (2..1_000).for_each(|sequence| say(Kind::Propose, 1, sequence));
        say(Kind::Transfer, 2, 1);
        let recalled: Vec<Message> =
            (0..100).filter_map(|_| tape.recall(1)).map(|(message, _)| message).collect();
        assert!(recalled.iter().all(|message| message.sender.get() == 1));
        let releases = recalled.iter().filter(|message| message.kind == Kind::Release as u8).count();
        assert!((20..80).contains(&releases), "{releases}");
        let old = recalled.iter().filter(|message| (2..500).contains(&message.sequence.get())).count();
        assert!(old > 0, "also of long ago");
    }
}
