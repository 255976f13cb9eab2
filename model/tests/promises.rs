//! What the searches of the test command find: every state looked at, and no promise broken in any.

use vip_model::check::End;
use vip_model::searches::{self, Search};

fn named(name: &str) -> Option<Search> {
    searches::quick().into_iter().find(|search| search.name == name)
}

fn check(search: &Search) {
    let found = search.run(&mut |_| ());
    println!("{}: {} states, {:.1} s", search.name, found.unique, found.seconds);
    assert_eq!(found.end, End::Exhausted, "{found:#?}");
    // Expected: nothing broken, and what a vacuous search would not see was seen.
    assert!(found.is_good(), "{found:#?}");
}

macro_rules! searches {
    ($($test:ident: $name:literal,)*) => {
        $(#[test] fn $test() { check(&named($name).unwrap()); })*

        #[test]
        fn every_search_is_run() {
            let names: Vec<&str> = searches::quick().iter().map(|search| search.name).collect();
            assert_eq!(names, [$($name),*]);
        }
    };
}

searches! {
    leases_are_never_held_by_two: "leases",
    rates_that_change_make_no_second_holder: "wavering",
    handovers_make_no_second_holder: "handovers",
    changes_of_voters_make_no_second_holder: "epochs",
    elections_make_no_second_holder_and_come_to_an_end: "elections",
    a_machine_without_memory_makes_no_second_holder: "elections-crash",
    takeovers_make_no_second_holder: "takeovers",
    an_epoch_has_one_configuration: "succession",
}
