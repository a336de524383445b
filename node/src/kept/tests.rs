//! Tests of the binding of a store to the node's keys: from keys of every earlier format, killed
//! anywhere, and with older keys put back.

use std::{fs, path::Path};

use portcullis_home::{
    files::{self, Access},
    keyring::{Accepted, Binding as KeysBinding, SealedFacts},
    secret,
};

use super::*;

/// Places of the parts of an opened file of keys (`keyring/content.rs`).
const SEEDS_END: usize = 1 + 5 * 32;
const BINDING_END: usize = SEEDS_END + 33;

struct Bed {
    folder: tempfile::TempDir,
    home: Home,
    source: KeySource,
}

/// Makes a home as an earlier version left it, with keys of this format.
fn earlier(format: u8) -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    for place in [home.keys().parent().unwrap(), &home.data()] {
        files::create_folder(place).unwrap();
    }
    let passphrase = folder.path().join("passphrase");
    files::create(&passphrase, b"four words in a row", Access::Owner).unwrap();
    let source = KeySource::PassphraseFile(passphrase);
    let keyring = Keyring::create(&home, &source).unwrap();
    SqliteStore::create(&home.data(), keyring.store.bytes()).unwrap();
    let bed = Bed {
        folder,
        home,
        source,
    };
    let content = bed.content();
    let (seeds, rest) = (&content[1..SEEDS_END], &content[BINDING_END..]);
    let length = u32::from_be_bytes(*rest.first_chunk().unwrap()) as usize;
    let (json, tls) = rest[4..].split_at(length);
    let short = u16::try_from(length).unwrap().to_be_bytes();
    let facts: Vec<u8> = match format {
        1 => Vec::new(),
        2 => [&short, json].concat(),
        _ => rest[..4 + length].to_vec(),
    };
    bed.write(&[&[format], seeds, &facts, tls].concat());
    bed
}

impl Bed {
    fn content(&self) -> Vec<u8> {
        let text = fs::read_to_string(self.home.keys()).unwrap();
        let passphrase = self.source.read().unwrap();
        secret::open(&passphrase, "node keys", &text)
            .unwrap()
            .to_vec()
    }

    fn write(&self, content: &[u8]) {
        let passphrase = self.source.read().unwrap();
        let text = secret::seal(&passphrase, "node keys", None, content).unwrap();
        files::replace(&self.home.keys(), text.as_bytes(), Access::Owner).unwrap();
    }

    fn keyring(&self) -> Keyring {
        Keyring::load(&self.home, &self.source).unwrap()
    }

    fn accept(&self, serial: u64) {
        let facts = SealedFacts {
            accepted: Some(Accepted {
                serial,
                ..Accepted::default()
            }),
            ..self.keyring().facts().clone()
        };
        Keyring::seal_facts(&self.home, &self.source, &facts).unwrap();
    }

    /// Starts a node's store and stops it. Returns whether it is bound.
    fn start(&self) -> Result<bool, OpenError> {
        let Opened { keyring, store, .. } = open_to_run(&self.home, &self.source, self.keyring())?;
        drop(store);
        assert!(look(&self.home, &keyring).is_ok());
        Ok(matches!(keyring.store.binding(), KeysBinding::Bound(_)))
    }

    fn step(&self, step: BindingStep) {
        Keyring::step_binding(&self.home, &self.source, step).unwrap();
    }

    fn copied(&self) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        for place in ["keys", "data"] {
            let (from, to) = (self.home.folder().join(place), home.folder().join(place));
            files::create_folder(&to).unwrap();
            copy_all(&from, &to);
        }
        Self {
            source: self.source.clone(),
            folder,
            home,
        }
    }
}

fn copy_all(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

fn is_older<T>(opened: Result<T, OpenError>) -> bool {
    matches!(opened, Err(OpenError::Store(StoreError::OlderKeys)))
}

/// Finding F3: keys of format 1 and 2 know of no acceptance. Put back, they had everything adopted
/// anew.
#[test]
fn older_keys_of_every_format_no_longer_open_a_store_whose_settings_were_accepted() {
    for format in 1..=3 {
        let bed = earlier(format);
        let older = fs::read(bed.home.keys()).unwrap();
        let backup = bed.copied();
        assert!(!bed.start().unwrap(), "nobody has accepted anything yet");
        bed.accept(1);
        let accepted = fs::read(bed.home.keys()).unwrap();
        assert!(bed.start().unwrap());
        let newest = fs::read(bed.home.keys()).unwrap();
        // Those of format 1 and 2 know of no acceptance, those of format 3 of this one.
        let put_back = if format == 3 { &accepted } else { &older };
        fs::write(bed.home.keys(), put_back).unwrap();
        assert!(is_older(bed.start()), "format {format}");
        let looked = look(&bed.home, &bed.keyring());
        assert!(matches!(looked, Err(StoreError::OlderKeys)));
        assert_eq!(fs::read(bed.home.keys()).unwrap(), *put_back);
        fs::write(bed.home.keys(), &newest).unwrap();
        assert!(bed.start().unwrap());
        // A whole backup of before the acceptance opens as it did, and is bound once it is accepted.
        assert!(!backup.start().unwrap());
        backup.accept(1);
        assert!(backup.start().unwrap());
        assert!(backup.folder.path().exists());
    }
}

/// Finding F3: every point at which the start that binds can be killed.
#[test]
fn a_start_that_is_killed_while_it_binds_goes_on_at_the_next() {
    let bed = earlier(3);
    bed.accept(1);
    // A secret is kept, and nothing is bound to it.
    bed.step(BindingStep::Begin);
    let begun = bed.copied();
    assert!(begun.start().unwrap());
    // The key table is bound, and the keys do not say so.
    drop(open(&bed.home, &bed.keyring()).unwrap());
    assert!(matches!(
        bed.keyring().store.binding(),
        KeysBinding::Begun(_)
    ));
    // A backup of that moment has both parts of it.
    let backup = bed.copied();
    assert!(bed.start().unwrap());
    assert!(backup.start().unwrap());
    assert!(bed.start().unwrap());
}

/// Keys that cannot be written kept a node from its work, with no way back to the version before.
#[test]
fn a_store_that_cannot_be_bound_opens_as_it_was_and_is_bound_later() {
    let bed = earlier(3);
    bed.accept(1);
    let keyring = bed.keyring();
    let KeySource::PassphraseFile(file) = &bed.source else {
        panic!("the passphrase lies in a file");
    };
    let passphrase = fs::read(file).unwrap();
    fs::remove_file(file).unwrap();
    let opened = open_to_run(&bed.home, &bed.source, keyring).unwrap();
    assert!(opened.unbound.is_some());
    drop(opened);
    files::create(file, &passphrase, files::Access::Owner).unwrap();
    assert!(bed.start().unwrap());
}

/// A store that cannot be opened is not bound: the keys stay as they are.
#[test]
fn a_store_that_does_not_open_leaves_the_keys_as_they_are() {
    let bed = earlier(3);
    bed.accept(1);
    let before = fs::read(bed.home.keys()).unwrap();
    fs::remove_file(bed.home.data().join("store.db")).unwrap();
    assert!(bed.start().is_err());
    assert_eq!(fs::read(bed.home.keys()).unwrap(), before);
}

#[test]
fn a_new_home_is_bound_from_the_beginning() {
    let bed = earlier(1);
    fs::remove_dir_all(bed.home.folder()).unwrap();
    for place in [bed.home.keys().parent().unwrap(), &bed.home.data()] {
        files::create_folder(place).unwrap();
    }
    let keyring = Keyring::create(&bed.home, &bed.source).unwrap();
    drop(create(&bed.home, &keyring).unwrap());
    assert!(bed.start().unwrap());
    let unbound = SqliteStore::open(&bed.home.data(), keyring.store.bytes());
    assert!(matches!(unbound, Err(StoreError::OlderKeys)));
}
