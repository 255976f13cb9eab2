//! Each fault of [`vip_tests::faults`] once. What must hold is said there; `--nocapture` shows it.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a helper of a test fails like the test")]

use vip_tests::{faults, lab::DaemonOptions};

/// Of the moments and the luck of all rounds here. `cargo xtask faults` tries others.
const SEED: u64 = 1;

macro_rules! faults {
    ($($name:ident)+) => {
        $(
            #[test]
            fn $name() {
                play(&stringify!($name).replace('_', "-"));
            }
        )+

        #[test]
        fn every_fault_is_played() {
            let names = [$(stringify!($name)),+].map(|name| name.replace('_', "-"));
            let all: Vec<&str> = faults::FAULTS.iter().map(|fault| fault.name).collect();
            assert_eq!(names.to_vec(), all);
        }
    };
}

faults! {
    sigterm sigkill sigstop stutter freeze hogs fifo_hog restart_loop all_start all_restart boot all_boot reinstalled
    link_down link_flapping deaf mute pair_cut partitions loss delay reordering duplication bad_network two_clusters
    bpffs_unmounted pins_deleted map_unpinned xdp_detached xdp_replaced interface_renamed interface_deleted
    disk_full state_read_only state_torn state_old forged replayed truncated noise
    clock_forward clock_back clock_back_disk_lost all_stop handover storm
}

fn play(name: &str) {
    let fault = faults::named(name).unwrap();
    println!("{name}: {}: {}", fault.story, fault.promise);
    let outcome = fault.play(SEED, &DaemonOptions::default()).unwrap();
    println!(
        "outage {:?}, excused {}, {:?}",
        outcome.outage,
        outcome.excused,
        outcome.sight.as_ref().map(|sight| (sight.requests.requests, sight.doubles()))
    );
    outcome.into_result().unwrap_or_else(|error| panic!("{error:?}"));
}
