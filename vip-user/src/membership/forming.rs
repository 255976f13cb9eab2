//! The rules by which the first configuration is formed, as pure functions over the members.
//!
//! Safety rests on two facts: a consent is given once in a node's life and is on its disk before it is said, and a
//! configuration counts as formed only when all its voters have consented to it. Two formed first configurations that
//! share a voter are therefore equal. Everything else here serves progress: nodes avoid consents that cannot lead
//! anywhere. When to act on the rules is decided in the parent module.

use super::configuration::{Configuration, FIRST_EPOCH};
use super::hello::Standing;
use super::members::{Member, Members, Status};

/// The newest configurations among the nodes that speak.
#[derive(Debug, PartialEq)]
pub(super) enum Newest {
    /// Nobody has one.
    None,
    /// All who have one of the highest epoch have this one.
    One(Configuration),
    /// Several of one epoch: the cluster was formed more than once.
    Apart(Vec<Configuration>),
}

/// The newest configuration that this node has or hears of.
pub(super) fn newest(members: &Members) -> Newest {
    let speaking = members.iter().filter(|member| matches!(member.status, Status::Alive | Status::Leaving));
    let mut all: Vec<&Configuration> = speaking.filter_map(Member::formed).collect();
    let epoch = all.iter().map(|configuration| configuration.epoch()).max();
    all.retain(|configuration| Some(configuration.epoch()) == epoch);
    all.sort();
    all.dedup();
    match all.as_slice() {
        [] => Newest::None,
        [only] => Newest::One((*only).clone()),
        several => Newest::Apart(several.iter().map(|configuration| (*configuration).clone()).collect()),
    }
}

/// The nodes, ascending, that this node could form the first configuration with: alive, and expecting as many.
pub(super) fn eligible(members: &Members) -> Vec<u16> {
    let expect = members.me.hello.expect;
    let mut ids: Vec<u16> = members.alive().filter(|m| m.hello.expect == expect).map(|m| m.id).collect();
    ids.sort_unstable();
    ids
}

/// The configuration that another node has consented to and that this one should join: of the size that it expects,
/// and not out of reach already. Of several, all nodes choose the same.
pub(super) fn invitation(members: &Members) -> Option<Configuration> {
    consents(members)
        .filter(|(member, configuration)| configuration.contains(member.id))
        .map(|(_, configuration)| configuration)
        .filter(|configuration| configuration.contains(members.me.id))
        .filter(|configuration| configuration.voters().len() == usize::from(members.me.hello.expect))
        .filter(|configuration| may_be_unanimous(members, configuration))
        .min()
        .cloned()
}

/// What this node should propose, by consenting to it: the lowest ids of `eligible`, if it is the lowest itself and
/// none of them is bound by another consent.
pub(super) fn proposal(members: &Members, eligible: &[u16]) -> Option<Configuration> {
    let chosen = eligible.get(..usize::from(members.me.hello.expect))?;
    let free = |id: &u16| members.get(*id).is_some_and(|member| member.hello.standing == Standing::Waiting);
    if chosen.first() != Some(&members.me.id) || !chosen.iter().all(free) {
        return None;
    }
    Configuration::new(FIRST_EPOCH, chosen.to_vec()).ok()
}

/// Whether all voters have agreed to `configuration`.
pub(super) fn is_unanimous(members: &Members, configuration: &Configuration) -> bool {
    missing(members, configuration).is_empty()
}

/// The voters of `configuration` that have not been heard agreeing to it.
pub(super) fn missing(members: &Members, configuration: &Configuration) -> Vec<u16> {
    let agreed = |id: &u16| members.get(*id).and_then(Member::agreed) == Some(configuration);
    configuration.voters().iter().copied().filter(|id| !agreed(id)).collect()
}

/// A configuration that some node has consented to and that may still become unanimous.
pub(super) fn open_consent(members: &Members) -> Option<Configuration> {
    consents(members).map(|(_, c)| c).filter(|c| may_be_unanimous(members, c)).min().cloned()
}

/// Consents that stand in each other's way, so that no first configuration can be formed without an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deadlock {
    /// Every node that has consented, by id, and to what.
    pub(super) consents: Vec<(u16, Configuration)>,
    /// The configuration that can be formed once `reset` have forgotten their consents.
    pub(super) keep: Configuration,
    /// The nodes whose state has to be removed. What they consented to is out of reach, so nothing is lost by it as
    /// long as the nodes that consented to `keep` are left alone.
    pub(super) reset: Vec<u16>,
}

/// The deadlock, if all consents that were heard are out of reach.
pub(super) fn deadlock(members: &Members) -> Option<Deadlock> {
    if open_consent(members).is_some() {
        return None;
    }
    let mut consents: Vec<(u16, Configuration)> = consents(members).map(|(m, c)| (m.id, c.clone())).collect();
    consents.sort();
    let keep = consents.iter().map(|(_, configuration)| configuration).min()?.clone();
    let reset: Vec<u16> = consents.iter().filter(|(_, c)| *c != keep).map(|(id, _)| *id).collect();
    (!reset.is_empty()).then_some(Deadlock { consents, keep, reset })
}

/// All consents that were heard. They are for life, so those of nodes that have fallen silent since count as well.
fn consents(members: &Members) -> impl Iterator<Item = (&Member, &Configuration)> {
    members.iter().filter_map(|member| match &member.hello.standing {
        Standing::Consented(configuration) => Some((member, configuration)),
        _ => None,
    })
}

/// Whether no voter of `configuration` is known to be bound to another one.
fn may_be_unanimous(members: &Members, configuration: &Configuration) -> bool {
    let agreed = |id: &u16| members.get(*id).and_then(Member::agreed);
    configuration.voters().iter().filter_map(agreed).all(|other| other == configuration)
}
