//! Many events at once become few: Serf's rules, which its handlers count on.
//!
//! A burst ends when nothing has come for the quiet time of its [`Window`], or when the longest delay is over. Of member
//! events, the latest of each node is told, unless it was told last already; one event tells all nodes that it happened
//! to. Of user events that may be coalesced, those with the newest Lamport time of each name are told.

use std::collections::{BTreeMap, VecDeque};

use super::{Event, MemberEvent, MemberEventKind, Node, UserEvent};

const MS: u64 = 1_000_000;

/// For member events. Shorter than Serf's, since a takeover takes milliseconds here.
pub const MEMBER_WINDOW: Window = Window { quiet: 250 * MS, longest: 1_000 * MS };

/// For user events.
pub const USER_WINDOW: Window = Window { quiet: 1_000 * MS, longest: 3_000 * MS };

/// The most user events that wait for the end of a burst.
pub const MAX_PENDING_USER_EVENTS: usize = 1_024;

/// How long a burst is waited for, in ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// It is over when nothing has come for so long,
    pub quiet: u64,
    /// ... and so long after its first event at the latest.
    pub longest: u64,
}

/// Collects events, and gives out what handlers are to be told. After each call that takes `now` (CLOCK_BOOTTIME, ns), take
/// all with [`Coalescer::poll_event`], and call [`Coalescer::handle_timeout`] when [`Coalescer::next_deadline`] is reached.
#[derive(Debug)]
pub struct Coalescer {
    members: Burst,
    users: Burst,
    /// The latest of each node in this burst, by id.
    latest: BTreeMap<u16, (MemberEventKind, Node)>,
    /// What was told last of each node, by id.
    told: BTreeMap<u16, (MemberEventKind, Node)>,
    /// Those with the newest Lamport time, by name.
    newest: BTreeMap<String, Vec<UserEvent>>,
    pending_users: usize,
    ready: VecDeque<Event>,
}

impl Default for Coalescer {
    fn default() -> Self {
        Self {
            members: Burst::new(MEMBER_WINDOW),
            users: Burst::new(USER_WINDOW),
            latest: BTreeMap::new(),
            told: BTreeMap::new(),
            newest: BTreeMap::new(),
            pending_users: 0,
            ready: VecDeque::new(),
        }
    }
}

impl Coalescer {
    /// Something has happened to a node.
    pub fn member(&mut self, kind: MemberEventKind, node: Node, now: u64) {
        self.latest.insert(node.id, (kind, node));
        self.members.extend(now);
    }

    /// A user event is known on this node, for the first time. Gives whether it is or will be told: not if a newer one of
    /// its name stands for it, or too many wait.
    pub fn user(&mut self, event: UserEvent, now: u64) -> bool {
        if !event.coalesce {
            self.ready.push_back(Event::User(event));
            return true;
        }
        let known = self.newest.get(&event.name).and_then(|events| events.first()).map(|first| first.ltime);
        let is_told = match known {
            Some(newest) if event.ltime < newest => false,
            Some(newest) if event.ltime > newest => {
                self.pending_users -= self.newest.remove(&event.name).map_or(0, |older| older.len());
                true
            }
            _ => self.pending_users < MAX_PENDING_USER_EVENTS,
        };
        if is_told {
            self.newest.entry(event.name.clone()).or_default().push(event);
            self.pending_users += 1;
        }
        self.users.extend(now);
        is_told
    }

    /// The next event to tell, if any.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.ready.pop_front()
    }

    /// When to call [`Coalescer::handle_timeout`], in CLOCK_BOOTTIME ns, if ever.
    #[must_use]
    pub fn next_deadline(&self) -> Option<u64> {
        [&self.members, &self.users].into_iter().filter_map(Burst::ends_at).min()
    }

    /// A deadline has been reached. Harmless when none has.
    pub fn handle_timeout(&mut self, now: u64) {
        if self.members.ends(now) {
            self.tell_members();
        }
        if self.users.ends(now) {
            self.tell_users();
        }
    }

    /// Nothing more will come: what waits is told now.
    pub fn flush(&mut self) {
        self.tell_members();
        self.tell_users();
    }

    fn tell_members(&mut self) {
        let latest = std::mem::take(&mut self.latest);
        let told = &self.told;
        let news: Vec<_> = latest.into_iter().filter(|(id, new)| !is_repeated(told.get(id), new)).collect();
        for kind in MemberEventKind::ALL {
            let of_kind = news.iter().filter(|(_, (theirs, _))| *theirs == kind);
            let nodes: Vec<Node> = of_kind.map(|(_, (_, node))| node.clone()).collect();
            if !nodes.is_empty() {
                self.ready.push_back(Event::Members(MemberEvent { kind, nodes }));
            }
        }
        // As many entries as there are ids at most.
        self.told.extend(news);
        self.told.retain(|_, (kind, _)| *kind != MemberEventKind::Reap);
    }

    fn tell_users(&mut self) {
        let newest = std::mem::take(&mut self.newest);
        self.pending_users = 0;
        self.ready.extend(newest.into_values().flatten().map(Event::User));
    }
}

/// Whether that was told last: an update is one only if it shows something new.
fn is_repeated(told: Option<&(MemberEventKind, Node)>, (kind, node): &(MemberEventKind, Node)) -> bool {
    told.is_some_and(|(told_kind, told_node)| {
        told_kind == kind && (*kind != MemberEventKind::Update || told_node == node)
    })
}

/// When a burst began, and when its last event came.
#[derive(Debug)]
struct Burst {
    window: Window,
    span: Option<(u64, u64)>,
}

impl Burst {
    const fn new(window: Window) -> Self {
        Self { window, span: None }
    }

    fn extend(&mut self, now: u64) {
        let begin = self.span.map_or(now, |(begin, _)| begin);
        self.span = Some((begin, now));
    }

    fn ends_at(&self) -> Option<u64> {
        let Window { quiet, longest } = self.window;
        self.span.map(|(begin, last)| last.saturating_add(quiet).min(begin.saturating_add(longest)))
    }

    /// Whether it is over; if so, the next event begins another one.
    fn ends(&mut self, now: u64) -> bool {
        let is_over = self.ends_at().is_some_and(|end| end <= now);
        if is_over {
            self.span = None;
        }
        is_over
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use MemberEventKind::{Failed, Join, Leave, Reap, Update};

    fn node(id: u16) -> Node {
        Node {
            id,
            name: format!("lb{id}"),
            address: [10, 0, 0, id.to_be_bytes()[1]].into(),
            tags: BTreeMap::new(),
        }
    }

    fn user(name: &str, payload: &str, ltime: u64) -> UserEvent {
        UserEvent { name: name.into(), payload: payload.into(), ltime, coalesce: true }
    }

    fn events(coalescer: &mut Coalescer) -> Vec<Event> {
        std::iter::from_fn(|| coalescer.poll_event()).collect()
    }

    /// Runs out the time, and gives what is told: kind and ids.
    fn told(coalescer: &mut Coalescer) -> Vec<(MemberEventKind, Vec<u16>)> {
        while let Some(deadline) = coalescer.next_deadline() {
            coalescer.handle_timeout(deadline);
        }
        let of = |event| match event {
            Event::Members(event) => (event.kind, event.nodes.iter().map(|node| node.id).collect()),
            other => panic!("{other:?}"),
        };
        events(coalescer).into_iter().map(of).collect()
    }

    #[test]
    fn member_events_of_a_burst_are_told_together_when_it_is_quiet() {
        let mut coalescer = Coalescer::default();
        for (id, at) in [(3, 0), (1, 100), (2, 300)] {
            coalescer.member(Join, node(id), at * MS);
            coalescer.handle_timeout(at * MS);
            assert_eq!(events(&mut coalescer), []);
        }
        assert_eq!(coalescer.next_deadline(), Some(550 * MS));
        coalescer.handle_timeout(550 * MS - 1);
        assert_eq!(events(&mut coalescer), []);
        assert_eq!(told(&mut coalescer), [(Join, vec![1, 2, 3])]);
        assert_eq!(coalescer.next_deadline(), None, "nothing wakes anybody afterwards");
    }

    #[test]
    fn a_burst_that_does_not_end_is_told_after_the_longest_delay() {
        let mut coalescer = Coalescer::default();
        for at in (0..1000).step_by(200) {
            coalescer.member(Join, node(1), at * MS);
        }
        assert_eq!(coalescer.next_deadline(), Some(1000 * MS));
        assert_eq!(told(&mut coalescer), [(Join, vec![1])]);
        coalescer.member(Failed, node(1), 1100 * MS);
        assert_eq!(coalescer.next_deadline(), Some(1350 * MS), "a new burst has the whole window");
    }

    #[test]
    fn the_latest_event_of_a_node_is_told_and_a_repeated_one_is_not() {
        let mut coalescer = Coalescer::default();
        coalescer.member(Join, node(1), 0);
        coalescer.member(Join, node(2), 0);
        coalescer.member(Failed, node(2), MS);
        assert_eq!(told(&mut coalescer), [(Join, vec![1]), (Failed, vec![2])]);

        // Node 1 was away for a moment, node 2 is still gone: nothing new.
        coalescer.member(Failed, node(1), 0);
        coalescer.member(Join, node(1), MS);
        coalescer.member(Failed, node(2), MS);
        assert_eq!(told(&mut coalescer), []);

        coalescer.member(Leave, node(1), 0);
        coalescer.member(Join, node(2), 0);
        assert_eq!(told(&mut coalescer), [(Join, vec![2]), (Leave, vec![1])]);
    }

    #[test]
    fn an_update_is_repeated_only_if_it_shows_nothing_new() {
        let mut coalescer = Coalescer::default();
        let tagged = |value: &str| Node { tags: [("role".into(), value.into())].into(), ..node(1) };
        let mut told_of = |node| {
            coalescer.member(Update, node, 0);
            told(&mut coalescer).len()
        };
        assert_eq!([told_of(tagged("web")), told_of(tagged("web")), told_of(tagged("db"))], [1, 0, 1]);
    }

    #[test]
    fn a_node_that_was_reaped_is_new_when_it_comes_again() {
        let mut coalescer = Coalescer::default();
        for kind in [Join, Reap, Reap, Join] {
            coalescer.member(kind, node(1), 0);
            assert_eq!(told(&mut coalescer), [(kind, vec![1])]);
        }
    }

    #[test]
    fn user_events_of_a_name_give_way_to_newer_ones_and_those_of_one_time_all_stay() {
        let mut coalescer = Coalescer::default();
        let given = [("a", "old", 4), ("a", "one", 5), ("b", "other", 1), ("a", "two", 5), ("a", "late", 3)];
        let is_told = given.map(|(name, payload, ltime)| coalescer.user(user(name, payload, ltime), 0));
        assert_eq!(is_told, [true, true, true, true, false]);
        assert_eq!(coalescer.next_deadline(), Some(1_000 * MS));
        coalescer.handle_timeout(1_000 * MS);
        let expected = [user("a", "one", 5), user("a", "two", 5), user("b", "other", 1)].map(Event::User);
        assert_eq!(events(&mut coalescer), expected);

        // A burst of its own: what was told before does not matter.
        assert!(coalescer.user(user("a", "older", 2), 5_000 * MS));
        coalescer.handle_timeout(6_000 * MS);
        assert_eq!(events(&mut coalescer), [Event::User(user("a", "older", 2))]);
    }

    #[test]
    fn user_events_wait_for_three_seconds_at_most() {
        let mut coalescer = Coalescer::default();
        for at in (0..3000).step_by(500) {
            coalescer.user(user("a", "x", at), at * MS);
        }
        assert_eq!(coalescer.next_deadline(), Some(3_000 * MS));
    }

    #[test]
    fn a_user_event_that_may_not_be_coalesced_is_told_at_once() {
        let mut coalescer = Coalescer::default();
        let event = UserEvent { coalesce: false, ..user("a", "x", 1) };
        assert!(coalescer.user(event.clone(), 0) && coalescer.user(event.clone(), 0));
        assert_eq!(events(&mut coalescer), [Event::User(event.clone()), Event::User(event)]);
        assert_eq!(coalescer.next_deadline(), None);
    }

    #[test]
    fn a_flood_of_user_events_is_bounded_and_newer_ones_take_the_place_of_old_ones() {
        let mut coalescer = Coalescer::default();
        let limit = u64::try_from(MAX_PENDING_USER_EVENTS).unwrap();
        let taken = (0..2 * limit).filter(|_| coalescer.user(user("a", "x", 1), 0)).count();
        assert_eq!(taken, MAX_PENDING_USER_EVENTS);
        assert!(!coalescer.user(user("b", "x", 1), 0), "no room for another name");
        assert!(coalescer.user(user("a", "newer", 2), 0));
        assert!(coalescer.user(user("b", "x", 1), 0), "there is room again");
        coalescer.flush();
        assert_eq!(events(&mut coalescer).len(), 2);
    }
}
