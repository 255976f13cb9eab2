//! Which configurations let one of two votes count alone.

use vip_common::lease::Ballot;

use super::*;

/// Node 1 with this configuration and pledge on its disk.
fn stored(configuration: Configuration, pledge: Option<Pledge>) -> Membership {
    let stored = Stored { consent: None, configuration: Some(configuration), pledge };
    let mut membership = Membership::new(identity(1, 2), stored, 0).unwrap();
    actions(&mut membership);
    membership
}

fn promise(epoch: u32) -> Pledge {
    Pledge::new(epoch, Ballot::new(1, 2)).unwrap()
}

#[test]
fn a_pair_is_a_configuration_of_two_voters_with_this_node() {
    assert_eq!(stored(configuration(1, &[1, 2]), None).pair(), Some(2));
    assert_eq!(node(1, 2).pair(), None);
    for voters in [&[1][..], &[1, 2, 3], &[2, 3]] {
        assert_eq!(stored(configuration(1, voters), None).pair(), None, "{voters:?}");
    }
}

#[test]
fn after_a_former_configuration_the_other_voter_must_be_known_to_have_the_current_one() {
    let current = configuration(3, &[1, 2]);
    let mut first = stored(current.clone(), None);
    assert_eq!(first.pair(), None);
    hear(&mut first, 2, Standing::Formed(configuration(2, &[1, 2, 3])), 1);
    assert_eq!(first.pair(), None);
    hear(&mut first, 2, Standing::Formed(current), 2);
    assert_eq!(first.pair(), Some(2));
}

#[test]
fn who_has_accepted_a_later_configuration_is_no_pair_from_before_it_says_so() {
    let later = |epoch: u32| Accepted {
        ballot: Ballot::new(1, 2),
        configuration: configuration(epoch + 1, &[1, 2, 3]),
    };
    let current = configuration(1, &[1, 2]);
    assert_eq!(stored(current.clone(), Some(promise(1))).pair(), Some(2));
    let accepted = promise(1).accepting(later(1)).unwrap();
    assert_eq!(stored(current.clone(), Some(accepted.clone())).pair(), None);

    // It hears the proposal, and has not stored its acceptance yet.
    let mut first = stored(current.clone(), Some(promise(1)));
    let proposes = Hello { pledge: Some(accepted), ..hello(2, 2, Standing::Formed(current)) };
    first.handle_hello(sender(2), proposes, MS);
    assert!(actions(&mut first).iter().any(|action| matches!(action, Action::StorePledge(_))));
    assert_eq!(first.hello().pledge.unwrap().accepted(), None);
    assert_eq!(first.pair(), None);
}

#[test]
fn with_a_voter_of_longer_leases_there_is_no_pair_and_with_one_of_shorter_leases_there_is() {
    let current = configuration(1, &[1, 2]);
    let mut first = stored(current.clone(), None);
    for (lease_ns, pair) in [(51 * MS, None), (50 * MS, Some(2)), (20 * MS, Some(2))] {
        let said = Hello { lease_ns, ..hello(2, 2, Standing::Formed(current.clone())) };
        first.handle_hello(sender(2), said, MS);
        assert_eq!(first.pair(), pair, "{lease_ns}");
    }
}
