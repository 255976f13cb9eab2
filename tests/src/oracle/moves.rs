//! Which requests of two answers show two holders at once, and which one only was on its way while the VIP moved.
//!
//! A broadcast reaches the nodes at different times if one of them has it wait in a queue. If the lease is handed over
//! meanwhile, both answer it rightly, one after the other. So two answers are no double where all that is known fits
//! one move: the request was on its way for so long, the former holder answers nothing that was asked later, and the
//! next holder has answered nothing before. Two holders at once contradict that with the next request.

use std::time::Duration;

use super::{Slot, period};
use crate::clock::Stamp;

/// What was answered sooner has been in no queue for as long as a handover takes.
const QUEUED: Duration = Duration::from_micros(250);
/// How many periods before and after a request its holders are looked at: less than any VIP takes to move and to come back.
const NEIGHBOURHOOD: u32 = 5;

/// Whether the VIP moved while the request at this place, which has two answers, was under way.
pub(super) fn moved_meanwhile(slots: &[Slot], place: usize) -> bool {
    let slot = &slots[place];
    let [Some((one, early)), Some((other, late))] = slot.answers.each_ref().map(super::AnswerCell::get)
    else {
        return false;
    };
    let request = UnderWay { sent: slot.sent(), answered: early.max(late) };
    let fits = |former, next| neighbours(slots, place).all(|slot| request.fits(slot, former, next));
    request.answered.since(request.sent) >= QUEUED && (fits(one, other) || fits(other, one))
}

/// The time in which a request and its answers were on their way.
struct UnderWay {
    sent: Stamp,
    answered: Stamp,
}

impl UnderWay {
    /// Whether another request fits a move from `former` to `next` in this time.
    fn fits(&self, other: &Slot, former: u64, next: u64) -> bool {
        let formers = other.answered_by(former).is_some() && other.sent() > self.answered;
        let nexts = other.answered_by(next).is_some_and(|at| at < self.sent);
        !formers && !nexts
    }
}

/// The requests that were sent shortly before and after the one at this place, and this one.
fn neighbours(slots: &[Slot], place: usize) -> impl Iterator<Item = &Slot> {
    let reach = period() * NEIGHBOURHOOD;
    let sent = slots[place].sent();
    let since = slots[place].answers.iter().filter_map(|cell| Some(cell.get()?.1)).max().unwrap_or(sent);
    let before = slots[..place].iter().rev().take_while(move |slot| sent.since(slot.sent()) <= reach);
    let after = slots[place..].iter().take_while(move |slot| slot.sent().since(since) <= reach);
    before.chain(after)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// One request a period, in microseconds from the first one: who answers it, and how long after it.
    fn slots(answers: &[&[(u64, u64)]]) -> Vec<Slot> {
        let start = 1_000_000_000;
        let period = u64::try_from(period().as_nanos()).unwrap();
        let times = (0..).map(|number| start + number * period);
        let slot = |(sent, answers): (u64, &&[(u64, u64)])| {
            let slot = Slot::default();
            slot.sent.store(sent, Ordering::Relaxed);
            for (cell, (who, after)) in slot.answers.iter().zip(*answers) {
                cell.at.store(sent + after * 1000, Ordering::Relaxed);
                cell.who.store(*who, Ordering::Relaxed);
            }
            slot
        };
        times.zip(answers).map(slot).collect()
    }

    #[test]
    fn a_request_that_was_queued_while_the_vip_moved_is_no_double() {
        let queued = slots(&[&[(1, 50)], &[(1, 60)], &[(1, 90), (2, 700)], &[(2, 50)], &[(2, 50)]]);
        assert!(moved_meanwhile(&queued, 2));
        let late_answer = slots(&[&[(1, 50)], &[(2, 80), (1, 700)], &[(2, 50)]]);
        assert!(moved_meanwhile(&late_answer, 1));
        let a_burst = slots(&[&[(1, 50)], &[(1, 2500), (2, 2600)], &[(2, 1600), (1, 1500)], &[], &[(2, 50)]]);
        assert!(moved_meanwhile(&a_burst, 1) && moved_meanwhile(&a_burst, 2));
    }

    #[test]
    fn two_holders_at_once_are_a_double() {
        let at_once = slots(&[&[(1, 50)], &[(1, 60), (2, 80)], &[(2, 50)]]);
        assert!(!moved_meanwhile(&at_once, 1), "no queue");
        let former_goes_on = slots(&[&[(1, 50)], &[(1, 60), (2, 600)], &[(2, 50)], &[(1, 50)]]);
        assert!(!moved_meanwhile(&former_goes_on, 1));
        let next_has_begun = slots(&[&[(2, 50)], &[(1, 60)], &[(1, 60), (2, 600)], &[(2, 50)]]);
        assert!(!moved_meanwhile(&next_has_begun, 2));
        let for_long = slots(&[&[(1, 300), (2, 400)][..]; 6]);
        assert!((0..5).all(|place| !moved_meanwhile(&for_long, place)));
    }
}
