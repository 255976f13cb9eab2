//! Who holds a group's lease: the proposer's side of PaxosLease (arXiv 1209.4187), for one group on one node.
//!
//! This is the part without clock, socket or map. It takes events with a [`View`] of the group, and gives actions and
//! the next deadline. The acceptor and the extension of the lease word are in `vip_common::lease` and run in the data
//! plane; who votes is decided in the membership. All times are this node's CLOCK_BOOTTIME in ns, lengths are in ns.
//!
//! ```text
//!   Follower ── lease over, delay over ──> Candidate ── quorum of Promise, then of Accepted ──> Holder
//!      ^───────── no answer, refused ──────────┘                                                  │
//!      ^───────── lapsed, released, unfit, handed over ───────────────────────────────────────────┘
//!      └───────── granted what is left of the holder's lease (see `handover`) ────────────────────^
//! ```
//!
//! Nothing here can make two nodes serve at once, as long as the driver keeps the order of actions: acceptors grant
//! one node's lease at a time, and the word never outlives what a quorum of them granted. The waits and delays are
//! there so that somebody serves soon, and to keep candidates out of each other's way.

mod action;
mod answer;
mod attempt;
mod following;
mod handover;
mod quorum;
mod tenure;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vip_common::lease::{Ballot, MAX_VOTERS, Renewal, Request, held};
use vip_common::maps::Role;
use vip_common::wire::Reason;

pub use action::{Action, Demotion, GiveUp, HandoverFailure, Notice};
pub use answer::{Answer, Refusal};

use attempt::{Attempt, Step, lifted_at};
use following::Following;
use tenure::Tenure;

/// Least time between two candidates of neighbouring rank, in ns: a round trip on a segment, with room.
const LEAST_STEP: u64 = 1_000_000;
/// Least time for a candidacy, in ns.
const LEAST_ATTEMPT: u64 = 2_000_000;
/// More actions than any sequence of calls between two drains makes.
const QUEUE: usize = 16;

/// What is configured.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Settings {
    /// This node's id, never 0.
    pub node: u16,
    /// Length of the leases to ask for, in ns.
    pub lease: u64,
    /// Time between two renewals, in ns; at most a third of `lease`, not 0.
    pub interval: u64,
}

/// What the data plane shows of the group. To be read right before each call, `now` first: then a word that seems to
/// have ended has ended, however the data plane extends it meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct View {
    /// CLOCK_BOOTTIME; never earlier than in the call before.
    pub now: u64,
    /// The lease word; 0 = disarmed.
    pub lease_until: u64,
    /// Until when somebody's lease runs, by this node's acceptor.
    pub holder_until: u64,
    /// The ballot of that lease; its node held last, as far as is known here.
    pub holder_ballot: Ballot,
    /// When this node's acceptor has waited long enough for what it may have forgotten; 0 = nothing.
    pub quarantine_until: u64,
}

/// What this node is in its group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Leaves the lease to others, or waits for it to end.
    Follower,
    /// Asks for the lease.
    Candidate,
    /// Renews its lease.
    Holder,
}

/// The election of one group, as one node takes part in it.
///
/// After each call, and once after [`Election::new`], the driver carries out all actions of
/// [`Election::poll_action`] in order; only [`Election::handle_answer`] with the own acceptor's answer may come in
/// between. When [`Election::next_deadline`] is reached, or has passed already, it calls [`Election::handle_timeout`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Election {
    settings: Settings,
    random: SmallRng,
    voters: Vec<u16>,
    /// Alive candidates, fittest first.
    candidates: Vec<u16>,
    eligible: bool,
    /// The highest ballot that is known to exist.
    seen: Ballot,
    /// This node lets others try first until then.
    not_before: u64,
    /// The lease that was given back last, until this node has once found voters that had not heard of it.
    released: Option<Ballot>,
    /// How much longer than its rank this node waits, in ns, after candidacies that others were in the way of: nothing after
    /// the first, and a time drawn anew after each further one, since two nodes that differ on who is fitter would else
    /// stand at the same time again and again. `None` from when a lease has been seen to go on.
    courtesy: Option<u64>,
    /// This node's last lease ran out: its renewals did not get through, and may not do so now.
    lapsed: bool,
    stage: Stage,
    actions: VecDeque<Action>,
}

/// The state, each with what only it has, and with its timer.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "one per group, and candidacies must not allocate while a VIP waits"
)]
enum Stage {
    /// When to look whether to stand, or to ask for a lease on offer again: [`Following::next_deadline`].
    Follower(Following),
    /// When to stand anew, or to give up: [`Attempt::next_deadline`].
    Candidate(Attempt),
    /// When to renew: [`Tenure::renew_at`].
    Holder(Tenure),
}

impl Election {
    /// Follows, without voters and not eligible. A lease word that an earlier daemon has armed is not touched: it
    /// serves until its end, or until this daemon has renewed it. Nodes should have different `seed`s.
    pub fn new(settings: Settings, seed: u64) -> Self {
        let mut actions = VecDeque::with_capacity(QUEUE);
        // An earlier daemon may have left the data plane taking the answers that this one needs.
        actions.push_back(Action::SetRole(Role::Follower));
        Self {
            settings: Settings { interval: settings.interval.max(1), ..settings },
            random: SmallRng::seed_from_u64(seed),
            voters: Vec::with_capacity(MAX_VOTERS),
            candidates: Vec::new(),
            eligible: false,
            seen: Ballot::default(),
            not_before: 0,
            released: None,
            courtesy: None,
            lapsed: false,
            stage: Stage::Follower(Following::default()),
            actions,
        }
    }

    /// What this node is at the moment.
    pub fn state(&self) -> State {
        match self.stage {
            Stage::Follower(_) => State::Follower,
            Stage::Candidate(_) => State::Candidate,
            Stage::Holder(_) => State::Holder,
        }
    }

    /// Whether this node may hold the lease: it is a voter, and eligible.
    pub fn may_hold(&self) -> bool {
        self.may_stand()
    }

    /// The next thing to do, if any.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Election::handle_timeout`], in CLOCK_BOOTTIME ns; `None` = not before something else happens.
    pub fn next_deadline(&self) -> Option<u64> {
        match &self.stage {
            Stage::Follower(following) => following.next_deadline(),
            Stage::Candidate(attempt) => Some(attempt.next_deadline()),
            Stage::Holder(tenure) => Some(tenure.renew_at),
        }
    }

    /// Sets the voters of the current configuration; empty = there is none yet, and more than [`MAX_VOTERS`] are
    /// none. The requests sent from here on must carry that configuration's epoch.
    pub fn set_voters(&mut self, voters: &[u16], view: &View) {
        let voters = if voters.len() > MAX_VOTERS { &[] } else { voters };
        if *voters == self.voters {
            return;
        }
        let could_stand = self.may_stand();
        self.voters.clear();
        self.voters.extend_from_slice(voters);
        self.void_request();
        if !self.is_voter() {
            // No configuration yet says nothing against a word that an earlier daemon has armed.
            if !voters.is_empty() || self.state() != State::Follower {
                self.withdraw(Demotion::Unfit, view);
            }
            return;
        }
        match &mut self.stage {
            Stage::Holder(tenure) => tenure.voters_changed = true,
            Stage::Candidate(_) => self.stand(view),
            Stage::Follower(_) => self.look_as(could_stand, view),
        }
    }

    /// Sets the group's alive candidates, fittest first, this node among them if it may stand.
    pub fn set_candidates(&mut self, candidates: &[u16], view: &View) {
        self.candidates.clear();
        self.candidates.extend_from_slice(candidates);
        self.look(view);
    }

    /// Sets whether this node may hold the lease: priority above 0, carrier, no maintenance, not leaving. It may not
    /// before the first call. `false` gives back what it holds, even by a word from an earlier daemon: do not say it
    /// while the answer is not known yet.
    pub fn set_eligible(&mut self, eligible: bool, view: &View) {
        let could_stand = self.may_stand();
        self.eligible = eligible;
        if eligible {
            self.look_as(could_stand, view);
        } else {
            self.withdraw(Demotion::Unfit, view);
        }
    }

    /// Renews so often from now on, in ns; see [`Settings::interval`].
    pub fn set_interval(&mut self, interval: u64) {
        self.settings.interval = interval.max(1);
    }

    /// A voter's answer has come. Late, foreign and unexpected ones change nothing; repeated ones neither, but that the
    /// next attempt after a refusal may be drawn to be sooner.
    pub fn handle_answer(&mut self, voter: u16, answer: Answer, view: &View) {
        let Some(place) = self.voters.iter().position(|id| *id == voter) else { return };
        match (&mut self.stage, answer) {
            (Stage::Candidate(attempt), answer) => {
                let lifted_at = match &answer {
                    Answer::Refused(refusal) => {
                        lifted_at(refusal, self.released, self.settings.lease, view.now)
                    }
                    Answer::Promise(_) | Answer::Accepted { .. } => 0,
                };
                let step = attempt.count(voter, place, &answer, lifted_at, view.now);
                if let Answer::Refused(refusal) = answer {
                    self.learn(voter, &refusal);
                }
                self.advance(step, view);
            }
            (Stage::Holder(_), Answer::Refused(refusal)) => self.outbid(voter, &refusal, view.now),
            _ => {}
        }
    }

    /// This node's acceptor saw the holder give its lease back: its end has moved.
    pub fn handle_released(&mut self, view: &View) {
        self.released = Some(view.holder_ballot);
        self.look(view);
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, view: &View) {
        match &self.stage {
            Stage::Follower(_) => {
                self.look(view);
                self.ask_again(view);
            }
            Stage::Candidate(attempt) => {
                if attempt.is_to_stand_again(view.now) {
                    self.stand_again(view);
                } else if attempt.next_deadline() <= view.now {
                    let back_off = self.random_below(self.step());
                    self.give_up(GiveUp::NoAnswer, view.now.saturating_add(back_off), view);
                }
            }
            Stage::Holder(tenure) => {
                if !held(view.lease_until, view.now) {
                    self.lapse(view);
                } else if tenure.renew_at <= view.now {
                    self.renew(view);
                }
            }
        }
    }

    /// Gives the lease, or the candidacy, back so that another node can have it at once: for an operator, a stop, or
    /// a fitter node. This node does not stand again for a lease length.
    pub fn release(&mut self, view: &View) {
        self.withdraw(Demotion::Released, view);
    }

    // Following.

    fn is_voter(&self) -> bool {
        self.voters.contains(&self.settings.node)
    }

    fn may_stand(&self) -> bool {
        self.eligible && self.is_voter()
    }

    /// Looks after something that may have let this node stand; then its delay counts from now, since fitter ones may
    /// just have been let, too.
    fn look_as(&mut self, could_stand: bool, view: &View) {
        if !could_stand && self.may_stand() {
            self.not_before = self.not_before.max(view.now);
        }
        self.look(view);
    }

    /// A follower stands if it is time, or else finds out when to look again. Others have nothing to look for.
    fn look(&mut self, view: &View) {
        if self.state() != State::Follower {
            return;
        }
        if view.lease_until != 0 && !held(view.lease_until, view.now) {
            // Of an earlier daemon. Left as it is, answers to a candidacy given up could still extend it.
            self.actions.push_back(Action::Disarm);
        }
        if self.is_time(view) && view.now < view.holder_until {
            // It is renewed: nobody is in anybody's way.
            self.courtesy = None;
        }
        self.follow(view);
        if self.is_time(view) {
            self.stand(view);
        }
    }

    fn is_time(&self, view: &View) -> bool {
        matches!(self.stage, Stage::Follower(Following { look_at: Some(look_at), .. }) if look_at <= view.now)
    }

    /// Follows, and sets when to look again. That is not moved by the holder's renewals: the look finds that the
    /// lease runs on, so that a follower wakes once per lease and not once per renewal.
    fn follow(&mut self, view: &View) {
        let earliest = self.not_before.max(view.quarantine_until);
        let time = if held(view.lease_until, view.now) {
            // Its own lease, from before the daemon's restart: nobody else can have it now.
            earliest
        } else {
            earliest.max(view.holder_until).saturating_add(self.delay(view.holder_ballot.node()))
        };
        let kept = if let Stage::Follower(following) = self.stage {
            following.kept(view)
        } else {
            Following::default()
        };
        self.stage = Stage::Follower(Following { look_at: self.may_stand().then_some(time), ..kept });
    }

    /// How long to let fitter candidates go first. The last holder is not waited for: it has just failed or let go.
    fn delay(&self, last_holder: u16) -> u64 {
        let me = self.settings.node;
        let fitter = self.candidates.iter().take_while(|id| **id != me).filter(|id| **id != last_holder);
        let lapsed = self.lapsed && last_holder == me;
        let rank = fitter.count() as u64 + u64::from(lapsed);
        self.step().saturating_mul(rank).saturating_add(self.courtesy.unwrap_or(0))
    }

    fn step(&self) -> u64 {
        (self.settings.lease / 10).max(LEAST_STEP)
    }

    fn random_below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    // Standing.

    fn stand(&mut self, view: &View) {
        let now = view.now;
        if now < view.quarantine_until {
            return self.give_up(GiveUp::Quarantine, now, view);
        }
        let ballot = self.next_ballot(view);
        let ends_at = now.saturating_add((self.settings.lease / 4).max(LEAST_ATTEMPT));
        self.stage = Stage::Candidate(Attempt::prepare(ballot, self.voters.len(), now, ends_at));
        self.actions.push_back(Action::Standing(ballot));
        self.send(Request::Prepare(ballot), now);
    }

    fn next_ballot(&mut self, view: &View) -> Ballot {
        self.seen = self.seen.max(view.holder_ballot).successor(self.settings.node);
        self.seen
    }

    /// Takes from a refusal what the next attempt needs, and what the daemon should know.
    fn learn(&mut self, voter: u16, refusal: &Refusal) {
        let Stage::Candidate(attempt) = &mut self.stage else { return };
        if !attempt.concerns(refusal) {
            return;
        }
        self.seen = self.seen.max(refusal.ballot);
        let notice = notice(voter, refusal).and_then(|notice| attempt.notices.give(notice));
        self.actions.extend(notice.map(Action::Notice));
    }

    fn advance(&mut self, step: Step, view: &View) {
        match step {
            Step::Wait => {}
            Step::Propose => self.propose(view),
            Step::Serve { until } => {
                if let Stage::Candidate(Attempt { ballot, sent_at, .. }) = self.stage {
                    self.hold(ballot, until, sent_at.saturating_add(self.settings.interval));
                }
            }
            Step::StandAgain { possible_at } => {
                let at = self.back_off(possible_at, view.now);
                if let Stage::Candidate(attempt) = &mut self.stage {
                    attempt.plan_again(at);
                }
            }
            Step::Lost { possible_at } => {
                let at = self.back_off(possible_at, view.now);
                self.released = None;
                self.give_up(GiveUp::Refused, at, view);
            }
        }
    }

    /// When to try again for a quorum that is possible from then on; 0 = under a higher ballot.
    fn back_off(&mut self, possible_at: u64, now: u64) -> u64 {
        if possible_at > 0 {
            return possible_at.max(now);
        }
        // The higher ballot is another candidate's, who is at it, too: one of both has to wait.
        now.saturating_add(self.random_below(2 * self.step()))
    }

    /// A candidate's voters let go a little later than its own acceptor, or knew a higher ballot. The rest may be dead:
    /// to wait for their answers would keep the VIP dead for that long, too.
    fn stand_again(&mut self, view: &View) {
        self.released = None;
        let taken = view.holder_until > view.now && view.holder_ballot.node() != self.settings.node;
        if taken { self.give_up(GiveUp::Refused, view.now, view) } else { self.stand(view) }
    }

    fn propose(&mut self, view: &View) {
        let Stage::Candidate(attempt) = &mut self.stage else { return };
        if view.now < view.quarantine_until {
            return self.give_up(GiveUp::Quarantine, view.now, view);
        }
        let ballot = attempt.ballot;
        let renewal = Renewal::new(ballot, self.settings.lease, &self.voters);
        attempt.propose(renewal, view.now);
        self.actions.push_back(Action::SetRenewal(renewal));
        self.send(Request::Propose(ballot, self.settings.lease), view.now);
    }

    /// Holds the lease `until` then, and renews it at `renew_at`.
    fn hold(&mut self, ballot: Ballot, until: u64, renew_at: u64) {
        self.stage = Stage::Holder(Tenure::new(ballot, renew_at));
        self.courtesy = None;
        self.lapsed = false;
        self.actions.push_back(Action::Arm { until });
        self.actions.push_back(Action::SetRole(Role::Holder));
        self.actions.push_back(Action::Promoted(ballot));
    }

    /// Follows again. Voters that accepted are not told: the next attempt may build on them.
    fn give_up(&mut self, reason: GiveUp, not_before: u64, view: &View) {
        if self.state() == State::Candidate {
            self.actions.push_back(Action::GaveUp(reason));
        }
        if reason == GiveUp::Refused {
            self.courtesy = Some(self.courtesy.map_or(0, |_| self.random_below(2 * self.step())));
        }
        self.not_before = self.not_before.max(not_before);
        self.follow(view);
    }

    // Holding.

    /// Asks for the next stretch of the lease. That the answers extend the word is the data plane's doing.
    fn renew(&mut self, view: &View) {
        let now = view.now;
        let Settings { lease, interval, .. } = self.settings;
        // Before the proposal: of two messages that overtake each other, the first one is taken for a replay.
        self.offer(view);
        let Stage::Holder(mut tenure) = self.stage else { return };
        tenure.skip_to_next(interval, now);
        if now >= view.quarantine_until {
            if tenure.needs_ballot(now) {
                // Without a Prepare: acceptors refuse a Propose, too, while another node's lease runs.
                tenure.raise(self.next_ballot(view), lease, now);
                let renewal = Renewal::new(tenure.ballot, lease, &self.voters);
                self.actions.push_back(Action::SetRenewal(renewal));
            }
            self.send(Request::Propose(tenure.ballot, lease), now);
        }
        self.stage = Stage::Holder(tenure);
    }

    fn outbid(&mut self, voter: u16, refusal: &Refusal, now: u64) {
        let Stage::Holder(tenure) = &mut self.stage else { return };
        if refusal.reason == Reason::Promised {
            self.seen = self.seen.max(refusal.ballot);
            tenure.outbid_by(refusal.ballot);
        }
        let lease = self.settings.lease;
        let notice = notice(voter, refusal).and_then(|notice| tenure.notice(notice, lease, now));
        self.actions.extend(notice.map(Action::Notice));
    }

    /// The word ended before a quorum renewed it.
    fn lapse(&mut self, view: &View) {
        self.lapsed = true;
        self.actions.push_back(Action::Disarm);
        self.actions.push_back(Action::SetRole(Role::Follower));
        self.actions.push_back(Action::Demoted(Demotion::Lapsed));
        self.follow(view);
    }

    /// Gives up whatever this node has of the lease, and lets the others know.
    fn withdraw(&mut self, demotion: Demotion, view: &View) {
        self.void_request();
        let before = self.state();
        if before == State::Follower && view.lease_until == 0 {
            return self.follow(view);
        }
        let given_back = self.ballot_to_release(view);
        if before == State::Holder || view.lease_until != 0 {
            self.actions.push_back(Action::Disarm);
        }
        if before == State::Holder {
            self.actions.push_back(Action::SetRole(Role::Follower));
        }
        if let Some(ballot) = given_back {
            self.send(Request::Release(ballot), view.now);
        }
        self.actions.extend(match before {
            State::Follower => None,
            State::Candidate => Some(Action::GaveUp(GiveUp::Withdrawn)),
            State::Holder => Some(Action::Demoted(demotion)),
        });
        self.not_before = self.not_before.max(view.now.saturating_add(self.settings.lease));
        self.follow(&View { lease_until: 0, ..*view });
    }

    /// The highest ballot under which voters may have accepted a lease of this node.
    fn ballot_to_release(&self, view: &View) -> Option<Ballot> {
        match &self.stage {
            Stage::Holder(tenure) => Some(tenure.ballot),
            Stage::Candidate(attempt) if attempt.is_proposing() => Some(attempt.ballot),
            _ => {
                // From before the daemon's restart.
                let own = view.holder_ballot.node() == self.settings.node && view.lease_until != 0;
                own.then_some(view.holder_ballot)
            }
        }
    }

    fn send(&mut self, request: Request, sent_at: u64) {
        self.actions.push_back(Action::Send { request, sent_at });
    }
}

/// For those who tell apart what elections will do, as a model checker does. The random draws to come are told apart by
/// the next one. Actions are not looked at: there are none once the driver has carried them out.
impl Hash for Election {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self {
            settings,
            random,
            voters,
            candidates,
            eligible,
            seen,
            not_before,
            released,
            courtesy,
            lapsed,
            stage,
            actions: _,
        } = self;
        let next_draw: u64 = random.clone().random();
        (settings, next_draw, voters, candidates, eligible, seen).hash(state);
        (not_before, released, courtesy, lapsed, stage).hash(state);
    }
}

/// What the daemon should know of a refusal, if anything.
fn notice(voter: u16, refusal: &Refusal) -> Option<Notice> {
    match refusal.reason {
        Reason::OldEpoch => Some(Notice::OldEpoch { voter, epoch: refusal.epoch }),
        Reason::TooLong => Some(Notice::LeaseTooLong { voter, longest: refusal.duration }),
        Reason::Held | Reason::Promised => None,
    }
}
