//! Handovers: whom a group goes to, and what becomes of it. Operators ask for them and wait for the outcome; preemption
//! asks for them where a fitter node is to take over.

mod target;

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::info;

use super::backoff::Backoff;
use super::control_plane::{ControlPlane, nanoseconds};
use super::fitness::{Duty, Fitness};
use super::groups::{Group, holder};
use super::lease_thread::Order;
use super::preemption::priority_of;
use super::shared::Shared;
use crate::clock;
use crate::config::format_duration;
use crate::control::{Handover, Reply};
use crate::courier;
use crate::election::{Action, Demotion, HandoverFailure, State};
use crate::status::Member;

/// How long preemption leaves a group alone that could not be handed over, in ns.
const RETRY_AFTER: u64 = 5_000_000_000;
/// What the daemon may take on top of the election's time, before it is not waited for any more.
const MARGIN: Duration = Duration::from_secs(1);
/// How often to look whether the new holder renews.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(2);

/// How long a node that has handed everything over goes on: answers to what came before may leave, and packets are sent on, until the
/// new holders' announcements have reached all.
pub(super) const LINGER: Duration = Duration::from_nanos(courier::LINGER);

/// How a handover went; the error is for people.
type Outcome = Result<(), String>;

/// What is going on with one group.
#[derive(Debug, Default)]
pub(super) struct Handovers {
    under_way: Option<UnderWay>,
    /// When preemption may ask again, in CLOCK_BOOTTIME ns.
    retry_at: u64,
    /// When a check may again be the reason.
    backoff: Backoff,
}

#[derive(Debug)]
struct UnderWay {
    to: u16,
    /// Who wants to know the outcome, if anybody does.
    waiting: Option<oneshot::Sender<Outcome>>,
    /// By then its outcome has been told, or is lost; in CLOCK_BOOTTIME ns.
    ends_at: u64,
}

impl Handovers {
    fn target(&self, now: u64) -> Option<u16> {
        self.under_way.as_ref().filter(|under_way| now < under_way.ends_at).map(|under_way| under_way.to)
    }

    pub(super) fn is_under_way(&self, now: u64) -> bool {
        self.target(now).is_some()
    }

    fn end(&mut self, outcome: Outcome, now: u64) {
        let Some(under_way) = self.under_way.take() else { return };
        if outcome.is_err() {
            self.retry_at = now.saturating_add(RETRY_AFTER);
        }
        if let Some(waiting) = under_way.waiting {
            // In vain only if the client has left.
            let _ = waiting.send(outcome);
        }
    }
}

/// What an operator's wish has led to for one group; the error is why nothing was begun.
pub(super) struct Begun {
    group: String,
    handover: Result<Ordered, String>,
}

impl Begun {
    /// Waits for what came of it.
    pub(super) async fn finish(self, shared: &Shared) -> Handover {
        let result = match self.handover {
            Ok(ordered) => ordered.finish(shared).await,
            Err(reason) => Err(reason),
        };
        Handover { group: self.group, result }
    }
}

/// A handover that was ordered.
pub(super) struct Ordered {
    slot: u32,
    to: u16,
    to_name: String,
    outcome: oneshot::Receiver<Outcome>,
}

/// Hands groups over as an operator asks: the named one, or all that this node holds; to the named node, or to the
/// fittest other one. Replies when the outcomes are known, or have taken too long.
pub(super) async fn hand_over(shared: &Shared, group: Option<&str>, to: Option<&str>) -> Reply {
    let begun = match shared.with(|plane| plane.begin_handovers(group, to)) {
        Ok(begun) => begun,
        Err(reason) => return Reply::Error(reason),
    };
    let mut handovers = Vec::new();
    for begun in begun {
        handovers.push(begun.finish(shared).await);
    }
    Reply::ok(&handovers)
}

/// Waits until this node, which may not hold anything any more, does not; and goes on sending packets on for a moment.
pub(super) async fn let_go(shared: &Shared) {
    let deadline = clock::now().saturating_add(nanoseconds(shared.with(|plane| plane.patience())));
    while shared.with(|plane| plane.holds_any()) && clock::now() < deadline {
        sleep(LOOK_EVERY).await;
    }
    sleep(LINGER).await;
}

/// Hands all that this node holds over to the fittest other nodes, before the daemon ends; what nobody can take stays here, and
/// `otherwise` says what becomes of it. Goes on sending the clients' packets on for a moment, until the new holders' announcements have
/// reached them.
pub(super) async fn retire(shared: &Shared, otherwise: &str) {
    let mut is_any_gone = false;
    for begun in shared.ask(ControlPlane::begin_retirement) {
        let Handover { group, result } = begun.finish(shared).await;
        match &result {
            Ok(to) => info!(group, "{to} serves now"),
            Err(reason) => info!(group, "not handed over, and so {otherwise}: {reason}"),
        }
        is_any_gone |= result.is_ok();
    }
    if is_any_gone {
        sleep(LINGER).await;
    }
}

impl Ordered {
    /// Waits for the outcome; gives the name of the node that serves now.
    async fn finish(self, shared: &Shared) -> Result<String, String> {
        let patience = shared.with(|plane| plane.patience());
        let unknown = || "its outcome was not told in time: `vip-user status` says who holds it".to_owned();
        let told = timeout(patience, self.outcome).await;
        told.ok().and_then(Result::ok).unwrap_or_else(|| Err(unknown()))?;
        if serves(shared, self.slot, self.to).await {
            Ok(self.to_name)
        } else {
            Err(format!(
                "{} was given the lease and has not renewed it; another node takes over, see `vip-user status`",
                self.to_name
            ))
        }
    }
}

/// Waits until the new holder has renewed the lease that it was given: then it serves. Not longer than that lease. Who else has it
/// before that time is over got it from the new holder, which served as well.
async fn serves(shared: &Shared, slot: u32, node: u16) -> bool {
    let look = || shared.with(|plane| plane.words.read(slot));
    let given = look();
    loop {
        let word = look();
        let is_in_time = clock::now() < given.holder_until;
        match word.holder_ballot.node() == node {
            true if word.holder_until > given.holder_until => return true,
            false if is_in_time => return true,
            _ if !is_in_time => return false,
            _ => sleep(LOOK_EVERY).await,
        }
    }
}

impl ControlPlane {
    /// Gives groups that this node holds to fitter nodes: to those which ask for that, and, where a check has lowered this
    /// node's own priority, to any. One that does not take it is asked again later; meanwhile this node goes on holding.
    pub(super) fn yield_to_fitter(&mut self) {
        let now = clock::now();
        for index in 0..self.groups.len() {
            let group = &self.groups[index];
            let is_free = group.handovers.target(now).is_none() && group.handovers.retry_at <= now;
            if group.part != State::Holder || group.fitness.duty != Duty::Serve || !is_free {
                continue;
            }
            if let Some((id, reason)) = self.fitter_than_lowered(group, now) {
                info!(group = %group.settings.name, "{reason}");
                self.groups[index].handovers.backoff.note(now);
                self.order_handover(index, id, None);
            } else if let Some((id, reason)) = self.preempting(group, now) {
                info!(group = %group.settings.name, "{reason}");
                self.order_handover(index, id, None);
            }
        }
    }

    /// The fittest node, if a check has made this one less fit than that, and why.
    fn fitter_than_lowered(&self, group: &Group, now: u64) -> Option<(u16, String)> {
        let Fitness { priority, best, .. } = group.fitness;
        if !group.fitness.is_lowered() || !group.handovers.backoff.allows(now) {
            return None;
        }
        let priorities: Vec<_> =
            self.membership.candidates().map(|member| (member.id, priority_of(member, group.id))).collect();
        let id = target::fittest(&priorities, self.id).ok()?;
        let is_fitter = priorities.iter().any(|(other, its)| *other == id && *its > priority);
        let reason = || {
            format!(
                "giving way to {}: checks have lowered the priority here from {best} to {priority}",
                self.name_of(id)
            )
        };
        is_fitter.then(|| (id, reason()))
    }

    /// The node that preempts this one, and why.
    fn preempting(&self, group: &Group, now: u64) -> Option<(u16, String)> {
        let delay = nanoseconds(group.settings.preempt_delay);
        let (candidates, priority) = (self.membership.candidates(), group.fitness.priority);
        let fitter = self.preemption.successor(candidates, group.id, priority, delay, now)?;
        Some((fitter.id, format!("giving way to {}, of higher priority", fitter.hello.name)))
    }

    /// Has a group handed over to the fittest other node that this node holds and should not, unless that has failed just now;
    /// whether this is under way.
    pub(super) fn give_away(&mut self, index: usize) -> bool {
        let (now, group) = (clock::now(), &self.groups[index]);
        if group.part != State::Holder || group.handovers.target(now).is_some() {
            return group.part == State::Holder;
        }
        let target =
            if group.handovers.retry_at <= now { self.target_of(index, &[], None).ok() } else { None };
        let Some(to) = target else { return false };
        info!(group = %group.settings.name, "handing over to {}", self.name_of(to));
        self.order_handover(index, to, None);
        true
    }

    /// From now on this node takes nothing: nobody gives it back what it gives away. Gives the handovers that were begun.
    fn begin_retirement(&mut self) -> Vec<Begun> {
        self.health.is_retiring = true;
        self.tell_offers();
        self.hand_all_over()
    }

    /// Begins to hand over what this node holds, if it holds anything.
    pub(super) fn hand_all_over(&mut self) -> Vec<Begun> {
        // To hold nothing is the only error.
        self.begin_handovers(None, None).unwrap_or_default()
    }

    fn holds_any(&self) -> bool {
        self.groups.iter().any(|group| group.part == State::Holder)
    }

    /// What the election says ends a handover that is under way.
    pub(super) fn end_handover(&mut self, slot: u32, said: Action) {
        let outcome = match said {
            Action::Demoted(Demotion::HandedOver { .. }) => Ok(()),
            Action::Demoted(reason) => Err(format!("this node does not hold it any more: {reason}")),
            Action::HandoverFailed { to, reason } => Err(self.explain_failure(to, reason)),
            _ => return,
        };
        let Some(group) = self.groups.iter_mut().find(|group| group.slot == slot) else { return };
        group.handovers.end(outcome, clock::now());
        // Where it was given away: not to be taken again, or to be released.
        self.order_eligibility();
    }

    fn explain_failure(&self, to: u16, reason: HandoverFailure) -> String {
        let to = self.name_of(to);
        match reason {
            HandoverFailure::NobodyAsked => format!(
                "{to} did not ask for it within {}, so it stays here; its log and `vip-user status` there say why",
                format_duration(2 * self.settings.cluster.lease)
            ),
            HandoverFailure::NotHolder | HandoverFailure::NoVoter | HandoverFailure::Replaced => {
                format!("{reason}; see `vip-user status`")
            }
        }
    }

    /// Begins what an operator asks for. An error means that there is nothing to hand over.
    pub(super) fn begin_handovers(
        &mut self,
        group: Option<&str>,
        to: Option<&str>,
    ) -> Result<Vec<Begun>, String> {
        let groups = self.groups_to_hand_over(group)?;
        let members = self.members();
        let begin = |index: usize| {
            let joined = if to.is_none() { self.join_handover(index) } else { None };
            let handover = match joined {
                Some(under_way) => Ok(under_way),
                None => self.target_of(index, &members, to).map(|to| self.begin_handover(index, to)),
            };
            Begun { group: self.groups[index].settings.name.clone(), handover }
        };
        Ok(groups.into_iter().map(begin).collect())
    }

    /// The handover that is under way already, if nobody waits for its outcome yet.
    fn join_handover(&mut self, index: usize) -> Option<Ordered> {
        let to = self.groups[index].handovers.target(clock::now())?;
        let to_name = self.name_of(to);
        let group = &mut self.groups[index];
        let (waiting, outcome) = oneshot::channel();
        let under_way = group.handovers.under_way.as_mut().filter(|under_way| under_way.waiting.is_none())?;
        under_way.waiting = Some(waiting);
        Some(Ordered { slot: group.slot, to, to_name, outcome })
    }

    fn begin_handover(&mut self, index: usize, to: u16) -> Ordered {
        let (waiting, outcome) = oneshot::channel();
        let (slot, to_name) = (self.groups[index].slot, self.name_of(to));
        info!(group = %self.groups[index].settings.name, "handing over to {to_name}");
        self.order_handover(index, to, Some(waiting));
        Ordered { slot, to, to_name, outcome }
    }

    fn order_handover(&mut self, index: usize, to: u16, waiting: Option<oneshot::Sender<Outcome>>) {
        let ends_at = clock::now().saturating_add(nanoseconds(self.patience()));
        let group = &mut self.groups[index];
        group.handovers.under_way = Some(UnderWay { to, waiting, ends_at });
        self.orders.give(Order::HandOver { slot: group.slot, to });
    }

    /// By when a handover has succeeded or failed: the election offers for two leases, and looks once per interval.
    pub(super) fn patience(&self) -> Duration {
        2 * self.settings.cluster.lease + self.settings.cluster.interval + MARGIN
    }

    /// The places of the named group, or of all that this node holds.
    fn groups_to_hand_over(&self, name: Option<&str>) -> Result<Vec<usize>, String> {
        if let Some(name) = name {
            let named = self.groups.iter().position(|group| group.settings.name == name);
            if named.is_some_and(|index| !self.groups[index].has_lease()) {
                return Err(format!(
                    "{name} is a group of VRRP, in which the priorities say who serves: `vip-user maintenance on` has another \
                     router take over"
                ));
            }
            return named.map(|index| vec![index]).ok_or_else(|| {
                let all: Vec<_> = self.groups.iter().map(|group| group.settings.name.as_str()).collect();
                format!("there is no group {name:?}; there are: {}", all.join(", "))
            });
        }
        let held =
            |index: &usize| self.groups[*index].part == State::Holder && self.groups[*index].has_lease();
        let held: Vec<usize> = (0..self.groups.len()).filter(held).collect();
        if held.is_empty() {
            let (me, holders) = (&self.settings.node.name, self.holders());
            return Err(format!("{me} holds no group; run this command on the node that does: {holders}"));
        }
        Ok(held)
    }

    /// Who holds what, as far as this node knows.
    fn holders(&self) -> String {
        let now = clock::now();
        let held = self.groups.iter().filter(|group| group.has_lease()).map(|group| {
            let holder = holder(self.words.read(group.slot), now).map(|id| self.name_of(id));
            format!("{} is held by {}", group.settings.name, holder.as_deref().unwrap_or("nobody"))
        });
        held.collect::<Vec<_>>().join(", ")
    }

    /// Where a group that this node holds goes: to the named node, or else to the fittest other one.
    fn target_of(&self, index: usize, members: &[Member], named: Option<&str>) -> Result<u16, String> {
        self.check_held(index)?;
        let group = self.groups[index].id;
        let candidates = self.membership.candidates();
        let priorities: Vec<_> = candidates.map(|member| (member.id, priority_of(member, group))).collect();
        match named {
            Some(node) => target::named(members, &priorities, self.id, node),
            None => target::fittest(&priorities, self.id),
        }
    }

    fn check_held(&self, index: usize) -> Result<(), String> {
        let (now, group) = (clock::now(), &self.groups[index]);
        if let Some(to) = group.handovers.target(now) {
            return Err(format!("it is being handed over to {} already; wait for that", self.name_of(to)));
        }
        if group.part == State::Holder {
            return Ok(());
        }
        Err(match holder(self.words.read(group.slot), now) {
            Some(id) if id == self.id => "this node has not yet renewed its lease; try again".to_owned(),
            Some(id) => format!("{} holds it; run this command there", self.name_of(id)),
            None => "nobody holds it; see `vip-user status`".to_owned(),
        })
    }
}
