//! Tests: a backup is whole or does not exist, damage to it is found, and a node can be made from
//! it.

use std::{fs, path::Path, sync::Arc};

use portcullis_protocol::{
    digest::Digest,
    keys::{KeyUse, SigningKey},
};

use super::{
    manifest::MANIFEST_FILE,
    signature::{SIGNATURE_FILE, Vouched},
    *,
};
use portcullis_home::{
    Home,
    files::{self, Access},
    keyring::Keyring,
    secret::KeySource,
};
use portcullis_store::Store as _;
use portcullis_store_sqlite::{Snapshot, SqliteStore};
use portcullis_testbed::NOW;

fn pin() -> Digest {
    Digest::labelled("pin", &[])
}

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
    let keyring = Keyring::create(&home, &KeySource::PassphraseFile(passphrase.clone())).unwrap();
    for folder in [
        home.data(),
        home.policy(),
        home.register(),
        home.revocation_lists(),
    ] {
        files::create_folder(&folder).unwrap();
    }
    SqliteStore::create(&home.data(), keyring.store.bytes()).unwrap();
    files::create_folder(home.certificate().parent().unwrap()).unwrap();
    fs::write(home.certificate_request(), "a request\n").unwrap();
    let config = format!(
        "federation = \"ports\"\nauthority = \"be-customs\"\nnode = \"antwerp\"\n\
         dns_name = \"antwerp.example\"\nlisten = \"127.0.0.1:7443\"\nregister_pin = \"{}\"\n\
         [key]\npassphrase_file = \"{}\"\n",
        pin(),
        passphrase.display()
    );
    fs::write(home.config(), config).unwrap();
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

    fn order(&self, to: &str, keys_to: &str) -> Order {
        Order {
            home: self.home.clone(),
            to: self.path(to),
            keys_to: self.path(keys_to),
            key: Arc::clone(&self.keyring.log),
            now: NOW,
            act: None,
        }
    }

    fn back_up(&self, to: &str, keys_to: &str) -> Result<BackupMade, BackupError> {
        let order = self.order(to, keys_to);
        let data = self.home.data();
        take(&order, || Snapshot::of_folder(&data), &mut |_| {})
    }

    fn verify(&self, from: &str, keys: &str) -> Result<Checked, BackupError> {
        self.verify_pinned(from, keys, None)
    }

    fn verify_pinned(
        &self,
        from: &str,
        keys: &str,
        pin: Option<&Digest>,
    ) -> Result<Checked, BackupError> {
        let which = Which {
            from: &self.path(from),
            keys: Some(&self.path(keys)),
            pin,
        };
        verify(which, &mut |_| {})
    }

    fn restore(&self, from: &str, keys: &str, home: &Home) -> Result<Checked, BackupError> {
        let order = Restoring {
            from: self.path(from),
            keys: self.path(keys),
            pin: None,
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

/// An act whose node was killed before the end was logged failed when it was sent again, and the log
/// said that no backup was made.
#[test]
fn an_act_finds_the_backup_that_it_made_and_no_other_ones() {
    let bed = bed();
    let take_for = |act: &[u8], to: &str| {
        let order = Order {
            act: Some(Digest::labelled("an act", &[act])),
            ..bed.order(to, &format!("{to}-keys"))
        };
        let data = bed.home.data();
        take(&order, || Snapshot::of_folder(&data), &mut |_| {})
    };
    let made = take_for(b"one", "copy").unwrap();
    assert_eq!(take_for(b"one", "copy").unwrap(), made);
    let present = take_for(b"two", "copy").unwrap_err();
    assert!(matches!(present, BackupError::Exists(_)), "{present}");
    // What was changed since is not what the act made.
    fs::write(bed.path("copy").join("data/store.db"), b"other").unwrap();
    let damaged = take_for(b"one", "copy").unwrap_err();
    assert!(matches!(damaged, BackupError::Damaged(_)), "{damaged}");
    // A half of one is no backup.
    let half = take_for(b"three", "half").unwrap();
    fs::remove_dir_all(bed.path("half")).unwrap();
    assert!(take_for(b"three", "half").is_err());
    assert_ne!(half, made);
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
    let before = SqliteStore::open(&bed.home.data(), bed.keyring.store.bytes())
        .unwrap()
        .generation()
        .unwrap();
    let home = Home::new(bed.path("again"));
    bed.restore("data", "keys", &home).unwrap();
    let store = SqliteStore::open(&home.data(), bed.keyring.store.bytes()).unwrap();
    assert_eq!(store.restored_from().unwrap(), Some(NOW));
    assert_eq!(store.generation().unwrap(), before);
    for file in ["portcullis.toml", "keys/node.keys", "policy/own.cedar"] {
        let read = |home: &Home| fs::read(home.folder().join(file)).unwrap();
        assert_eq!(read(&home), read(&bed.home), "{file}");
    }
    // The original is not marked as restored.
    let original = SqliteStore::open(&bed.home.data(), bed.keyring.store.bytes()).unwrap();
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
fn what_a_killed_backup_left_is_no_backup_no_obstacle_and_not_touched() {
    let bed = bed();
    let remnant = bed.path(".data.0123.unfinished");
    files::create_folder(&remnant.join("data")).unwrap();
    fs::write(remnant.join("data").join("store.db"), b"half").unwrap();
    fs::write(remnant.join(MANIFEST_FILE), b"{}").unwrap();
    bed.back_up("data", "keys").unwrap();
    bed.verify("data", "keys").unwrap();
    let left = fs::read(remnant.join("data").join("store.db")).unwrap();
    assert_eq!(left, b"half");
}

/// Returns the names in a folder whose names begin with a dot.
fn hidden(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with('.')).collect()
}

fn precious(bed: &Bed) -> PathBuf {
    let precious = bed.path("precious");
    files::create_folder(&precious).unwrap();
    fs::write(precious.join("letter"), b"the only copy").unwrap();
    precious
}

#[track_caller]
fn is_whole(precious: &Path) {
    let names: Vec<_> = files::list_all(precious).unwrap();
    assert_eq!(names, [precious.join("letter")]);
    assert_eq!(fs::read(&names[0]).unwrap(), b"the only copy");
}

/// Attack HH1, M8: a link at a foreseeable name led a backup, or a restore, into a folder that it
/// then emptied.
#[test]
fn a_link_planted_beside_the_target_is_not_followed() {
    let bed = bed();
    let precious = precious(&bed);
    for name in [".data.unfinished", ".keys.unfinished", ".again.unfinished"] {
        std::os::unix::fs::symlink(&precious, bed.path(name)).unwrap();
    }
    bed.back_up("data", "keys").unwrap();
    is_whole(&precious);
    let home = Home::new(bed.path("again"));
    bed.restore("data", "keys", &home).unwrap();
    is_whole(&precious);
    let is_link = |path: PathBuf| fs::symlink_metadata(path).unwrap().is_symlink();
    assert!(
        ![bed.path("data"), bed.path("keys"), bed.path("again")]
            .map(is_link)
            .contains(&true)
    );
    assert_eq!(
        hidden(bed.folder.path()).len(),
        3,
        "nothing unfinished is left"
    );
}

/// Attack HH1: the folder is exchanged for a link while it is written.
#[test]
fn a_folder_that_is_exchanged_while_it_is_written_gets_no_name_and_loses_nothing() {
    for phase in [Phase::Checking, Phase::Digesting] {
        let taken = exchanged_at(phase);
        let told = matches!(taken, Err(BackupError::Replaced(_)));
        // The copies may be missed when they are read, before the folder is looked at.
        let missed = matches!(taken, Err(BackupError::Store(StoreError::File { .. })));
        assert!(told || missed, "{taken:?}");
    }
}

fn exchanged_at(phase: Phase) -> Result<BackupMade, BackupError> {
    let bed = bed();
    let precious = precious(&bed);
    let exchange = |name: &str| {
        let folder = bed.folder.path();
        let begins = format!(".{name}.");
        let unfinished = hidden(folder)
            .into_iter()
            .find(|one| one.starts_with(&begins));
        let Some(unfinished) = unfinished else { return };
        fs::rename(folder.join(&unfinished), folder.join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(&precious, folder.join(unfinished)).unwrap();
    };
    let order = bed.order("data", "keys");
    let data = bed.home.data();
    let mut is_done = false;
    let taken = take(&order, || Snapshot::of_folder(&data), &mut |progress| {
        if progress.phase == phase && !is_done {
            is_done = true;
            exchange("data");
        }
    });
    assert!(is_done);
    is_whole(&precious);
    assert!(!bed.path("data").exists() && !bed.path("keys").exists());
    taken
}

/// Attack HH1: what the target's path leads to is compared with the home, and it is this path that
/// is written to, wherever a link in it leads by then.
#[test]
fn a_link_on_the_way_to_the_target_leads_into_no_home() {
    let bed = bed();
    std::os::unix::fs::symlink(bed.home.data(), bed.path("way")).unwrap();
    let within = bed.back_up("way/backup", "keys");
    assert!(matches!(within, Err(BackupError::InHome(_))), "{within:?}");
    fs::remove_file(bed.path("way")).unwrap();
    files::create_folder(&bed.path("shared")).unwrap();
    std::os::unix::fs::symlink(bed.path("shared"), bed.path("way")).unwrap();
    let order = bed.order("way/backup", "keys");
    let data = bed.home.data();
    let turned = || {
        fs::remove_file(bed.path("way")).unwrap();
        std::os::unix::fs::symlink(&data, bed.path("way")).unwrap();
        Snapshot::of_folder(&data)
    };
    take(&order, turned, &mut |_| {}).unwrap();
    assert!(bed.path("shared/backup").join(MANIFEST_FILE).exists());
    assert!(!data.join("backup").exists());
}

#[test]
fn of_two_backups_to_one_place_the_second_is_refused_and_leaves_nothing() {
    let bed = bed();
    let order = bed.order("data", "keys");
    let data = bed.home.data();
    let overtaken = || {
        bed.back_up("data", "other").unwrap();
        Snapshot::of_folder(&data)
    };
    let late = take(&order, overtaken, &mut |_| {});
    assert!(matches!(late, Err(BackupError::Exists(_))), "{late:?}");
    bed.verify("data", "other").unwrap();
    assert_eq!(hidden(bed.folder.path()), Vec::<String>::new());
}

/// Attack HH1: a backup that others could write to names files elsewhere by links.
#[test]
fn a_link_in_a_backup_is_not_read() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let file = bed.path("data/policy/own.cedar");
    let elsewhere = bed.path("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    let found = bed.verify("data", "keys");
    assert!(found.is_err(), "{found:?}");
    let home = Home::new(bed.path("again"));
    assert!(bed.restore("data", "keys", &home).is_err());
    assert!(!home.folder().exists());
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

#[track_caller]
fn forged(bed: &Bed, from: &str, keys: &str, why: &str) {
    let home = Home::new(bed.path("again"));
    for found in [bed.verify(from, keys), bed.restore(from, keys, &home)] {
        let Err(error @ BackupError::Forged { .. }) = found else {
            panic!("{found:?}");
        };
        assert!(error.to_string().contains(why), "{error}");
    }
    assert!(!home.folder().exists());
}

#[test]
fn a_backup_is_signed_by_the_nodes_log_key_which_the_keys_bear_out() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let signed = bed.verify("data", "keys").unwrap().signed;
    assert_eq!(signed.key, bed.keyring.log.id().to_string());
    assert_eq!(
        (signed.vouched, signed.pin),
        (Vouched::Keys, pin().to_string())
    );
    let data = bed.path("data");
    let alone = Which {
        from: &data,
        keys: None,
        pin: None,
    };
    let alone = verify(alone, &mut |_| {}).unwrap();
    assert_eq!(alone.signed.vouched, Vouched::Nobody);
}

#[test]
fn a_manifest_that_was_changed_is_not_what_the_node_signed() {
    let bed = bed();
    let taken = bed.back_up("data", "keys").unwrap();
    let path = bed.path("data").join(MANIFEST_FILE);
    let text = fs::read_to_string(&path).unwrap();
    let policy = taken
        .data
        .files
        .iter()
        .find(|one| one.path.contains("policy"));
    for (word, other) in [
        (taken.data.made_at.as_str(), "2031-01-01T00:00:00Z"),
        ("\"register_epoch\": 0", "\"register_epoch\": 7"),
        (policy.unwrap().sha256.as_str(), &"0".repeat(64)),
        ("}\n", "}\n\n"),
    ] {
        let changed = text.replace(word, other);
        assert_ne!(changed, text, "{word}");
        fs::write(&path, changed).unwrap();
        forged(&bed, "data", "keys", "not what the node signed");
    }
    fs::write(&path, text).unwrap();
    bed.verify("data", "keys").unwrap();
}

#[test]
fn what_nobody_or_another_key_signed_is_refused() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    let folder = bed.path("data");
    let manifest = fs::read(folder.join(MANIFEST_FILE)).unwrap();
    let stranger = SigningKey::from_seed(KeyUse::Log, [9; 32]);
    let signature = signature::sign(&manifest, &stranger).unwrap();
    fs::write(folder.join(SIGNATURE_FILE), signature).unwrap();
    forged(&bed, "data", "keys", "another key");
    fs::write(folder.join(SIGNATURE_FILE), "{}").unwrap();
    forged(&bed, "data", "keys", "cannot be read");
    fs::remove_file(folder.join(SIGNATURE_FILE)).unwrap();
    forged(&bed, "data", "keys", "not signed");
    // A key of another use signs no backup.
    let hop = SigningKey::from_seed(KeyUse::Hop, [9; 32]);
    let unsigned = signature::sign(&manifest, &hop);
    assert!(matches!(unsigned, Err(BackupError::Unwritable(_))));
}

#[test]
fn files_and_manifests_of_two_backups_do_not_go_together() {
    let bed = bed();
    bed.back_up("monday", "monday-keys").unwrap();
    fs::write(bed.home.policy().join("own.cedar"), "// another day\n").unwrap();
    bed.back_up("tuesday", "tuesday-keys").unwrap();
    let copy = |file: &str, from: &str, to: &str| {
        fs::copy(bed.path(from).join(file), bed.path(to).join(file)).unwrap();
    };
    let damaged = |from: &str, keys: &str| {
        let found = bed.verify(from, keys);
        assert!(matches!(found, Err(BackupError::Damaged(_))), "{found:?}");
    };
    copy("policy/own.cedar", "monday", "tuesday");
    damaged("tuesday", "tuesday-keys");
    // The older manifest, with its signature or without, and newer files.
    copy(MANIFEST_FILE, "tuesday", "monday");
    forged(&bed, "monday", "tuesday-keys", "not what the node signed");
    copy(SIGNATURE_FILE, "tuesday", "monday");
    fs::write(
        bed.path("monday").join("policy/own.cedar"),
        "// nothing yet\n",
    )
    .unwrap();
    damaged("monday", "tuesday-keys");
    let found = bed.verify("monday", "monday-keys");
    assert!(matches!(found, Err(BackupError::Mismatch(..))), "{found:?}");
}

#[test]
fn the_register_must_begin_where_the_operator_says() {
    let bed = bed();
    bed.back_up("data", "keys").unwrap();
    bed.verify("data", "keys").unwrap();
    let refused = |pin: &Digest, why: &str| {
        let found = bed.verify_pinned("data", "keys", Some(pin));
        let Err(BackupError::Forged { why: said, .. }) = &found else {
            panic!("{found:?}");
        };
        assert!(said.contains(why), "{said}");
    };
    refused(
        &Digest::labelled("another federation", &[]),
        "another epoch",
    );
    // The pin is only a text in the folder: without epochs that begin with it, it confirms nothing.
    refused(&pin(), "lists no log key of the node");
}

#[test]
fn a_target_that_ends_in_the_folder_above_is_refused_with_its_name() {
    let bed = bed();
    for (to, keys) in [("x/..", "keys"), ("data", "x/.."), ("data", "..")] {
        let found = bed.back_up(to, keys);
        assert!(matches!(found, Err(BackupError::Nameless(_))), "{found:?}");
    }
    bed.back_up("data", "keys").unwrap();
    let home = Home::new(bed.path("x/.."));
    let found = bed.restore("data", "keys", &home);
    assert!(matches!(found, Err(BackupError::Nameless(_))), "{found:?}");
}
