//! One node's contacts case by case; then several nodes, of which not all hear each other by the group.

use super::*;

mod world;

const OWN: IpAddr = at(1);
const START: u64 = 1000 * SECOND;

/// The address of node `node`.
const fn at(node: u8) -> IpAddr {
    IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, node))
}

fn settings(peers: &[IpAddr], join: &[IpAddr]) -> Settings {
    let never = BTreeSet::from([at(100)]);
    Settings { own: OWN, never, peers: peers.to_vec(), join: join.to_vec() }
}

/// A node that has just started, its first action taken.
fn started(peers: &[IpAddr], join: &[IpAddr]) -> Contacts {
    let mut contacts = Contacts::new(settings(peers, join), START);
    let others: Vec<_> = peers.iter().filter(|peer| **peer != OWN).copied().collect();
    assert_eq!(taken(&mut contacts), [Action::Reach(others)]);
    contacts
}

fn taken(contacts: &mut Contacts) -> Vec<Action> {
    std::iter::from_fn(|| contacts.poll_action()).collect()
}

fn always(standing: Standing) -> impl Fn(u16) -> Standing {
    move |_| standing
}

/// Goes on until `until`, one deadline after the other, and gives all actions with the time of each.
fn pass(contacts: &mut Contacts, until: u64) -> Vec<(u64, Action)> {
    let mut all = Vec::new();
    while let Some(deadline) = contacts.next_deadline().filter(|deadline| *deadline <= until) {
        let now = contacts.now.max(deadline);
        contacts.handle_timeout(always(Standing::Member), now);
        all.extend(taken(contacts).into_iter().map(|action| (now, action)));
        assert!(contacts.next_deadline().is_none_or(|next| next > now), "{contacts:?}");
    }
    contacts.now = until;
    all
}

fn questions(actions: &[(u64, Action)]) -> Vec<IpAddr> {
    let asked = |(_, action): &(u64, Action)| match action {
        Action::Ask(address) => Some(*address),
        Action::Reach(_) | Action::Greet(_) => None,
    };
    actions.iter().filter_map(asked).collect()
}

#[test]
fn nodes_that_hear_each_other_by_the_group_do_nothing() {
    let mut contacts = started(&[], &[]);
    for second in 0..100 {
        let now = START + second * SECOND;
        contacts.heard(2, at(2), Way::Group, now);
        contacts.heard(3, at(3), Way::Group, now);
        assert_eq!((taken(&mut contacts), contacts.next_deadline()), (vec![], None));
    }
    // Their falling silent is no reason to write to them.
    assert_eq!(pass(&mut contacts, START + 1000 * SECOND), []);
}

#[test]
fn a_member_to_join_through_that_is_heard_by_the_group_is_not_asked() {
    let mut contacts = started(&[], &[OWN, at(2)]);
    contacts.heard(2, at(2), Way::Group, START + SECOND / 5);
    for second in 1..100 {
        let now = START + second * SECOND;
        assert_eq!(pass(&mut contacts, now), []);
        contacts.heard(2, at(2), Way::Group, now);
    }
    assert_eq!(taken(&mut contacts), []);
}

#[test]
fn a_member_to_join_through_is_asked_until_it_answers_and_is_a_contact_from_then_on() {
    let mut contacts = started(&[], &[OWN, at(2), at(3)]);
    let asked = pass(&mut contacts, START + 30 * SECOND);
    assert_eq!(asked[0], (START + GROUP_FIRST, Action::Ask(at(2))));
    let times = asked.iter().filter(|(_, action)| *action == Action::Ask(at(2)));
    let times: Vec<_> = times.map(|(time, _)| (time - START) / SECOND).collect();
    assert_eq!(times, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]);
    assert_eq!(questions(&asked).len(), 2 * times.len(), "both of them");

    contacts.heard(2, at(2), Way::Direct, contacts.now);
    assert_eq!(taken(&mut contacts), [Action::Reach(vec![at(2)]), Action::Greet(at(2))]);
    // Then one in turn, the one that does not answer among them; more often at first.
    let now = contacts.now;
    let later = pass(&mut contacts, now + 60 * SECOND);
    let quiet: Vec<_> = later.iter().filter(|(time, _)| *time > now + 10 * SECOND).cloned().collect();
    assert_eq!(quiet.len(), 10);
    assert!(questions(&quiet).windows(2).all(|two| two[0] != two[1]), "{quiet:?}");
}

#[test]
fn peers_are_contacts_from_the_start_on_and_are_asked() {
    let mut contacts = started(&[OWN, at(2), at(3)], &[]);
    let asked = pass(&mut contacts, START + SECOND);
    assert_eq!(questions(&asked), [at(2), at(3)]);
    contacts.heard(2, at(2), Way::Direct, contacts.now);
    assert_eq!(taken(&mut contacts), [], "nothing new");
    contacts.heard(4, at(4), Way::Direct, contacts.now);
    let reached = Action::Reach(vec![at(2), at(3), at(4)]);
    assert_eq!(taken(&mut contacts), [reached, Action::Greet(at(4))]);
}

#[test]
fn whoever_writes_to_the_own_address_is_a_contact_and_whoever_is_heard_by_the_group_is_not() {
    let mut contacts = started(&[], &[]);
    contacts.heard(2, at(2), Way::Direct, START);
    assert_eq!(taken(&mut contacts), [Action::Reach(vec![at(2)]), Action::Greet(at(2))]);
    contacts.heard(2, at(2), Way::Group, START + SECOND);
    assert_eq!(taken(&mut contacts), [Action::Reach(vec![])]);
    contacts.heard(2, at(2), Way::Direct, START + 2 * SECOND);
    assert_eq!(taken(&mut contacts), []);
    // The group is lost to it, and it was reached otherwise before.
    let again = pass(&mut contacts, START + 4 * SECOND);
    assert_eq!(again[0].0, START + SECOND + LATELY);
    assert!(again.iter().any(|(_, action)| *action == Action::Reach(vec![at(2)])), "{again:?}");
}

#[test]
fn an_old_voice_by_the_group_makes_no_contact_and_does_not_keep_one_away() {
    let mut contacts = started(&[], &[]);
    contacts.heard(2, at(2), Way::Group, START);
    assert_eq!(pass(&mut contacts, START + LATELY), []);
    contacts.heard(2, at(2), Way::Direct, START + LATELY);
    assert_eq!(taken(&mut contacts)[0], Action::Reach(vec![at(2)]));
}

#[test]
fn nodes_that_another_one_tells_of_are_greeted_and_are_contacts_only_when_they_greet_back() {
    let mut contacts = started(&[], &[]);
    contacts.heard(2, at(2), Way::Group, START);
    contacts.heard(3, at(3), Way::Direct, START);
    taken(&mut contacts);
    let vip = at(100);
    let v6 = "fd77::1".parse().unwrap();
    let nobody = "239.1.1.1".parse().unwrap();
    contacts.handle_roster(&[OWN, at(2), at(3), at(4), at(5), vip, v6, nobody], START);
    assert_eq!(taken(&mut contacts), [Action::Greet(at(4)), Action::Greet(at(5))]);
    contacts.heard(4, at(4), Way::Direct, START + SECOND);
    assert_eq!(taken(&mut contacts), [Action::Reach(vec![at(3), at(4)]), Action::Greet(at(4))]);

    let later = pass(&mut contacts, START + 60 * SECOND);
    let greeted: Vec<_> = later.iter().filter(|(_, action)| *action == Action::Greet(at(5))).collect();
    assert_eq!(
        (greeted.len(), later.iter().any(|(_, action)| matches!(action, Action::Reach(_)))),
        (9, false)
    );
    assert!(greeted.iter().all(|(time, _)| *time < START + GREETING_TIME));
}

#[test]
fn a_contact_stays_while_its_node_belongs_to_the_cluster() {
    let cases = [
        (Standing::Member, START + 1000 * SECOND, true),
        (Standing::Unknown, START + UNKNOWN_TIME - 1, true),
        (Standing::Unknown, START + UNKNOWN_TIME, false),
        (Standing::Gone, START + 1, false),
    ];
    for (standing, now, stays) in cases {
        let mut contacts = started(&[], &[]);
        contacts.heard(2, at(2), Way::Direct, START);
        contacts.handle_timeout(always(standing), now);
        assert_eq!(contacts.to_reach() == [at(2)], stays, "{standing:?}");
        assert_eq!(taken(&mut contacts).contains(&Action::Reach(vec![])), !stays);
    }
}

#[test]
fn a_node_that_moves_is_reached_where_it_is_now() {
    let mut contacts = started(&[], &[]);
    contacts.heard(2, at(2), Way::Direct, START);
    contacts.heard(2, at(7), Way::Direct, START + 1);
    assert_eq!(contacts.to_reach(), [at(7)]);
    contacts.readdress(at(7), START + 2);
    assert_eq!(contacts.to_reach(), [] as [IpAddr; 0], "that is this node now");
    contacts.heard(3, OWN, Way::Direct, START + 3);
    assert_eq!(contacts.to_reach(), [OWN], "and another one may be where it was");
}

#[test]
fn contacts_are_bounded_and_the_one_that_is_silent_for_longest_makes_room() {
    let mut contacts = started(&[at(250)], &[]);
    for node in 2..=64 {
        contacts.heard(node.into(), at(node), Way::Direct, START + u64::from(node));
    }
    assert_eq!(contacts.to_reach().len(), MAX_CONTACTS);
    contacts.heard(65, at(65), Way::Direct, START + SECOND);
    assert!(!contacts.to_reach().contains(&at(65)), "all of them are heard");
    contacts.handle_roster(&[at(66)], START + SECOND);
    assert!(contacts.hinted.is_empty());

    contacts.heard(2, at(2), Way::Direct, START + LATELY);
    contacts.heard(65, at(65), Way::Direct, START + LATELY + 10);
    assert_eq!(contacts.to_reach().len(), MAX_CONTACTS);
    let is_reached = |node| contacts.to_reach().contains(&at(node));
    assert!(is_reached(65) && is_reached(2) && !is_reached(3) && is_reached(250));
}

#[test]
fn voices_are_bounded() {
    let mut contacts = started(&[], &[]);
    let address = |number: u32| IpAddr::from(std::net::Ipv4Addr::from(0x0a01_0000 + number));
    for number in 0..2 * u32::try_from(MAX_VOICES).unwrap() {
        contacts.heard(2, address(number), Way::Group, START);
    }
    assert_eq!(contacts.voices.len(), MAX_VOICES);
    contacts.heard(2, address(9999), Way::Group, START + LATELY);
    assert_eq!(contacts.voices.len(), 1);
}

#[test]
fn a_join_at_run_time_asks_at_once_and_for_a_bounded_time() {
    let mut contacts = started(&[], &[]);
    let now = START + 100 * SECOND;
    contacts.join(at(2), now).unwrap();
    assert_eq!(taken(&mut contacts), [Action::Ask(at(2))]);
    let asked = pass(&mut contacts, now + 60 * SECOND);
    assert_eq!(questions(&asked), [at(2); 4]);
    assert!(!contacts.hears(at(2), contacts.now));
    assert_eq!(contacts.next_deadline(), None);

    contacts.join(at(2), contacts.now).unwrap();
    contacts.heard(2, at(2), Way::Direct, contacts.now);
    assert!(contacts.hears(at(2), contacts.now));
    assert_eq!(contacts.to_reach(), [at(2)]);
}

#[test]
fn a_join_of_who_is_heard_already_asks_nothing() {
    let mut contacts = started(&[], &[]);
    contacts.heard(2, at(2), Way::Group, START);
    contacts.join(at(2), START + LATELY - 1).unwrap();
    assert_eq!((taken(&mut contacts), contacts.hears(at(2), contacts.now)), (vec![], true));
    // Long ago counts for nothing, though nothing has happened since.
    let later = START + 100 * SECOND;
    assert!(!contacts.hears(at(2), later));
    contacts.join(at(2), later).unwrap();
    assert_eq!(taken(&mut contacts), [Action::Ask(at(2))]);
}

#[test]
fn a_join_through_what_cannot_be_a_node_is_refused() {
    let mut contacts = started(&[], &[]);
    let cases = [
        ("10.0.0.1", Refused::Own),
        ("10.0.0.100", Refused::Vip),
        ("fd77::1", Refused::Version),
        ("239.0.0.1", Refused::NotUnicast),
        ("255.255.255.255", Refused::NotUnicast),
        ("0.0.0.0", Refused::NotUnicast),
    ];
    for (address, expected) in cases {
        assert_eq!(contacts.join(address.parse().unwrap(), START), Err(expected), "{address}");
    }
    for node in 101..=116 {
        contacts.join(at(node), START).unwrap();
    }
    assert_eq!(contacts.join(at(117), START), Err(Refused::TooMany));
    assert_eq!(contacts.join(at(116), START), Ok(()), "again");
}
