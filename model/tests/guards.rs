//! The searches can fail: without any one of the guards, a promise is found broken.

use vip_model::guards::{self, Guard};

fn named(name: &str) -> Option<Guard> {
    guards::all().into_iter().find(|guard| guard.name == name)
}

fn leave_out(guard: &Guard) {
    let found = guard.search.run(&mut |_| ());
    println!("{}: {} states, {:.1} s", guard.name, found.unique, found.seconds);
    assert!(found.is_broken(), "nothing notices that {}: {found:#?}", guard.without);
}

macro_rules! guards {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { leave_out(&named($name).unwrap()); })*

        #[test]
        fn every_guard_is_left_out_once() {
            let names: Vec<&str> = guards::all().iter().map(|guard| guard.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

guards! {
    the_drift_margin_is_needed: "drift",
    refusing_while_a_lease_runs_is_needed: "refusal",
    the_stamp_before_the_send_is_needed: "stamp",
    the_echo_of_the_stamp_is_needed: "echo",
    quarantine_is_needed: "quarantine",
    disarming_before_the_release_is_needed: "disarm",
    never_extending_a_disarmed_word_is_needed: "extension",
    the_replay_check_is_needed: "replay",
    the_order_of_incarnations_is_needed: "incarnation",
    the_giver_must_wait: "giver",
    the_givers_own_acceptor_must_know: "own-transfer",
    a_request_must_be_void_once_its_node_proposes: "request",
    the_early_stamp_of_a_handover_is_needed: "early-stamp",
    one_voter_at_a_time_is_needed: "one-voter",
    spacing_is_needed: "spacing",
    the_epoch_check_is_needed: "epoch",
    pledges_must_outlive_the_daemon: "pledge",
    the_next_configuration_must_be_chosen_by_a_quorum: "paxos",
    acceptors_must_promise: "promises",
}
