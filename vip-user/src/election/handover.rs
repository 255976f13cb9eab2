//! The handover of a lease that runs, so that nobody goes without: the holder offers it, the target asks for it, and the
//! holder gives it what is left.
//!
//! ```text
//!   holder                                  target
//!     │ ── Offer ─────────────────────────────> │  stamps its clock
//!     │ <──────────────────────────────── Ask ── │
//!     │ disarms, tells the acceptors (Transfer)  │
//!     │ ── Grant: so much is left ─────────────> │  serves from its stamp for that long, and renews at once
//! ```
//!
//! What keeps this safe, where messages are lost or late:
//! - The target counts from its own stamp, from before it asked, and takes the drift bound off. So its word ends before
//!   the one of the old holder would have, and until then a quorum keeps everybody but these two out.
//! - Who gave a lease away proposes nothing until the time it gave is over: acceptors that missed the Transfer would
//!   still let it in. Its own acceptor must not be one of those, as that alone remembers this when the daemon is
//!   restarted.
//! - A request is void as soon as the target proposes, wins or gives away anything itself, see [`Following`]: a late
//!   grant would arm a lease that it no longer has.

use vip_common::lease::{Ballot, Renewal, Request, held, serving_time};
use vip_common::maps::Role;

use super::action::{Action, Demotion, HandoverFailure};
use super::following::{Following, Given, Pending, may_take_from};
use super::{Election, Stage, View};

/// How long a holder offers, in leases.
const OFFER_LEASES: u64 = 2;

/// A lease on offer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Offer {
    /// Who may ask for it.
    pub(super) to: u16,
    /// When to stop offering, in CLOCK_BOOTTIME ns.
    pub(super) ends_at: u64,
}

impl Election {
    /// Hands the lease that this node holds over to another voter. The outcome is [`Demotion::HandedOver`], another
    /// [`Demotion`], or [`Action::HandoverFailed`] after two lease lengths at the latest; meanwhile this node goes on
    /// holding. A further call takes the place of the first.
    pub fn hand_over(&mut self, to: u16, view: &View) {
        let is_target = to != self.settings.node && self.voters.contains(&to);
        let ends_at = view.now.saturating_add(OFFER_LEASES.saturating_mul(self.settings.lease));
        let replaced = match &mut self.stage {
            Stage::Holder(tenure) if held(view.lease_until, view.now) && is_target => {
                tenure.offer.replace(Offer { to, ends_at }).filter(|former| former.to != to)
            }
            Stage::Holder(_) if held(view.lease_until, view.now) => {
                return self.not_handed_over(to, HandoverFailure::NoVoter);
            }
            _ => return self.not_handed_over(to, HandoverFailure::NotHolder),
        };
        if let Some(former) = replaced {
            self.not_handed_over(former.to, HandoverFailure::Replaced);
        }
        self.offer(view);
    }

    /// Offers what is on offer, or gives that up when its time is over.
    pub(super) fn offer(&mut self, view: &View) {
        let Stage::Holder(tenure) = &mut self.stage else { return };
        let Some(Offer { to, ends_at }) = tenure.offer else { return };
        if ends_at <= view.now {
            tenure.offer = None;
            return self.not_handed_over(to, HandoverFailure::NobodyAsked);
        }
        let ballot = Ballot::new(tenure.ballot.round(), to);
        self.actions.push_back(Action::Offer(ballot));
    }

    fn not_handed_over(&mut self, to: u16, reason: HandoverFailure) {
        self.actions.push_back(Action::HandoverFailed { to, reason });
    }

    /// The node `from` offers its lease, held under the round of `ballot`, to the node of `ballot`. This node asks for
    /// it if that is itself and it may hold.
    pub fn handle_offer(&mut self, from: u16, ballot: Ballot, view: &View) {
        let Stage::Follower(Following { pending, .. }) = self.stage else { return };
        let is_meant = ballot.node() == self.settings.node && from != self.settings.node;
        if !is_meant || !self.may_stand() || !self.voters.contains(&from) {
            return;
        }
        let asked = pending.filter(|pending| {
            pending.from == from && pending.ballot.round() > ballot.round() && pending.is_possible(view)
        });
        if asked.is_none() && !may_take_from(from, view) {
            return;
        }
        let (ballot, first_asked_at) = asked.map_or_else(
            || {
                self.seen = self.seen.max(ballot);
                (self.next_ballot(view), view.now)
            },
            |pending| (pending.ballot, pending.first_asked_at),
        );
        // The holder may have given it already, and nobody serves until its answer is here: for no longer than a lease.
        let ends_at = view.now.saturating_add(self.settings.lease);
        let (asked_at, again_at) = (view.now, view.now);
        self.ask(Pending { from, ballot, first_asked_at, asked_at, again_at, ends_at }, view);
    }

    /// Asks under a new stamp. On a busy network, the answer to the one before may be under way.
    fn ask(&mut self, request: Pending, view: &View) {
        let again_at = view.now.saturating_add(self.step());
        let Stage::Follower(following) = &mut self.stage else { return };
        following.pending = Some(Pending { asked_at: view.now, again_at, ..request });
        self.actions.push_back(Action::Ask { ballot: request.ballot, sent_at: view.now });
    }

    /// Asks again, since an Ask or its Grant may be lost, or forgets the request.
    pub(super) fn ask_again(&mut self, view: &View) {
        let Stage::Follower(following) = &mut self.stage else { return };
        match following.pending {
            Some(pending) if pending.ends_at <= view.now => following.pending = None,
            Some(pending) if pending.again_at <= view.now => self.ask(pending, view),
            _ => {}
        }
    }

    /// Forgets that this node has asked for a lease.
    pub(super) fn void_request(&mut self) {
        if let Stage::Follower(following) = &mut self.stage {
            following.pending = None;
        }
    }

    /// The node `from` asks for the lease, to go on under `ballot`; `sent_at` is its stamp. The view has to be read
    /// after this was received.
    pub fn handle_ask(&mut self, from: u16, ballot: Ballot, sent_at: u64, view: &View) {
        if ballot.node() != from {
            return;
        }
        match &self.stage {
            Stage::Holder(tenure) => {
                let is_offered = tenure.offer.is_some_and(|offer| offer.to == from);
                // Under a lower ballot it could not renew; it will learn of the round by the next Offer.
                if is_offered && ballot > tenure.ballot && self.can_give(view) {
                    self.give(ballot, sent_at, view);
                }
            }
            Stage::Follower(Following { given: Some(given), .. })
                if given.ballot == ballot && view.now < given.until =>
            {
                // The answer was lost.
                let left = given.until - view.now;
                self.grant(ballot, sent_at, left, view);
            }
            _ => {}
        }
    }

    /// Whether the lease runs, and this node's own acceptor will take the Transfer: it knows of this lease, and so
    /// lets nobody else in meanwhile.
    fn can_give(&self, view: &View) -> bool {
        let is_granted_here =
            view.holder_ballot.node() == self.settings.node && held(view.holder_until, view.now);
        held(view.lease_until, view.now) && is_granted_here && view.quarantine_until <= view.now
    }

    /// Gives what is left of the lease to the node of `ballot`.
    fn give(&mut self, ballot: Ballot, sent_at: u64, view: &View) {
        let until = view.lease_until;
        self.actions.push_back(Action::Disarm);
        self.actions.push_back(Action::SetRole(Role::Follower));
        self.grant(ballot, sent_at, until.saturating_sub(view.now), view);
        self.actions.push_back(Action::Demoted(Demotion::HandedOver { to: ballot.node() }));
        self.seen = self.seen.max(ballot);
        // Acceptors that miss the Transfer would still let this node in. Its own one takes it, and says the same also
        // after a restart; this is so that nothing rests on that one vote while the daemon lives.
        self.not_before = self.not_before.max(until);
        let given = Some(Given { ballot, until });
        self.stage = Stage::Follower(Following { given, ..Following::default() });
        self.follow(&View { lease_until: 0, ..*view });
    }

    /// The acceptors first: then the target's renewal finds them prepared.
    fn grant(&mut self, ballot: Ballot, sent_at: u64, left: u64, view: &View) {
        let from = self.settings.node;
        self.send(Request::Transfer { from, to: ballot, left }, view.now);
        self.actions.push_back(Action::Grant { ballot, sent_at, left });
    }

    /// The node `from` grants its lease, of which `left` ns were left at a time after `sent_at`, the stamp of the Ask.
    pub fn handle_grant(&mut self, from: u16, ballot: Ballot, sent_at: u64, left: u64, view: &View) {
        let Stage::Follower(Following { pending: Some(pending), .. }) = self.stage else { return };
        let is_asked_for = (pending.from, pending.ballot) == (from, ballot)
            && (pending.first_asked_at..=pending.asked_at).contains(&sent_at);
        let until = sent_at.saturating_add(serving_time(left));
        if !is_asked_for || until <= view.now || !pending.is_possible(view) {
            return;
        }
        let renewal = Renewal::new(ballot, self.settings.lease, &self.voters);
        self.actions.push_back(Action::SetRenewal(renewal));
        self.hold(ballot, until, view.now);
        self.renew(view);
    }
}
