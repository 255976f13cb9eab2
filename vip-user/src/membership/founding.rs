//! The way to the first configuration, step by step: who is waited for, when to propose and consent, and what is in the
//! way. The rules are in `forming`.

use super::forming;
use super::hello::Standing;
use super::notice::Notice;
use super::{Action, Configuration, Membership, SETTLE_TIME};

/// The nodes that a first configuration could be formed with, and for how long they have been the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathering {
    eligible: Vec<u16>,
    /// When to propose; `None` once that time has come.
    pub(super) settles_at: Option<u64>,
}

impl Membership {
    /// Follows the set of nodes to form the first configuration with, and its settling.
    pub(super) fn gather(&mut self, now: u64) {
        if self.configuration().is_some() {
            self.gathering = Gathering::default();
            return;
        }
        let eligible = forming::eligible(&self.members);
        if eligible != self.gathering.eligible {
            self.gathering = Gathering { eligible, settles_at: Some(now.saturating_add(SETTLE_TIME)) };
        }
        self.gathering.settles_at.take_if(|at| *at <= now);
    }

    /// One step towards the first configuration, while no node that is heard has one.
    pub(super) fn form(&mut self, now: u64) {
        match self.members.me.hello.standing.clone() {
            Standing::Waiting => {
                if self.storing_consent.is_none() {
                    self.consent_if_possible();
                }
            }
            Standing::Consented(consent) => {
                if forming::is_unanimous(&self.members, &consent) {
                    self.adopt_if_newer(consent);
                }
            }
            Standing::Formed(_) => {}
        }
        self.report_progress(now);
    }

    fn consent_if_possible(&mut self) {
        if self.members.me.hello.leaving || self.storing_configuration.is_some() {
            return;
        }
        // A node that expects nobody else waits as well: it may have been started beside a cluster that it is to join.
        let settled = self.gathering.settles_at.is_none();
        let proposal = || forming::proposal(&self.members, &self.gathering.eligible).filter(|_| settled);
        if let Some(choice) = forming::invitation(&self.members).or_else(proposal) {
            self.storing_consent = Some(choice.clone());
            self.actions.push_back(Action::StoreConsent(choice));
        }
    }

    /// The consent is on the disk: it may be said, unless there is a configuration by now.
    pub(super) fn consented(&mut self, consent: Configuration) {
        let standing = &mut self.members.me.hello.standing;
        if *standing == Standing::Waiting {
            *standing = Standing::Consented(consent);
        }
    }

    /// Says what the first configuration is waiting for, or what is in its way.
    fn report_progress(&mut self, now: u64) {
        if self.storing_consent.is_some() || self.storing_configuration.is_some() {
            return;
        }
        if let Some(deadlock) = forming::deadlock(&self.members) {
            if self.pace.deadlock.allows(now) {
                let consents = deadlock.consents.into_iter().map(|(id, c)| (self.node(id), c)).collect();
                let reset = deadlock.reset.into_iter().map(|id| self.node(id)).collect();
                self.notice(Notice::Deadlock { consents, keep: deadlock.keep, reset });
            }
        } else if self.pace.waiting.allows(now) {
            self.notice(self.awaited());
        }
    }

    /// What the first configuration is waiting for.
    fn awaited(&self) -> Notice {
        let expect = usize::from(self.members.me.hello.expect);
        let open = self.members.me.agreed().cloned().or_else(|| forming::open_consent(&self.members));
        match (open, self.gathering.eligible.first()) {
            (Some(proposed), _) => {
                let missing = forming::missing(&self.members, &proposed);
                Notice::WaitingForConsent {
                    proposed,
                    missing: missing.iter().map(|id| self.node(*id)).collect(),
                }
            }
            (None, Some(lowest)) if self.gathering.eligible.len() >= expect => {
                Notice::WaitingForProposal(self.node(*lowest))
            }
            (None, _) => {
                let heard = self.gathering.eligible.iter().map(|id| self.members.name(*id)).collect();
                Notice::WaitingForNodes { expect, heard }
            }
        }
    }
}
