//! What has happened to a group since the daemon started, counted for those who watch.

use std::time::Duration;

use vip_common::lease::held;

use crate::dataplane::Word;
use crate::election::{Action, Demotion};
use crate::web::GroupFigures;

/// See the module. Times are CLOCK_BOOTTIME in ns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    counts: GroupFigures,
    /// Somebody has held the group: before that, nobody misses it.
    was_held: bool,
    /// Since when nobody holds it, now that this has been seen.
    vacant_since: Option<u64>,
}

impl Figures {
    /// The group's election has said something.
    pub(super) const fn note(&mut self, said: Action) {
        let counts = &mut self.counts;
        match said {
            Action::Standing(_) => counts.candidacies += 1,
            Action::Promoted(_) => counts.promotions += 1,
            Action::Demoted(Demotion::Lapsed) => counts.lapses += 1,
            Action::Demoted(Demotion::Released) => counts.releases += 1,
            Action::Demoted(Demotion::Unfit) => counts.unfit += 1,
            Action::Demoted(Demotion::HandedOver { .. }) => counts.handovers += 1,
            _ => {}
        }
    }

    /// Somebody holds the group at `now`, or nobody does.
    pub(super) fn observe(&mut self, word: Word, now: u64) {
        if held(word.holder_until, now) {
            self.was_held = true;
            if let Some(since) = self.vacant_since.take() {
                self.counts.outage += Duration::from_nanos(now.saturating_sub(since));
            }
        } else if self.was_held && self.vacant_since.is_none() {
            self.counts.outages += 1;
            self.vacant_since = Some(word.holder_until.min(now));
        }
    }

    /// The counts at `now`, an outage that lasts included.
    pub(super) fn at(&self, now: u64) -> GroupFigures {
        let lasting = self.vacant_since.map_or(0, |since| now.saturating_sub(since));
        GroupFigures { outage: self.counts.outage + Duration::from_nanos(lasting), ..self.counts }
    }
}

#[cfg(test)]
mod tests {
    use vip_common::lease::Ballot;

    use super::*;

    fn word(holder_until: u64) -> Word {
        Word { holder_until, holder_ballot: Ballot::new(1, 2), ..Word::default() }
    }

    #[test]
    fn an_outage_lasts_from_the_end_of_a_lease_until_the_next_one_is_seen() {
        let mut figures = Figures::default();
        figures.observe(word(0), 50);
        assert_eq!(figures.at(60), GroupFigures::default(), "nobody has held it yet");
        for (now, until) in [(100, 150), (170, 150), (180, 150)] {
            figures.observe(word(until), now);
        }
        let outage = |figures: &Figures, now| (figures.at(now).outages, figures.at(now).outage.as_nanos());
        assert_eq!(outage(&figures, 190), (1, 40), "it lasts");
        figures.observe(word(250), 200);
        assert_eq!(outage(&figures, 230), (1, 50));
        figures.observe(word(250), 260);
        assert_eq!(outage(&figures, 261), (2, 61), "50 and 11");
    }

    #[test]
    fn what_an_election_says_is_counted_by_what_it_is() {
        let mut figures = Figures::default();
        let ballot = Ballot::new(1, 2);
        let demotions =
            [Demotion::Lapsed, Demotion::Released, Demotion::Unfit, Demotion::HandedOver { to: 3 }];
        let said =
            [Action::Standing(ballot), Action::Standing(ballot), Action::Promoted(ballot), Action::Disarm];
        said.into_iter().chain(demotions.map(Action::Demoted)).for_each(|said| figures.note(said));
        let expected = GroupFigures {
            candidacies: 2,
            promotions: 1,
            lapses: 1,
            releases: 1,
            unfit: 1,
            handovers: 1,
            ..GroupFigures::default()
        };
        assert_eq!(figures.at(0), expected);
    }
}
