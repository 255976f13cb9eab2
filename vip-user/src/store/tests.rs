//! What the state directory promises, on real files.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use vip_common::lease::Ballot;

use super::*;
use crate::membership::Accepted;

/// A directory of its own for one test, gone afterwards.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("vip-store-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(unique);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&self.0, owner())
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
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
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    assert_eq!((store.consent(), store.configuration(), store.pledge()), (None, None, None));
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_configuration(&configuration(4, &[2, 3, 4])).unwrap();
    store.store_pledge(&pledge(3, Some(2))).unwrap();
    drop(store);

    let store = dir.open().unwrap();
    assert_eq!(store.consent(), Some(&configuration(1, &[1, 2, 3])));
    assert_eq!(store.configuration(), Some(&configuration(4, &[2, 3, 4])));
    assert_eq!(store.pledge(), Some(&pledge(3, Some(2))));
    let Stored { consent, configuration, pledge } = store.stored();
    assert_eq!((&consent, &configuration, &pledge), (&store.consent, &store.configuration, &store.pledge));
}

#[test]
fn missing_directories_are_made_for_the_owner_only() {
    let dir = TempDir::new();
    let nested = dir.0.join("a/b");
    drop(Store::open(&nested, owner()).unwrap());
    assert_eq!(fs::metadata(&nested).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn incarnations_grow_even_when_the_clock_goes_back() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    assert_eq!(store.next_incarnation(1000).unwrap(), 1000);
    assert_eq!(store.next_incarnation(1000).unwrap(), 1001);
    drop(store);
    let mut store = dir.open().unwrap();
    assert_eq!(store.next_incarnation(5).unwrap(), 1002);
    assert_eq!(store.next_incarnation(2000).unwrap(), 2000);
}

#[test]
fn incarnations_that_have_run_out_are_an_error_that_says_what_to_do() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    assert_eq!(store.next_incarnation(u64::MAX).unwrap(), u64::MAX);
    let message = store.next_incarnation(7).unwrap_err().to_string();
    assert!(message.contains("incarnation.toml") && message.contains("clock"), "{message}");
}

#[test]
fn a_second_daemon_is_told_the_pid_of_the_first() {
    let dir = TempDir::new();
    let _first = dir.open().unwrap();
    let error = dir.open().unwrap_err();
    assert!(
        matches!(error, StoreError::InUse { pid: Some(pid), .. } if pid == std::process::id()),
        "{error}"
    );
    assert!(error.to_string().contains("paths.state"), "{error}");
}

#[test]
fn a_second_consent_is_refused() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    store.store_consent(&configuration(1, &[1, 2])).unwrap();
    store.store_consent(&configuration(1, &[1, 2])).unwrap();
    let error = store.store_consent(&configuration(1, &[2, 3])).unwrap_err();
    assert!(matches!(error, StoreError::ConsentGiven { .. }), "{error}");
    assert_eq!(store.consent(), Some(&configuration(1, &[1, 2])));
}

/// A node could not say such a consent in its Hellos.
#[test]
fn a_consent_to_a_later_configuration_is_damage_and_named() {
    let dir = TempDir::new();
    dir.open().unwrap().store_consent(&configuration(2, &[1, 2])).unwrap();
    let message = dir.open().unwrap_err().to_string();
    assert!(
        message.contains("consent.toml is damaged: it holds consent to a configuration of epoch 2"),
        "{message}"
    );
}

#[test]
fn a_configuration_is_replaced_only_by_one_of_a_higher_epoch() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    store.store_configuration(&configuration(2, &[1, 2])).unwrap();
    for asked in [configuration(1, &[1, 2]), configuration(2, &[1, 3])] {
        let error = store.store_configuration(&asked).unwrap_err();
        assert!(matches!(error, StoreError::NotNewer { .. }), "{error}");
    }
    store.store_configuration(&configuration(3, &[1, 3])).unwrap();
}

#[test]
fn a_pledge_of_a_lower_ballot_or_an_older_epoch_is_refused() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
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
    let mut store = dir.open().unwrap();
    assert_eq!(store.pledge(), Some(&pledge(3, Some(3))));
    store.store_pledge(&Pledge::new(5, Ballot::new(1, 1)).unwrap()).unwrap();
}

#[test]
fn a_damaged_pledge_says_how_to_come_back_as_a_new_node() {
    let dir = TempDir::new();
    dir.open().unwrap().store_pledge(&pledge(3, Some(2))).unwrap();
    let path = dir.0.join("pledge.toml");
    let damaged = fs::read_to_string(&path).unwrap().replace("voters = [1, 2]", "voters = [1, 3]");
    fs::write(&path, damaged).unwrap();
    let message = dir.open().unwrap_err().to_string();
    assert!(message.contains("pledge.toml") && message.contains("whole state directory"), "{message}");
}

#[test]
fn a_file_torn_at_any_length_keeps_the_daemon_from_starting() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    store.next_incarnation(1000).unwrap();
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_configuration(&configuration(1, &[1, 2, 3])).unwrap();
    store.store_pledge(&pledge(3, Some(2))).unwrap();
    drop(store);
    for name in ["incarnation.toml", "consent.toml", "configuration.toml", "pledge.toml"] {
        let path = dir.0.join(name);
        let whole = fs::read(&path).unwrap();
        for length in 0..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            let message = dir.open().unwrap_err().to_string();
            assert!(message.contains(name) && message.contains("remove"), "{length} bytes: {message}");
        }
        fs::write(&path, whole).unwrap();
        dir.open().unwrap();
    }
}

#[test]
fn a_write_that_was_interrupted_leaves_the_old_content() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    store.store_consent(&configuration(1, &[1, 2, 3])).unwrap();
    drop(store);
    fs::write(dir.0.join("consent.toml.tmp"), "version = ").unwrap();
    assert_eq!(dir.open().unwrap().consent(), Some(&configuration(1, &[1, 2, 3])));
}

#[test]
fn garbage_longer_than_any_file_of_ours_is_refused() {
    let dir = TempDir::new();
    fs::write(dir.0.join("consent.toml"), vec![b'#'; 200_000]).unwrap();
    assert!(matches!(dir.open(), Err(StoreError::Damaged { .. })));
}

#[test]
fn the_state_of_another_id_or_cluster_is_refused() {
    let dir = TempDir::new();
    dir.open().unwrap().store_consent(&configuration(1, &[2])).unwrap();
    for other in [Owner { node: 3, ..owner() }, Owner { cluster: "core".into(), ..owner() }] {
        let error = Store::open(&dir.0, other.clone()).unwrap_err();
        assert!(matches!(&error, StoreError::OtherOwner { own, .. } if *own == other), "{error}");
    }
    dir.open().unwrap();
}

#[test]
fn a_node_that_has_consented_to_nothing_may_take_another_id() {
    let dir = TempDir::new();
    dir.open().unwrap().next_incarnation(7).unwrap();
    let mut other = Store::open(&dir.0, Owner { node: 3, ..owner() }).unwrap();
    assert_eq!(other.next_incarnation(1).unwrap(), 8);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_named_in_the_error() {
    let dir = TempDir::new();
    let file = dir.0.join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("state")] {
        let message = Store::open(&path, owner()).unwrap_err().to_string();
        assert!(message.contains(file.to_str().unwrap()), "{message}");
    }
}

#[test]
fn a_write_that_fails_says_where_and_changes_nothing() {
    let dir = TempDir::new();
    let mut store = dir.open().unwrap();
    fs::create_dir(dir.0.join("consent.toml.tmp")).unwrap();
    let message = store.store_consent(&configuration(1, &[1])).unwrap_err().to_string();
    assert!(message.contains("cannot create") && message.contains("consent.toml.tmp"), "{message}");
    assert_eq!(store.consent(), None);
}
