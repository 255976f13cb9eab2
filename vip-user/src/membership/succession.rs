//! The rules by which a configuration gets its successor, as pure functions over the members.
//!
//! The choice of configuration e+1 is single-decree Paxos (Lamport, "Paxos Made Simple") with the voters of e as
//! acceptors. It is spoken in Hellos, by state: each voter's Hello has its [`Pledge`], which is on its disk already.
//! Promises and acceptances only grow, so a Hello that is lost, late or repeated does no harm, and an old one is true
//! as well. Safety rests on these facts:
//!
//! - At most one configuration of an epoch is ever chosen: this is what Paxos is for. To store a successor and
//!   spread it would not do, as of {1, 2, 3, 4} both {1, 2, 3} and {1, 2, 4} could follow, and {1, 3} and {2, 4}
//!   be quorums of leases at the same time.
//! - A successor differs by one voter, so the quorums of neighbouring configurations meet in an acceptor that knows
//!   the lease that runs.
//! - Quorums of e-1 and e+1 need not meet: of {1, 2, 3} and {3, 4, 5} none does in {1, 2} and {4, 5}. So nothing is
//!   proposed in e before a quorum of its voters has had it for longer than a lease ([`spaced_at`]): every quorum of
//!   e-1 has one of these, which grants no lease of e-1 any more, and those that it had granted are over.
//!
//! Everything else serves progress: who proposes, and what. When to act on the rules is in `change`.

use std::collections::{BTreeMap, BTreeSet};

use vip_common::lease::{Ballot, quorum};

use super::configuration::Configuration;
use super::hello::Standing;
use super::members::{Member, Members};
use super::pledge::{Accepted, Pledge};

/// Nodes become voters by themselves up to this many: one more would bear no more failures.
const MOST_VOTERS: usize = 15;

/// The successor of `current`, once a quorum of its voters has accepted it under one ballot.
pub(super) fn chosen(members: &Members, current: &Configuration) -> Option<Configuration> {
    let mut votes: BTreeMap<&Accepted, usize> = BTreeMap::new();
    for accepted in pledges(members, current).filter_map(Pledge::accepted) {
        *votes.entry(accepted).or_default() += 1;
    }
    let chosen = votes.into_iter().find(|(_, votes)| *votes >= quorum(current.voters().len()));
    chosen.map(|(accepted, _)| accepted.configuration.clone())
}

/// What this node, a voter, owes to the pledges that it has heard: to promise the highest ballot, and to accept what
/// was accepted by others, unless it has promised a higher one.
pub(super) fn owed(members: &Members, current: &Configuration) -> Option<Pledge> {
    let own = members.me.hello.pledge.as_ref();
    let promised = highest(members, current);
    let open = |accepted: &&Accepted| own.is_none_or(|own| accepted.ballot >= own.promised());
    let newest = pledges(members, current).filter_map(Pledge::accepted).filter(open).max();
    let mut pledge = match own {
        Some(own) => own.clone(),
        None => Pledge::new(current.epoch(), promised).ok()?,
    };
    if let Some(newest) = newest.filter(|newest| Some(*newest) > pledge.accepted()) {
        pledge = pledge.clone().accepting(newest.clone()).unwrap_or(pledge);
    }
    if promised > pledge.promised() {
        pledge = pledge.clone().promising(promised).unwrap_or(pledge);
    }
    (own != Some(&pledge)).then_some(pledge)
}

/// The highest ballot that any voter has promised, as far as was heard.
pub(super) fn highest(members: &Members, current: &Configuration) -> Ballot {
    pledges(members, current).map(Pledge::promised).max().unwrap_or_default()
}

/// Whether a quorum is heard to have promised `ballot`, and nothing higher: then its node may propose.
pub(super) fn is_promised(members: &Members, current: &Configuration, ballot: Ballot) -> bool {
    let promises = pledges(members, current).filter(|pledge| pledge.promised() == ballot);
    promises.count() >= quorum(current.voters().len())
}

/// What whoever proposes has to propose: the successor accepted under the highest ballot, as far as was heard. It may
/// have been chosen already; and if it was not, it could still be much later, when nobody wants it any more.
pub(super) fn bound(members: &Members, current: &Configuration) -> Option<Configuration> {
    let newest = pledges(members, current).filter_map(Pledge::accepted).max();
    newest.map(|accepted| accepted.configuration.clone())
}

/// When a successor of `current` may be proposed, given since when each of its voters is known to have it; `None` while
/// that is no quorum. Times are CLOCK_BOOTTIME in ns.
pub(super) fn spaced_at(
    members: &Members,
    current: &Configuration,
    had_since: &BTreeMap<u16, u64>,
) -> Option<u64> {
    let mut since: Vec<u64> = had_since.values().copied().collect();
    since.sort_unstable();
    let quorum_since = since.get(quorum(current.voters().len()) - 1)?;
    Some(quorum_since.saturating_add(spacing(members)))
}

/// The longest lease of the cluster and twice the drift between two clocks, in ns. Acceptors take no longer leases
/// than their own, and in every quorum there is one that was heard.
fn spacing(members: &Members) -> u64 {
    let longest = members.iter().map(|member| member.hello.lease_ns).max().unwrap_or_default();
    longest.saturating_add(longest.div_ceil(50))
}

/// Who proposes: the lowest voter that speaks and has `current`. A convention only; others do no harm.
pub(super) fn coordinator(members: &Members, current: &Configuration, now: u64) -> Option<u16> {
    speakers(members, current, now).map(|member| member.id).filter(|id| current.contains(*id)).min()
}

/// The change that is to be made next: removals first, then the additions, each by the lowest id. None that would leave
/// fewer speaking voters than a quorum. Silence alone removes nobody, unless an operator has said after how long it does.
pub(super) fn wish(members: &Members, current: &Configuration, now: u64) -> Option<Configuration> {
    let asked = speakers(members, current, now).filter_map(|member| member.hello.remove);
    let forgetful = current.voters().iter().copied().filter(|id| has_forgotten(members, current, *id, now));
    let dead = current.voters().iter().copied().filter(|id| is_to_be_reaped(members, *id, now));
    let removals: BTreeSet<u16> = asked.chain(forgetful).chain(dead).collect();
    let mut removals = removals.into_iter().filter_map(|id| current.without(id));
    removals.find(|next| has_quorum(members, next, now)).or_else(|| addition(members, current, now))
}

/// `current` with the lowest node that is to become a voter.
fn addition(members: &Members, current: &Configuration, now: u64) -> Option<Configuration> {
    let joins = |member: &&Member| {
        let has_settled = member.speaks_since.saturating_add(members.rules.voter_after) <= now;
        let fits = members.me.hello.has_timing_of(&member.hello);
        has_settled && fits && !current.contains(member.id) && member.stays()
    };
    let joining = speakers(members, current, now).filter(joins).map(|member| member.id).min()?;
    current.with(joining).filter(|next| next.voters().len() <= MOST_VOTERS)
}

/// Whether `id` has been gone for as long as makes an operator give it up.
pub(super) fn is_to_be_reaped(members: &Members, id: u16, now: u64) -> bool {
    let Some(reap) = members.rules.reap else { return false };
    let gone_since = match members.get(id) {
        Some(member) => member.gone_since(),
        None => Some(members.since),
    };
    gone_since.is_some_and(|since| since.saturating_add(reap) <= now)
}

/// Whether `id`, a voter of `current`, speaks as one that has lost its memory.
fn has_forgotten(members: &Members, current: &Configuration, id: u16, now: u64) -> bool {
    let member = members.get(id).filter(|member| members.speaks(member, now));
    member.is_some_and(|member| is_missed(current, &member.hello.standing))
}

/// Whether a voter with this standing would be one that has forgotten what it has pledged: nodes have a configuration or
/// consent to it before they vote. It must not vote until it was counted out. Of two voters, both have to agree to
/// everything: what one of them forgets, the other one knows.
pub(super) fn is_missed(current: &Configuration, standing: &Standing) -> bool {
    *standing == Standing::Waiting && current.voters().len() > 2
}

/// Whether so many of the voters of `configuration` speak that they can decide anything.
pub(super) fn has_quorum(members: &Members, configuration: &Configuration, now: u64) -> bool {
    speaking_voters(members, configuration, now) >= quorum(configuration.voters().len())
}

/// How many of the voters of `configuration` speak, this node among them.
pub(super) fn speaking_voters(members: &Members, configuration: &Configuration, now: u64) -> usize {
    let voters = configuration.voters().iter();
    voters.filter(|id| members.get(**id).is_some_and(|member| members.speaks(member, now))).count()
}

/// The nodes that speak and have `current`. What others ask for was asked of another configuration.
fn speakers<'a>(
    members: &'a Members,
    current: &'a Configuration,
    now: u64,
) -> impl Iterator<Item = &'a Member> {
    members.iter().filter(move |member| members.speaks(member, now) && member.formed() == Some(current))
}

/// The pledges of the voters of `current`, this node's own among them. They are on disks, so those of nodes that have
/// fallen silent since count as well.
fn pledges<'a>(members: &'a Members, current: &'a Configuration) -> impl Iterator<Item = &'a Pledge> {
    members
        .iter()
        .filter(|member| current.contains(member.id) && member.formed() == Some(current))
        .filter_map(|member| member.hello.pledge.as_ref())
}
