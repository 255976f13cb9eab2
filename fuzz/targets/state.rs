//! Files of the state directory: as something may have left them, and with a checksum that is right.
//!
//! The first byte of the input tells which file the rest is put into, "0" to "3".
//!
//! Promised: a file that cannot be used is named, and stays as it is. What is in one that can be, is of this node and
//! cluster, is found again, can be stored and found elsewhere, and a node can start from it. Incarnations grow.

#![no_main]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use vip_fuzz::{assert_plain, directory, identity};
use vip_user::exit::Failure;
use vip_user::membership::Membership;
use vip_user::store::{Owner, Store, StoreError};

const FILES: [&str; 4] = ["incarnation.toml", "consent.toml", "configuration.toml", "pledge.toml"];

/// Where the input is put.
static FOUND: LazyLock<PathBuf> = LazyLock::new(|| directory().join("found"));
/// Where what was read from it is written again.
static WRITTEN: LazyLock<PathBuf> = LazyLock::new(|| directory().join("written"));

fuzz_target!(|input: &[u8]| {
    let Some((which, text)) = input.split_first() else { return };
    let name = FILES[usize::from(*which) % FILES.len()];
    let path = FOUND.join(name);
    for content in [text.to_vec(), sealed(text)] {
        fs::create_dir(&*FOUND).expect("a directory");
        fs::write(&path, &content).expect("a file");
        match open(&FOUND) {
            Ok(store) => is_usable(store),
            Err(error) => {
                let failure = Failure::refused(error.to_string());
                assert!(failure.message.contains(&path.display().to_string()), "{failure}");
                assert_plain(&failure.message);
                assert_eq!(fs::read(&path).expect("the file"), content);
            }
        }
        fs::remove_dir_all(&*FOUND).expect("the directory");
    }
});

fn open(directory: &Path) -> Result<Store, StoreError> {
    Store::open(directory, Owner { cluster: "edge".into(), node: 7 })
}

fn is_usable(mut store: Store) {
    let stored = store.stored();
    Membership::new(identity(7, 1), stored.clone(), 0).expect("a node that can say where it stands");

    let incarnation = store.next_incarnation(0).ok();
    drop(store);
    let mut store = open(&FOUND).expect("as before");
    assert_eq!(format!("{:?}", store.stored()), format!("{stored:?}"));
    if let Some(incarnation) = incarnation.filter(|incarnation| *incarnation < u64::MAX) {
        assert_eq!(store.next_incarnation(0).expect("a greater one"), incarnation + 1);
    }

    let mut copy = open(&WRITTEN).expect("a directory without state");
    stored.consent.as_ref().map_or(Ok(()), |consent| copy.store_consent(consent)).expect("a first consent");
    stored
        .configuration
        .as_ref()
        .map_or(Ok(()), |it| copy.store_configuration(it))
        .expect("a first configuration");
    stored.pledge.as_ref().map_or(Ok(()), |pledge| copy.store_pledge(pledge)).expect("a first pledge");
    drop(copy);
    let copy = open(&WRITTEN).expect("what was just written");
    assert_eq!(format!("{:?}", copy.stored()), format!("{stored:?}"));
    fs::remove_dir_all(&*WRITTEN).expect("the directory");
}

fn sealed(text: &[u8]) -> Vec<u8> {
    [text, format!("# crc32 {:08x}\n", crc32(text)).as_bytes()].concat()
}

/// CRC-32 as in IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}
