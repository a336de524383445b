//! The node's keys are made once, open with one passphrase, and are read by their owner alone.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;

struct Bed {
    _folder: tempfile::TempDir,
    home: Home,
    source: KeySource,
}

fn bed() -> Bed {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::new(folder.path().join("home"));
    files::create_folder(home.keys().parent().unwrap()).unwrap();
    let passphrase = folder.path().join("passphrase");
    files::create(&passphrase, b"four words in a row\n", Access::Owner).unwrap();
    Bed {
        _folder: folder,
        home,
        source: KeySource::PassphraseFile(passphrase),
    }
}

#[test]
fn keys_that_were_made_are_the_keys_that_load() {
    let bed = bed();
    let made = Keyring::create(&bed.home, &bed.source).unwrap();
    let loaded = Keyring::load(&bed.home, &bed.source).unwrap();
    assert_eq!(made.public_keys(), loaded.public_keys());
    assert_eq!(made.agreement_secret(), loaded.agreement_secret());
    assert_eq!(made.tls, loaded.tls);
}

#[test]
fn each_use_has_a_key_of_its_own() {
    let bed = bed();
    let keys = Keyring::create(&bed.home, &bed.source)
        .unwrap()
        .public_keys();
    let uses: Vec<_> = keys.iter().map(PublicKey::usage).collect();
    assert_eq!(
        uses,
        [KeyUse::Sealing, KeyUse::Hop, KeyUse::Log, KeyUse::Agreement]
    );
    let distinct: std::collections::BTreeSet<_> = keys.iter().map(PublicKey::to_bytes).collect();
    assert_eq!(distinct.len(), 4);
}

#[test]
fn keys_are_never_overwritten() {
    let bed = bed();
    let made = Keyring::create(&bed.home, &bed.source).unwrap();
    let again = Keyring::create(&bed.home, &bed.source).unwrap_err();
    assert!(matches!(again, KeyringError::Exists(_)), "{again}");
    let kept = Keyring::load(&bed.home, &bed.source).unwrap();
    assert_eq!(kept.public_keys(), made.public_keys());
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let bed = bed();
    Keyring::create(&bed.home, &bed.source).unwrap();
    assert_eq!(files::mode(&bed.home.keys()).unwrap(), 0o600);
    fs::set_permissions(bed.home.keys(), fs::Permissions::from_mode(0o640)).unwrap();
    let refused = Keyring::load(&bed.home, &bed.source).unwrap_err();
    assert!(refused.to_string().contains("chmod 600"), "{refused}");
}

#[test]
fn another_passphrase_does_not_open_them() {
    let bed = bed();
    Keyring::create(&bed.home, &bed.source).unwrap();
    let other = Passphrase::new(b"another", "a test").unwrap();
    let refused = Keyring::open(&bed.home, &other).unwrap_err();
    assert!(matches!(
        refused,
        KeyringError::Secret(SecretError::WrongPassphrase(_))
    ));
}

#[test]
fn a_home_without_keys_says_to_run_init() {
    let bed = bed();
    let refused = Keyring::load(&bed.home, &bed.source).unwrap_err();
    assert!(refused.to_string().contains("portcullis init"), "{refused}");
}

#[test]
fn a_cut_file_is_refused_at_any_length() {
    let content = fresh().unwrap();
    for length in 0..=SEED * 4 + 1 {
        assert!(matches!(
            Keyring::parse(&content[..length]),
            Err(KeyringError::Format)
        ));
    }
}

#[test]
fn the_agreement_key_is_that_of_rfc_7748() {
    // RFC 7748 §6.1, Alice.
    let hex = |text: &str| -> [u8; SEED] {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
        bytes.try_into().unwrap()
    };
    let secret = hex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a");
    let public = agreement_public(&secret).unwrap();
    assert_eq!(
        public.to_bytes(),
        hex("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a")
    );
}

#[test]
fn no_secret_is_printed() {
    let bed = bed();
    let keyring = Keyring::create(&bed.home, &bed.source).unwrap();
    let shown = format!("{keyring:?}");
    let secret = data_encoding::HEXLOWER.encode(keyring.agreement_secret());
    assert!(!shown.contains(&secret));
}
