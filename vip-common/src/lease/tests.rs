//! The rules of the lease, one promise a test.
extern crate std;
use super::*;

const T: u64 = 50_000_000;
const A1: Ballot = Ballot::new(1, 1);
const A2: Ballot = Ballot::new(2, 1);
const B1: Ballot = Ballot::new(1, 2);
const B2: Ballot = Ballot::new(2, 2);

fn decide(acceptor: &mut Acceptor, request: Request, now: u64) -> Decision {
    acceptor.decide(request, now, T)
}

/// An acceptor that granted node 1 a lease at time 1000.
fn granted() -> Acceptor {
    let mut acceptor = Acceptor::default();
    assert_eq!(decide(&mut acceptor, Request::Prepare(A1), 1000), Decision::Promise);
    assert_eq!(decide(&mut acceptor, Request::Propose(A1, T), 1000), Decision::Accepted);
    acceptor
}

#[test]
fn a_lease_keeps_others_out_until_exactly_its_end() {
    let last = 1000 + T - 1;
    let mut acceptor = granted();
    assert_eq!(decide(&mut acceptor, Request::Prepare(B2), last), Decision::Held(A1, 1));
    assert_eq!(decide(&mut acceptor, Request::Propose(B2, T), last), Decision::Held(A1, 1));
    assert_eq!(decide(&mut acceptor, Request::Prepare(B2), last + 1), Decision::Promise);
    assert_eq!(decide(&mut acceptor, Request::Propose(B2, T), last + 1), Decision::Accepted);
}

#[test]
fn a_holder_renews_under_its_ballot_and_may_raise_it() {
    let mut acceptor = granted();
    assert_eq!(decide(&mut acceptor, Request::Propose(A1, T), 2000), Decision::Accepted);
    assert_eq!(acceptor.expires, 2000 + T);
    assert_eq!(decide(&mut acceptor, Request::Prepare(A2), 3000), Decision::Promise);
    assert_eq!(decide(&mut acceptor, Request::Propose(A2, T), 3000), Decision::Accepted);
    assert_eq!(acceptor.expires, 3000 + T);
}

#[test]
fn a_promise_shuts_out_every_lower_and_equal_prepare_and_every_lower_propose() {
    let mut acceptor = Acceptor::default();
    assert_eq!(decide(&mut acceptor, Request::Prepare(B1), 0), Decision::Promise);
    assert_eq!(decide(&mut acceptor, Request::Prepare(B1), 0), Decision::Promised(B1));
    assert_eq!(decide(&mut acceptor, Request::Prepare(A1), 0), Decision::Promised(B1));
    assert_eq!(decide(&mut acceptor, Request::Propose(A1, T), 0), Decision::Promised(B1));
    assert_eq!(decide(&mut acceptor, Request::Propose(B1, T), 0), Decision::Accepted);
}

#[test]
fn a_shorter_renewal_never_shortens_what_was_accepted() {
    let mut acceptor = granted();
    assert_eq!(decide(&mut acceptor, Request::Propose(A1, 10), 1001), Decision::Accepted);
    assert_eq!(acceptor.expires, 1000 + T);
}

#[test]
fn quarantine_answers_nothing_and_promises_nothing() {
    let mut acceptor = Acceptor { quarantine_until: 100, ..Acceptor::default() };
    for request in [Request::Prepare(A1), Request::Propose(A1, T), Request::Release(A1)] {
        assert_eq!(decide(&mut acceptor, request, 99), Decision::Silent);
    }
    assert_eq!(acceptor, Acceptor { quarantine_until: 100, ..Acceptor::default() });
    assert_eq!(decide(&mut acceptor, Request::Prepare(A1), 100), Decision::Promise);
}

#[test]
fn a_lease_longer_than_the_quarantine_covers_is_refused() {
    let mut acceptor = Acceptor::default();
    assert_eq!(decide(&mut acceptor, Request::Propose(A1, T + 1), 0), Decision::TooLong);
    assert_eq!(acceptor, Acceptor::default());
}

#[test]
fn only_the_holder_releases_and_only_its_current_lease() {
    let mut acceptor = granted();
    assert_eq!(decide(&mut acceptor, Request::Release(B2), 2000), Decision::Silent);
    assert_eq!(decide(&mut acceptor, Request::Prepare(A2), 2000), Decision::Promise);
    assert_eq!(decide(&mut acceptor, Request::Propose(A2, T), 2000), Decision::Accepted);
    assert_eq!(decide(&mut acceptor, Request::Release(A1), 2500), Decision::Silent);
    assert_eq!(decide(&mut acceptor, Request::Release(A2), 2500), Decision::Released);
    assert_eq!(decide(&mut acceptor, Request::Prepare(B1), 2500), Decision::Promised(A2));
    assert_eq!(decide(&mut acceptor, Request::Prepare(B2), 2500), Decision::Promise);
}

#[test]
fn a_lease_is_served_from_the_latest_stamp_that_a_quorum_accepted() {
    let mut renewal = Renewal::new(A1, T, &[1, 2, 3]);
    assert_eq!(renewal.accepted(1, A1, 100, 1000), None);
    assert_eq!(renewal.accepted(1, A1, 200, 1000), None, "one voter twice is not a quorum");
    assert_eq!(renewal.accepted(2, A1, 100, 1000), Some(100 + serving_time(T)));
    assert_eq!(renewal.accepted(3, A1, 150, 1000), Some(150 + serving_time(T)));
    assert_eq!(
        renewal.accepted(3, A1, 120, 1000),
        Some(150 + serving_time(T)),
        "late answers take nothing back"
    );
}

#[test]
fn answers_of_strangers_of_other_ballots_and_from_the_future_do_not_count() {
    let mut renewal = Renewal::new(A1, T, &[1, 2, 3]);
    assert_eq!(renewal.accepted(1, A1, 100, 1000), None);
    assert_eq!(renewal.accepted(9, A1, 100, 1000), None);
    assert_eq!(renewal.accepted(2, A2, 100, 1000), None);
    assert_eq!(renewal.accepted(2, A1, 1001, 1000), None);
    assert_eq!(renewal.accepted(2, A1, 1000, 1000), Some(100 + serving_time(T)));
}

/// Expected: the q-th largest of the stamps, found by sorting, for every number of voters.
#[test]
fn the_quorum_stamp_is_the_qth_largest_for_one_to_sixteen_voters() {
    for count in 1..=u16::try_from(MAX_VOTERS).unwrap() {
        let voters: std::vec::Vec<u16> = (1..=count).collect();
        let mut renewal = Renewal::new(A1, T, &voters);
        let mut stamps = std::vec::Vec::new();
        for voter in &voters {
            let stamp = 100 + u64::from(*voter) * 37 % 11;
            let until = renewal.accepted(*voter, A1, stamp, 1000);
            stamps.push(stamp);
            stamps.sort_unstable_by(|a, b| b.cmp(a));
            let expected = stamps.get(quorum(voters.len()) - 1).map(|t0| t0 + serving_time(T));
            assert_eq!(until, expected, "{count} voters, {} answers", stamps.len());
        }
    }
}

#[test]
fn a_holder_stops_before_the_fastest_acceptor_within_the_drift_bound_lets_go() {
    for lease in [1, 99, 100, 101, 5_000_000, T, 10_000_000_000] {
        assert!(serving_time(lease) * 100 <= lease * (100 - MAX_DRIFT_PERCENT), "lease {lease}");
    }
    assert_eq!(serving_time(T), 49_500_000);
}

#[test]
fn any_two_quorums_meet() {
    for voters in 1..=MAX_VOTERS {
        assert!(2 * quorum(voters) > voters);
    }
}

#[test]
fn a_disarmed_word_is_never_extended_and_no_extension_goes_back() {
    assert_eq!(extension(0, 100), None);
    assert_eq!(extension(50, 100), Some(100));
    assert_eq!(extension(100, 100), None);
    assert_eq!(extension(150, 100), None);
}

#[test]
fn a_lease_ends_at_its_last_nanosecond() {
    assert!(held(101, 100));
    assert!(!held(100, 100));
    assert!(!held(0, 0));
}

#[test]
fn replays_are_refused_within_and_across_incarnations() {
    let mut freshness = Freshness::default();
    assert!(freshness.admit(5, 1));
    assert!(!freshness.admit(5, 1));
    assert!(freshness.admit(5, 9));
    assert!(!freshness.admit(5, 8));
    assert!(!freshness.admit(4, 100));
    assert!(freshness.admit(6, 1));
    assert!(!freshness.admit(5, 10));
}

#[test]
fn ballots_order_by_round_then_node_and_read_as_written() {
    assert!(Ballot::new(1, 9) < Ballot::new(2, 1));
    assert!(Ballot::new(2, 1) < Ballot::new(2, 2));
    let next = Ballot::new(7, 9).successor(2);
    assert_eq!((next.round(), next.node()), (8, 2));
    assert_eq!(std::format!("{next}"), "8.2");
}

fn transfer(left: u64) -> Request {
    Request::Transfer { from: 1, to: B2, left }
}

#[test]
fn a_transferred_lease_is_the_new_holders_until_its_old_end() {
    let last = 1000 + T - 1;
    let mut acceptor = granted();
    assert_eq!(decide(&mut acceptor, transfer(10), 2000), Decision::Transferred);
    assert_eq!(decide(&mut acceptor, Request::Propose(Ballot::new(3, 1), T), last), Decision::Held(B2, 1));
    assert_eq!(decide(&mut acceptor, Request::Propose(B2, T), last), Decision::Accepted);
    assert_eq!(acceptor.expires, last + T);
}

#[test]
fn a_transfer_of_a_lease_that_was_not_heard_of_keeps_others_out_for_what_is_left() {
    let mut acceptor = Acceptor::default();
    assert_eq!(decide(&mut acceptor, transfer(10), 2000), Decision::Transferred);
    assert_eq!(decide(&mut acceptor, Request::Prepare(A2), 2009), Decision::Held(B2, 1));
    assert_eq!(decide(&mut acceptor, Request::Prepare(Ballot::new(3, 1)), 2010), Decision::Promise);
}

#[test]
fn a_transfer_by_a_node_that_does_not_hold_and_one_of_too_long_a_lease_change_nothing() {
    let mut acceptor = granted();
    let stranger = Request::Transfer { from: 3, to: B2, left: 10 };
    let before = acceptor;
    assert_eq!(decide(&mut acceptor, stranger, 2000), Decision::Silent);
    assert_eq!(decide(&mut acceptor, transfer(T + 1), 2000), Decision::Silent);
    assert_eq!(acceptor, before);
}

#[test]
fn an_older_release_of_the_new_holder_does_not_end_a_transferred_lease() {
    let mut acceptor = granted();
    decide(&mut acceptor, transfer(10), 2000);
    assert_eq!(decide(&mut acceptor, Request::Release(B1), 2001), Decision::Silent);
    assert_eq!(decide(&mut acceptor, Request::Release(B2), 2001), Decision::Released);
}
