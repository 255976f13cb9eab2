//! What a state leads to if nothing goes wrong any more: messages arrive, answers first and requests in the order in which
//! they were sent, timers are met, nobody is stopped; and one node may be dead.
//!
//! That is one way on, computed and not searched for. It is what *a majority lives and is connected* means, and so the
//! promise that somebody is elected can be asked of each state by itself.

use std::collections::VecDeque;
use std::sync::Arc;

use super::State;
use super::rules::Rules;

/// In so many ticks a node must have the lease: what runs or is in quarantine ends (3), and again what was granted late (3);
/// candidates that are in each other's way back off.
const PATIENCE: usize = 12;
/// More messages and timers than one instant has.
const INSTANT: usize = 200;

impl<const N: usize> State<N> {
    /// Whether a node gets the lease and renews it, whichever one is dead, or none. One candidate has to live.
    pub(super) fn elects(&self, rules: &Rules) -> bool {
        let mut dead = (0..).take(N + 1).filter(|dead| rules.candidates > 1 || *dead != 1);
        dead.all(|dead| self.elects_without(dead, rules))
    }

    /// `dead` = a node's id; 0 = nobody.
    fn elects_without(&self, dead: u16, rules: &Rules) -> bool {
        let mut calm = self.clone();
        let mut letters = VecDeque::from(std::mem::take(&mut calm.letters));
        letters.extend(std::mem::take(&mut calm.delayed));
        letters.make_contiguous().sort_by_key(|letter| (letter.incarnation, letter.sequence, letter.from));
        calm.living(dead, |node| node.thaw());
        for _ in 0..PATIENCE {
            let Some(renewed) = calm.pass_instant(dead, &mut letters, rules) else { return false };
            if renewed {
                return true;
            }
            calm.nodes.iter_mut().for_each(|node| Arc::make_mut(node).tick());
        }
        false
    }

    /// Lets everything happen that is to happen in this instant. Says whether a living holder's word has moved forward;
    /// `None` if the instant does not end.
    fn pass_instant(
        &mut self,
        dead: u16,
        letters: &mut VecDeque<super::Letter>,
        rules: &Rules,
    ) -> Option<bool> {
        let before: Vec<(u16, u64)> = self.holders().collect();
        for _ in 0..INSTANT {
            let mut sent = Vec::new();
            let next = self.nodes.iter().find(|node| node.id != dead && (node.has_input() || node.is_due()));
            if let Some(id) = next.map(|node| node.id) {
                let node = self.node(id);
                if node.has_input() {
                    node.take_input(rules.flaw, &mut sent);
                } else {
                    node.wake(rules.flaw, &mut sent);
                }
            } else if let Some(letter) = letters.pop_front() {
                if letter.to != dead && letter.from != dead {
                    self.node(letter.to).hear(&letter, rules.flaw, &mut sent);
                }
            } else {
                let moved = |(id, until): (u16, u64)| {
                    id != dead && before.iter().any(|(was, earlier)| *was == id && until > *earlier)
                };
                return Some(self.holders().any(moved));
            }
            letters.extend(sent);
        }
        None
    }

    fn living(&mut self, dead: u16, mut what: impl FnMut(&mut super::Node<N>)) {
        let living = self.nodes.iter_mut().filter(|node| node.id != dead);
        living.for_each(|node| what(Arc::make_mut(node)));
    }
}
