//! What the state directory promises, on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use vip_common::lease::Ballot;

use super::*;
use crate::{folder::Folder, membership::Accepted};

fn open(dir: &Folder) -> Result<Store, StoreError> {
    Store::open(dir.path(), owner())
}

fn owner() -> Owner {
    Owner { cluster: "edge".into(), node: 2 }
}

fn configuration(epoch: u32, voters: &[u16]) -> Configuration {
    Configuration::new(epoch, voters.to_vec()).unwrap()
}

/// A pledge in epoch 4, which has {1, 2, 3}: a promise, and {1, 2} accepted under a ballot.
fn pledge(promised: u64, accepted: Option<u64>) -> Pledge {
    let pledge = Pledge::new(4, Ballot::new(promised, 1)).unwrap();
    let Some(round) = accepted else { return pledge };
    let accepted = Accepted { ballot: Ballot::new(round, 1), configuration: configuration(5, &[1, 2]) };
    Pledge::new(4, Ballot::new(round, 1))
        .and_then(|pledge| pledge.accepting(accepted)?.promising(Ballot::new(promised, 1)))
        .unwrap()
}

#[test]
fn what_was_stored_is_there_after_a_restart() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    assert_eq!((store.consent(), store.configuration(), store.pledge()), (None, None, None));
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_configuration(&configuration(4, &[2, 3, 4])).unwrap();
    store.store_pledge(&pledge(3, Some(2))).unwrap();
    drop(store);

    let store = open(&dir).unwrap();
    assert_eq!(store.consent(), Some(&configuration(1, &[1, 2, 3])));
    assert_eq!(store.configuration(), Some(&configuration(4, &[2, 3, 4])));
    assert_eq!(store.pledge(), Some(&pledge(3, Some(2))));
    let Stored { consent, configuration, pledge } = store.stored();
    assert_eq!((&consent, &configuration, &pledge), (&store.consent, &store.configuration, &store.pledge));
}

#[test]
fn missing_directories_are_made_for_the_owner_only() {
    let dir = Folder::new();
    let nested = dir.path().join("a/b");
    drop(Store::open(&nested, owner()).unwrap());
    assert_eq!(fs::metadata(&nested).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn incarnations_grow_even_when_the_clock_goes_back() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    assert_eq!(store.next_incarnation(1000).unwrap(), 1000);
    assert_eq!(store.next_incarnation(1000).unwrap(), 1001);
    drop(store);
    let mut store = open(&dir).unwrap();
    assert_eq!(store.next_incarnation(5).unwrap(), 1002);
    assert_eq!(store.next_incarnation(2000).unwrap(), 2000);
}

#[test]
fn incarnations_that_have_run_out_are_an_error_that_says_what_to_do() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    assert_eq!(store.next_incarnation(u64::MAX).unwrap(), u64::MAX);
    let message = store.next_incarnation(7).unwrap_err().to_string();
    assert!(message.contains("incarnation.toml") && message.contains("clock"), "{message}");
}

#[test]
fn a_second_daemon_is_told_the_pid_of_the_first() {
    let dir = Folder::new();
    let _first = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(
        matches!(error, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert!(error.to_string().contains("paths.state"), "{error}");
}

#[test]
fn a_second_consent_is_refused() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    store.store_consent(&configuration(1, &[1, 2])).unwrap();
    store.store_consent(&configuration(1, &[1, 2])).unwrap();
    let error = store.store_consent(&configuration(1, &[2, 3])).unwrap_err();
    assert!(matches!(error, StoreError::ConsentGiven { .. }), "{error}");
    assert_eq!(store.consent(), Some(&configuration(1, &[1, 2])));
}

/// A node could not say such a consent in its Hellos.
#[test]
fn a_consent_to_a_later_configuration_is_damage_and_named() {
    let dir = Folder::new();
    open(&dir).unwrap().store_consent(&configuration(2, &[1, 2])).unwrap();
    let message = open(&dir).unwrap_err().to_string();
    assert!(
        message.contains("consent.toml is damaged: it holds consent to a configuration of epoch 2"),
        "{message}"
    );
}

#[test]
fn a_configuration_is_replaced_only_by_one_of_a_higher_epoch() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    store.store_configuration(&configuration(2, &[1, 2])).unwrap();
    for asked in [configuration(1, &[1, 2]), configuration(2, &[1, 3])] {
        let error = store.store_configuration(&asked).unwrap_err();
        assert!(matches!(error, StoreError::NotNewer { .. }), "{error}");
    }
    store.store_configuration(&configuration(3, &[1, 3])).unwrap();
}

#[test]
fn a_pledge_of_a_lower_ballot_or_an_older_epoch_is_refused() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    for kept in [pledge(1, None), pledge(3, Some(2)), pledge(3, Some(3))] {
        store.store_pledge(&kept).unwrap();
        store.store_pledge(&kept).unwrap();
    }
    let older = Pledge::new(3, Ballot::new(9, 1)).unwrap();
    for broken in [pledge(2, None), pledge(3, Some(2)), pledge(4, None), older] {
        let error = store.store_pledge(&broken).unwrap_err();
        assert!(matches!(error, StoreError::PledgeGiven { .. }), "{error}");
    }
    drop(store);
    let mut store = open(&dir).unwrap();
    assert_eq!(store.pledge(), Some(&pledge(3, Some(3))));
    store.store_pledge(&Pledge::new(5, Ballot::new(1, 1)).unwrap()).unwrap();
}

#[test]
fn a_damaged_pledge_says_how_to_come_back_as_a_new_node() {
    let dir = Folder::new();
    open(&dir).unwrap().store_pledge(&pledge(3, Some(2))).unwrap();
    let path = dir.path().join("pledge.toml");
    let damaged = fs::read_to_string(&path).unwrap().replace("voters = [1, 2]", "voters = [1, 3]");
    fs::write(&path, damaged).unwrap();
    let message = open(&dir).unwrap_err().to_string();
    assert!(message.contains("pledge.toml") && message.contains("whole state directory"), "{message}");
}

#[test]
fn a_file_torn_at_any_length_keeps_the_daemon_from_starting() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    store.next_incarnation(1000).unwrap();
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_configuration(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_pledge(&pledge(3, Some(2))).unwrap();
    drop(store);
    for name in ["incarnation.toml", "consent.toml", "configuration.toml", "pledge.toml"] {
        let path = dir.path().join(name);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let message = open(&dir).unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("remove"), "{length} bytes: {message}");
        }
        fs::write(&path, whole).unwrap();
        open(&dir).unwrap();
    }
}

#[test]
fn a_write_that_was_interrupted_leaves_the_old_content() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    drop(store);
    fs::write(dir.path().join("consent.toml.tmp"), "version = ").unwrap();
    assert_eq!(open(&dir).unwrap().consent(), Some(&configuration(1, &[1, 2, 3])));
}

#[test]
fn garbage_longer_than_any_file_of_ours_is_refused() {
    let dir = Folder::new();
    fs::write(dir.path().join("consent.toml"), vec![b'#'; 200_000]).unwrap();
    assert!(matches!(open(&dir), Err(StoreError::Damaged { .. })));
}

#[test]
fn the_state_of_another_id_or_cluster_is_refused() {
    let dir = Folder::new();
    open(&dir).unwrap().store_consent(&configuration(1, &[2])).unwrap();
    for other in [Owner { node: 3, ..owner() }, Owner { cluster: "core".into(), ..owner() }] {
        let error = Store::open(dir.path(), other.clone()).unwrap_err();
        assert!(matches!(&error, StoreError::OtherOwner { own, .. } if *own == other), "{error}");
    }
    open(&dir).unwrap();
}

#[test]
fn a_node_that_has_consented_to_nothing_may_take_another_id() {
    let dir = Folder::new();
    open(&dir).unwrap().next_incarnation(7).unwrap();
    let mut other = Store::open(dir.path(), Owner { node: 3, ..owner() }).unwrap();
    assert_eq!(other.next_incarnation(1).unwrap(), 8);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_named_in_the_error() {
    let dir = Folder::new();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("state")] {
        let message = Store::open(&path, owner()).unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_write_that_fails_says_where_and_changes_nothing() {
    let dir = Folder::new();
    let mut store = open(&dir).unwrap();
    fs::create_dir(dir.path().join("consent.toml.tmp")).unwrap();
    let message = store.store_consent(&configuration(1, &[1])).unwrap_err().to_string();
    assert!(message.contains("cannot create") && message.contains("consent.toml.tmp"), "{message}");
    assert_eq!(store.consent(), None);
}
