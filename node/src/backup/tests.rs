//! A backup is whole or not there, is found damaged when it is, and makes a node again.

use std::{fs, path::Path};

use super::{manifest::MANIFEST_FILE, *};
use crate::{
    files::{self, Access},
    home::Home,
    keyring::Keyring,
    secret::KeySource,
    setup::{NewNode, init},
    store::{Snapshot, SqliteStore, Store as _},
    testbed::NOW,
};

struct Bed {
    folder: tempfile::TempDir,
    home: Home,
    keyring: Keyring,
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    // Within the home, where an operator may have put it.
    let passphrase = home.folder().join("keys").join("passphrase");
    files::create_folder(passphrase.parent().unwrap()).unwrap();
    files::create(&passphrase, b"four words in a row", Access::Owner).unwrap();
    let node = NewNode {
        federation: "ports".parse().unwrap(),
        authority: "be-customs".parse().unwrap(),
        node: "antwerp".parse().unwrap(),
        dns_name: "antwerp.example".parse().unwrap(),
        listen: "127.0.0.1:7443".parse().unwrap(),
        register_pin: portcullis_protocol::digest::Digest::labelled("pin", &[]),
        key: KeySource::PassphraseFile(passphrase),
        metrics: None,
    };
    let keyring = init(&home, &node).unwrap();
    fs::write(home.policy().join("own.cedar"), "// nothing yet\n").unwrap();
    Bed {
        folder,
        home,
        keyring,
    }
}

impl Bed {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn back_up(&self, to: &str, keys_to: &str) -> Result<Taken, BackupError> {
        let order = Order {
            home: self.home.clone(),
            to: self.path(to),
            keys_to: self.path(keys_to),
            now: NOW,
        };
        let data = self.home.data();
        take(&order, || Snapshot::of_folder(&data), &mut |_| {})
    }

    fn verify(&self, from: &str, keys: &str) -> Result<Checked, BackupError> {
        verify(&self.path(from), Some(&self.path(keys)), &mut |_| {})
    }

    fn restore(&self, from: &str, keys: &str, home: &Home) -> Result<Checked, BackupError> {
        let order = Restoring {
            from: self.path(from),
            keys: self.path(keys),
            home: home.clone(),
        };
        restore(&order, &mut |_| {})
    }
}

fn names(folder: &Path) -> Vec<String> {
    let names = files::list_all(folder).unwrap();
    names
        .iter()
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect()
}

#[test]
fn a_backup_keeps_keys_apart_and_takes_no_passphrase() {
    let bed = bed();
    let taken = bed.back_up("data", "keys").unwrap();
    let paths = |manifest: &manifest::Manifest| {
        let files = manifest.files.iter();
        files.map(|file| file.path.clone()).collect::<Vec<_>>()
    };
    assert_eq!(
        paths(&taken.data),
        [
            "data/store.db",
            "policy/own.cedar",
            "portcullis.toml",
            "tls/csr.pem"
        ]
    );
    assert_eq!(paths(&taken.keys), ["data/keys.db", "keys/node.keys"]);
    assert_eq!(names(&bed.path("keys").join("keys")), ["node.keys"]);
    assert!(!bed.path("data").join("keys").exists());
    assert_eq!(bed.verify("data", "keys").unwrap().data, taken.data);
    // Nothing is left beside the two folders.
    assert_eq!(names(bed.folder.path()), ["data", "home", "keys"]);
    assert_eq!(files::mode(&bed.path("data")).unwrap(), 0o700);
}

#[test]
fn a_restored_home_is_the_node_again_and_says_that_it_was_restored() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let before = SqliteStore::open(&bed.home.data(), &bed.keyring.store)
        .unwrap()
        .generation()
        .unwrap();
    let home = Home::new(bed.path("again"));
    bed.restore("data", "keys", &home).unwrap();
    let store = SqliteStore::open(&home.data(), &bed.keyring.store).unwrap();
    assert_eq!(store.restored_from().unwrap(), Some(NOW));
    assert_eq!(store.generation().unwrap(), before);
    for file in ["portcullis.toml", "keys/node.keys", "policy/own.cedar"] {
        let read = |home: &Home| fs::read(home.folder().join(file)).unwrap();
        assert_eq!(read(&home), read(&bed.home), "{file}");
    }
    // The original knows of no restore.
    let original = SqliteStore::open(&bed.home.data(), &bed.keyring.store).unwrap();
    assert_eq!(original.restored_from().unwrap(), None);
    let again = bed.restore("data", "keys", &home);
    assert!(matches!(again, Err(BackupError::Exists(_))), "{again:?}");
}

#[test]
fn any_file_that_was_changed_cut_or_removed_is_found_and_nothing_is_restored() {
    let bed = bed();
    let taken = bed.back_up("data", "keys").unwrap();
    let home = Home::new(bed.path("again"));
    let files = |part: &str, manifest: &manifest::Manifest| {
        let files = manifest.files.clone().into_iter();
        let folder = bed.path(part);
        files
            .map(move |file| folder.join(file.path))
            .collect::<Vec<_>>()
    };
    let mut all = files("data", &taken.data);
    all.extend(files("keys", &taken.keys));
    for path in all {
        let whole = fs::read(&path).unwrap();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for wrong in [Some(flipped), Some(whole[1..].to_vec()), None] {
            match wrong {
                Some(bytes) => fs::write(&path, bytes).unwrap(),
                None => fs::remove_file(&path).unwrap(),
            }
            let found = bed.verify("data", "keys");
            assert!(matches!(found, Err(BackupError::Damaged(_))), "{found:?}");
            let restored = bed.restore("data", "keys", &home);
            assert!(matches!(restored, Err(BackupError::Damaged(_))));
            assert!(!home.folder().exists());
        }
        fs::write(&path, whole).unwrap();
    }
    bed.verify("data", "keys").unwrap();
}

#[test]
fn keys_of_another_backup_are_refused() {
    let bed = bed();
    bed.back_up("monday", "monday-keys").unwrap();
    bed.back_up("tuesday", "tuesday-keys").unwrap();
    let home = Home::new(bed.path("again"));
    for found in [
        bed.verify("monday", "tuesday-keys"),
        bed.restore("monday", "tuesday-keys", &home),
    ] {
        assert!(matches!(found, Err(BackupError::Mismatch(..))), "{found:?}");
    }
    let swapped = bed.verify("monday-keys", "monday");
    assert!(matches!(swapped, Err(BackupError::Manifest { .. })));
    assert!(!home.folder().exists());
}

#[test]
fn targets_that_are_there_go_together_or_lie_in_the_home_are_refused() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let exists = |result| matches!(result, Err(BackupError::Exists(_)));
    assert!(exists(bed.back_up("data", "other")));
    assert!(exists(bed.back_up("other", "keys")));
    assert!(!bed.path("other").exists());
    for (to, keys) in [("new", "new"), ("new", "new/keys"), ("new/data", "new")] {
        let together = bed.back_up(to, keys);
        assert!(matches!(together, Err(BackupError::Together(..))), "{to}");
    }
    std::os::unix::fs::symlink(bed.folder.path(), bed.path("link")).unwrap();
    let linked = bed.back_up("new", "link/new");
    assert!(matches!(linked, Err(BackupError::Together(..))));
    let within = bed.back_up("home/backup", "new");
    assert!(matches!(within, Err(BackupError::InHome(_))), "{within:?}");
    assert!(!bed.path("new").exists());
}

#[test]
fn what_a_killed_backup_left_is_no_backup_and_no_obstacle() {
    let bed = bed();
    let remnant = bed.path(".data.unfinished");
    files::create_folder(&remnant.join("data")).unwrap();
    fs::write(remnant.join("data").join("store.db"), b"half").unwrap();
    fs::write(remnant.join(MANIFEST_FILE), b"{}").unwrap();
    bed.back_up("data", "keys").unwrap();
    bed.verify("data", "keys").unwrap();
    assert!(!remnant.exists());
}

#[test]
fn a_manifest_that_leads_out_of_its_folder_is_refused() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let path = bed.path("data").join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    for elsewhere in ["../policy/own.cedar", "/etc/passwd", ""] {
        fs::write(&path, text.replace("policy/own.cedar", elsewhere)).unwrap();
        let found = bed.verify("data", "keys");
        assert!(
            matches!(found, Err(BackupError::Manifest { .. })),
            "{elsewhere}"
        );
    }
}
