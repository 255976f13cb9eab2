//! The state machine against the clauses of RFC 9568, section 6.4, in the order of the RFC.

use std::net::{IpAddr, Ipv4Addr};

use vip_common::vrrp::Version;

use super::*;

const MS: u64 = 1_000_000;
/// Of this node and, unless a test says so, of the others.
const INTERVAL: u64 = 100 * MS;
/// `Skew_Time` for priority 100.
const SKEW: u64 = INTERVAL / 256 * 156;
const DOWN: u64 = 3 * INTERVAL + SKEW;
const NOW: u64 = 1_000_000 * MS;

const fn address(host: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host))
}

const SETTINGS: Settings = Settings {
    version: Version::V3,
    priority: 100,
    interval: INTERVAL,
    preempt: true,
    preempt_delay: 0,
    source: address(5),
};

const fn advert(host: u8, priority: u8) -> Advert {
    Advert { source: address(host), priority, interval: INTERVAL }
}

fn started(settings: Settings) -> Instance {
    let mut instance = Instance::new(settings);
    instance.start(0, NOW);
    instance
}

fn actions(instance: &mut Instance) -> Vec<Action> {
    std::iter::from_fn(|| instance.poll_action()).collect()
}

/// One that is active since `NOW + DOWN`, has sent its advert then, and has nothing left to do.
fn active(settings: Settings) -> Instance {
    let mut instance = started(settings);
    instance.handle_timeout(NOW + DOWN);
    assert!(matches!(instance.state(), State::Active { .. }));
    instance.sent(NOW + DOWN + promise(INTERVAL));
    actions(&mut instance);
    instance
}

const fn advertise(priority: u8) -> Action {
    Action::Advertise { priority, promise: Some(promise(INTERVAL)) }
}

fn hear(instance: &mut Instance, advert: Advert, now: u64) {
    instance.handle_advert(advert, now).unwrap();
}

#[test]
fn an_owner_is_active_at_once_and_heeds_nobody() {
    // Section 6.4.1, "If the Priority = 255"; section 7.1: the local router must not be the owner.
    let mut owner = started(Settings { priority: 255, ..SETTINGS });
    assert_eq!(actions(&mut owner), [advertise(255)]);
    assert_eq!(owner.next_deadline(), Some(NOW + INTERVAL));
    assert_eq!(owner.handle_advert(advert(9, 255), NOW), Err(Objection::Owner));
}

#[test]
fn everybody_else_begins_as_a_backup_and_takes_over_after_the_active_down_interval() {
    // Sections 6.4.1 and 6.4.2, "If the Active_Down_Timer fires".
    let mut instance = started(SETTINGS);
    assert_eq!((actions(&mut instance), instance.next_deadline()), (vec![], Some(NOW + DOWN)));
    instance.handle_timeout(NOW + DOWN - 1);
    assert_eq!(actions(&mut instance), []);
    instance.handle_timeout(NOW + DOWN);
    assert_eq!(actions(&mut instance), [advertise(100)]);
    // It is the active router when the others have been told, and not before.
    instance.sent(NOW + DOWN + promise(INTERVAL));
    assert_eq!(actions(&mut instance), [Action::Promoted { resumed: false }]);
    assert_eq!(instance.next_deadline(), Some(NOW + DOWN + INTERVAL));
}

#[test]
fn a_backup_waits_by_the_interval_that_the_active_router_advertises() {
    // Section 6.4.2: Active_Adver_Interval, Skew_Time and Active_Down_Interval are of the advert.
    let mut instance = started(SETTINGS);
    hear(&mut instance, Advert { interval: 4 * INTERVAL, ..advert(9, 150) }, NOW + 7);
    assert_eq!(instance.next_deadline(), Some(NOW + 7 + 4 * DOWN));
    let master = Master { address: address(9), priority: 150 };
    assert_eq!(actions(&mut instance), [Action::Follows(Some(master))]);
}

#[test]
fn a_backup_heeds_its_equals_and_those_above_and_preempts_those_below() {
    for (priority, preempt, is_heeded) in
        [(150, true, true), (100, true, true), (99, true, false), (99, false, true)]
    {
        let mut instance = started(Settings { preempt, ..SETTINGS });
        hear(&mut instance, advert(2, priority), NOW + 50 * MS);
        let expected = if is_heeded { NOW + 50 * MS + DOWN } else { NOW + DOWN };
        assert_eq!(instance.next_deadline(), Some(expected), "{priority} {preempt}");
    }
}

#[test]
fn a_backup_waits_only_the_skew_time_when_the_active_router_gives_up() {
    // Section 6.4.2, "If the Priority in the ADVERTISEMENT is zero": by the last Active_Adver_Interval.
    let mut instance = started(SETTINGS);
    hear(&mut instance, Advert { interval: 2 * INTERVAL, ..advert(9, 150) }, NOW);
    hear(&mut instance, advert(9, 0), NOW + 10 * MS);
    assert_eq!(instance.next_deadline(), Some(NOW + 10 * MS + 2 * SKEW));
    assert_eq!(actions(&mut instance).last(), Some(&Action::Follows(None)));
}

#[test]
fn preemption_waits_until_a_lower_one_has_been_active_for_the_delay() {
    let mut instance = started(Settings { preempt_delay: 5 * INTERVAL, ..SETTINGS });
    for tick in 1..=6 {
        hear(&mut instance, advert(2, 50), NOW + tick * INTERVAL);
    }
    // The sixth is five intervals after the first, and not heeded any more.
    assert_eq!(instance.next_deadline(), Some(NOW + 5 * INTERVAL + DOWN));
    // Who hears a higher one meanwhile waits anew.
    hear(&mut instance, advert(9, 150), NOW + 7 * INTERVAL);
    hear(&mut instance, advert(2, 50), NOW + 8 * INTERVAL);
    assert_eq!(instance.next_deadline(), Some(NOW + 8 * INTERVAL + DOWN));
}

#[test]
fn an_active_router_advertises_every_interval_and_promises_less_than_the_others_wait() {
    let mut instance = active(SETTINGS);
    let at = NOW + DOWN + INTERVAL;
    instance.handle_timeout(at);
    assert_eq!(actions(&mut instance), [advertise(100)]);
    assert_eq!(instance.next_deadline(), Some(at + INTERVAL));
    // The backup that waits least, and whose clock goes faster by 1 %.
    let least = Timers { version: Version::V3, priority: 254 }.down(INTERVAL);
    assert!(promise(INTERVAL) < least * 100 / 101);
}

#[test]
fn an_active_router_gives_way_to_a_higher_priority_and_to_an_equal_one_of_higher_address() {
    // Section 6.4.3: "or if the Priority is equal and the sender's address is greater".
    for (host, priority, gives_way) in
        [(2, 101, true), (9, 100, true), (2, 100, false), (9, 99, false), (5, 255, false)]
    {
        let mut instance = active(SETTINGS);
        let now = NOW + DOWN + 10 * MS;
        let other = Advert { interval: 2 * INTERVAL, ..advert(host, priority) };
        hear(&mut instance, other, now);
        let expected = match (gives_way, host) {
            (true, _) => vec![
                Action::Disarm,
                Action::Demoted(Demotion::Outranked(other.into())),
                Action::Follows(Some(other.into())),
            ],
            // Its own, by a loop in the network.
            (false, 5) => vec![],
            // Section 6.4.3, last: an advert at once, for the sender and for the switches.
            (false, _) => vec![advertise(100)],
        };
        assert_eq!(actions(&mut instance), expected, "{host} {priority}");
        if gives_way {
            assert_eq!(instance.next_deadline(), Some(now + 2 * DOWN));
        }
    }
}

#[test]
fn an_active_router_answers_one_that_gives_up() {
    // Section 6.4.3, "If the Priority in the ADVERTISEMENT is zero".
    let mut instance = active(SETTINGS);
    hear(&mut instance, advert(9, 0), NOW + DOWN + 10 * MS);
    assert_eq!(actions(&mut instance), [advertise(100)]);
    assert_eq!(instance.next_deadline(), Some(NOW + DOWN + 10 * MS + INTERVAL));
}

#[test]
fn a_shutdown_serves_no_more_before_it_says_so_with_priority_zero() {
    // Section 6.4.3, "If a Shutdown event is received".
    let mut instance = active(SETTINGS);
    instance.shut_down();
    let bye = Action::Advertise { priority: 0, promise: None };
    assert_eq!(actions(&mut instance), [Action::Disarm, bye, Action::Demoted(Demotion::ShutDown)]);
    assert_eq!((instance.state(), instance.next_deadline()), (State::Initialize, None));
    // Section 6.4.2: a backup has nothing to say.
    let mut backup = started(SETTINGS);
    backup.shut_down();
    assert_eq!((actions(&mut backup), backup.state()), (vec![], State::Initialize));
    hear(&mut backup, advert(9, 150), NOW);
    assert_eq!(actions(&mut backup), []);
}

#[test]
fn one_that_could_not_advertise_for_too_long_comes_back_as_a_backup() {
    let mut instance = active(SETTINGS);
    let late = NOW + DOWN + promise(INTERVAL);
    // Meanwhile a lower one has taken over; it was heard first, since its adverts wait.
    hear(&mut instance, advert(2, 50), late);
    let master = Master { address: address(2), priority: 50 };
    let expected = [Action::Disarm, Action::Demoted(Demotion::Lapsed), Action::Follows(Some(master))];
    assert_eq!(actions(&mut instance), expected);
    // It preempts, when everybody who is active has had the time to say so.
    assert_eq!(instance.next_deadline(), Some(late + INTERVAL + SKEW));
    let mut modest = active(Settings { preempt: false, ..SETTINGS });
    modest.handle_timeout(late);
    hear(&mut modest, advert(2, 50), late);
    assert_eq!(modest.next_deadline(), Some(late + DOWN));
}

#[test]
fn one_whose_adverts_cannot_be_sent_is_no_active_router_and_tries_again() {
    let mut instance = started(SETTINGS);
    hear(&mut instance, advert(2, 50), NOW);
    let lower = Master { address: address(2), priority: 50 };
    let at = NOW + DOWN;
    instance.handle_timeout(at);
    assert_eq!(actions(&mut instance), [Action::Follows(Some(lower)), advertise(100)]);
    instance.not_sent(at);
    assert_eq!(actions(&mut instance), [Action::Mute(true)]);
    // Whoever is active meanwhile is heard first; the lower one is still the active one.
    let again = at + INTERVAL + SKEW;
    assert_eq!(instance.next_deadline(), Some(again));
    hear(&mut instance, advert(2, 50), again - 1);
    instance.handle_timeout(again);
    instance.not_sent(again);
    assert_eq!(actions(&mut instance), [advertise(100)], "it is told once");
    instance.handle_timeout(again + INTERVAL + SKEW);
    instance.sent(again + INTERVAL + SKEW + promise(INTERVAL));
    let told =
        [advertise(100), Action::Follows(None), Action::Promoted { resumed: false }, Action::Mute(false)];
    assert_eq!(actions(&mut instance), told);
}

#[test]
fn one_that_is_mute_says_so_no_more_when_it_is_not_to_be_active() {
    let mute = || {
        let mut instance = started(SETTINGS);
        instance.handle_timeout(NOW + DOWN);
        instance.not_sent(NOW + DOWN);
        actions(&mut instance);
        instance
    };
    let mut outranked = mute();
    hear(&mut outranked, advert(9, 150), NOW + DOWN);
    assert_eq!(actions(&mut outranked).last(), Some(&Action::Mute(false)));
    let mut stopped = mute();
    stopped.shut_down();
    assert_eq!(actions(&mut stopped), [Action::Mute(false)]);
}

#[test]
fn an_active_router_goes_on_for_its_promise_when_an_advert_cannot_be_sent() {
    let mut instance = active(SETTINGS);
    let at = NOW + DOWN + INTERVAL;
    instance.handle_timeout(at);
    instance.not_sent(at);
    assert_eq!(actions(&mut instance), [advertise(100)]);
    assert_eq!(instance.next_deadline(), Some(at + INTERVAL));
    let late = NOW + DOWN + promise(INTERVAL);
    instance.handle_timeout(late);
    assert_eq!(actions(&mut instance), [Action::Disarm, Action::Demoted(Demotion::Lapsed)]);
}

#[test]
fn a_restart_goes_on_while_the_word_of_the_former_run_lasts() {
    let mut instance = Instance::new(SETTINGS);
    instance.start(NOW + 1, NOW);
    instance.handle_timeout(NOW);
    assert_eq!(actions(&mut instance), [Action::Promoted { resumed: true }, advertise(100)]);
    let mut late = Instance::new(SETTINGS);
    late.start(NOW, NOW);
    assert_eq!(late.next_deadline(), Some(NOW + DOWN));
}

#[test]
fn another_priority_or_interval_is_told_at_once() {
    let mut instance = active(SETTINGS);
    let settings = Settings { priority: 70, interval: 2 * INTERVAL, ..SETTINGS };
    instance.set(settings, NOW + DOWN + MS);
    let told = Action::Advertise { priority: 70, promise: Some(promise(2 * INTERVAL)) };
    assert_eq!(actions(&mut instance), [told]);
    instance.set(settings, NOW + DOWN + 2 * MS);
    assert_eq!(actions(&mut instance), []);
}

#[test]
fn version_2_has_a_skew_of_its_own_and_takes_one_interval_alone() {
    // RFC 3768, section 6.1: Skew_Time = (256 - Priority) / 256 seconds; section 7.1: the interval must be the local one.
    let second = 1000 * MS;
    let settings = Settings { version: Version::V2, interval: 2 * second, ..SETTINGS };
    let mut instance = started(settings);
    assert_eq!(instance.next_deadline(), Some(NOW + 6 * second + second / 256 * 156));
    let other = Advert { interval: second, ..advert(9, 150) };
    assert_eq!(instance.handle_advert(other, NOW), Err(Objection::Interval(second)));
}

#[test]
fn who_only_listens_knows_after_a_while_and_forgets_the_silent() {
    let timers = Timers { version: Version::V3, priority: 100 };
    let mut hearing = Hearing::new(timers, INTERVAL, NOW);
    hearing.handle_timeout(NOW + DOWN - 1);
    assert_eq!(hearing.presence(), Presence::Unknown);
    hearing.handle_timeout(NOW + DOWN);
    assert_eq!((hearing.presence(), hearing.next_deadline()), (Presence::Silent, None));
    hearing.handle_advert(Advert { interval: 2 * INTERVAL, ..advert(9, 150) }, NOW);
    assert_eq!(hearing.presence(), Presence::Active(Master { address: address(9), priority: 150 }));
    assert_eq!(hearing.next_deadline(), Some(NOW + 2 * DOWN));
    hearing.handle_advert(advert(9, 0), NOW + 1);
    assert_eq!(hearing.presence(), Presence::Silent);
}
