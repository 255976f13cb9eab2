//! What the probes show: who answered, what was lost, and for how long at a time.

use std::{collections::BTreeMap, time::Duration};

use super::{Log, Slot};
use crate::clock::Stamp;

/// The result of a prober.
#[derive(Clone, Debug)]
pub struct Report {
    /// Probes sent.
    pub sent: u64,
    /// Probes without an answer.
    pub lost: u64,
    /// Probes that two nodes answered.
    pub doubles: u64,
    /// First answers by node.
    pub answered_by_node: BTreeMap<u8, u64>,
    /// Runs of lost probes, in order.
    pub outages: Vec<Outage>,
    /// By how much the latest probe missed its deadline: large where the host stalled, whatever the nodes did.
    pub worst_lateness: Duration,
    /// The longest time from a probe to its answer.
    pub slowest_answer: Duration,
}

/// A run of lost probes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// When its first probe was sent.
    pub start: Stamp,
    /// From there until the next answered probe was sent, or until the last probe if none was answered any more.
    pub duration: Duration,
    /// How many probes it took.
    pub lost: u64,
    /// Who answered before it.
    pub before: Option<u8>,
    /// Who answered after it; `None`: nobody any more.
    pub after: Option<u8>,
    /// The longest time between two probes in it: much above the period, the host stalled.
    pub widest_gap: Duration,
}

impl Report {
    /// The longest outage that was not over at `time`: the one that a fault at that time has caused.
    pub fn outage_after(&self, time: Stamp) -> Option<&Outage> {
        let after = self.outages.iter().filter(|outage| outage.start + outage.duration > time);
        after.max_by_key(|outage| outage.duration)
    }

    /// Counts the probes in `log`. Unless `complete`, those after the last answered one may still be answered.
    pub(super) fn new(log: &Log, complete: bool) -> Self {
        let slots = &log.slots[..log.sent()];
        let answered = slots.iter().rposition(|slot| slot.node().is_some()).map_or(0, |last| last + 1);
        let slots = if complete { slots } else { &slots[..answered] };

        let mut report = Self {
            sent: slots.len() as u64,
            lost: 0,
            doubles: 0,
            answered_by_node: BTreeMap::new(),
            outages: outages(slots),
            worst_lateness: Duration::ZERO,
            slowest_answer: Duration::ZERO,
        };
        for (index, slot) in slots.iter().enumerate() {
            report.count(slot, log.due(index));
        }
        report
    }

    fn count(&mut self, slot: &Slot, due: Stamp) {
        let sent = slot.sent().unwrap_or(due);
        self.worst_lateness = self.worst_lateness.max(sent.since(due));
        match slot.node() {
            Some(node) => *self.answered_by_node.entry(node).or_default() += 1,
            None => self.lost += 1,
        }
        if let Some(answered) = slot.answered() {
            self.slowest_answer = self.slowest_answer.max(answered.since(sent));
        }
        self.doubles += u64::from(slot.double.load(std::sync::atomic::Ordering::Relaxed));
    }
}

fn outages(slots: &[Slot]) -> Vec<Outage> {
    let mut outages = Vec::new();
    let mut before = None;
    let mut rest = slots;
    while let Some(slot) = rest.first() {
        let run = rest.iter().take_while(|slot| slot.node().is_none()).count();
        if run == 0 {
            before = slot.node();
            rest = &rest[1..];
        } else {
            let (lost, others) = rest.split_at(run);
            outages.extend(outage(before, lost, others.first()));
            rest = others;
        }
    }
    outages
}

/// `None` if no probe was really sent, which does not happen to slots that were begun.
fn outage(before: Option<u8>, lost: &[Slot], next: Option<&Slot>) -> Option<Outage> {
    let start = lost.first()?.sent()?;
    let times: Vec<Stamp> = lost.iter().chain(next).filter_map(Slot::sent).collect();
    let gaps = times.windows(2).map(|pair| pair[1].since(pair[0]));
    Some(Outage {
        start,
        duration: times.last()?.since(start),
        lost: lost.len() as u64,
        before,
        after: next.and_then(Slot::node),
        widest_gap: gaps.max().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: Duration = Duration::from_millis(1);

    /// One digit per probe, sent in time: the node that answered, or 0 for none; x for two nodes.
    fn log(answers: &str) -> Log {
        let log = Log::new(PERIOD, answers.len());
        for (index, answer) in answers.chars().enumerate() {
            let (slot, due) = (&log.slots[index], log.due(index));
            slot.sent.store(due.as_nanos(), std::sync::atomic::Ordering::Relaxed);
            match answer.to_digit(10) {
                Some(0) => {}
                Some(node) => slot.note(u8::try_from(node).unwrap(), due + PERIOD / 2),
                None => [1, 2].into_iter().for_each(|node| slot.note(node, due)),
            }
        }
        log.begun.store(answers.len(), std::sync::atomic::Ordering::Release);
        log
    }

    #[test]
    fn an_outage_lasts_from_its_first_lost_probe_to_the_next_answered_one() {
        let log = log("1110002201");
        let report = Report::new(&log, true);
        assert_eq!((report.sent, report.lost, report.doubles), (10, 4, 0));
        assert_eq!(report.answered_by_node, BTreeMap::from([(1, 4), (2, 2)]));
        let long = Outage {
            start: log.due(3),
            duration: 3 * PERIOD,
            lost: 3,
            before: Some(1),
            after: Some(2),
            widest_gap: PERIOD,
        };
        assert_eq!(report.outages[0], long);
        assert_eq!(report.outages.len(), 2);
        assert_eq!(report.outage_after(log.due(0)), Some(&long));
        assert_eq!(report.outage_after(log.due(7)).unwrap().lost, 1);
        assert_eq!(report.outage_after(log.due(9)), None);
    }

    #[test]
    fn the_last_probes_are_lost_only_when_no_answer_can_come_any_more() {
        let log = log("1100");
        assert_eq!(Report::new(&log, false).lost, 0);
        let report = Report::new(&log, true);
        assert_eq!((report.lost, report.outages[0].after), (2, None));
    }

    #[test]
    fn a_probe_that_two_nodes_answer_is_counted_as_double() {
        let report = Report::new(&log("1x2"), true);
        assert_eq!((report.doubles, report.lost), (1, 0));
        assert_eq!(report.slowest_answer, PERIOD / 2);
    }
}
