//! Tests of the keyring: keys are made once, open with one passphrase, and only their owner can
//! read them.

use crate::secret::SecretError;
use std::{fs, os::unix::fs::PermissionsExt as _};

use super::{
    kinds::{VERSION, WITH_FACTS, WITH_SETTINGS},
    *,
};

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
    let content = fresh(&SealedFacts::default()).unwrap();
    for length in 0..=SEED * 6 + 1 {
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

const NOW: Timestamp = Timestamp::from_millis(1_772_366_400_000);

fn listed(keys: Vec<PublicKey>) -> Node {
    Node {
        id: "antwerp".parse().unwrap(),
        dns_name: "antwerp.example".to_owned(),
        endpoint: "antwerp.example:7443".to_owned(),
        trust_anchor: vec![1],
        keys: keys
            .into_iter()
            .map(portcullis_protocol::register::RegisteredKey::in_force)
            .collect(),
    }
}

#[test]
fn a_rotated_key_signs_once_it_is_listed_and_the_one_before_until_then() {
    let bed = bed();
    let mut keyring = Keyring::create(&bed.home, &bed.source).unwrap();
    let before = listed(keyring.public_keys());
    let signs =
        |keyring: &Keyring, usage, listed: &Node| keyring.signing(usage, Some(listed), NOW).id();
    let old = signs(&keyring, KeyUse::Sealing, &before);
    let rotate = |keyring: &mut Keyring, listed: &Node| {
        let made = keyring.rotate(&bed.home, &bed.source, Rotatable::Sealing, listed);
        made.unwrap().unwrap().id()
    };
    let new = rotate(&mut keyring, &before);
    assert_ne!(new, old);
    // A rotation begun again before the key is listed gives the same key.
    assert_eq!(rotate(&mut keyring, &before), new);
    let mut loaded = Keyring::load(&bed.home, &bed.source).unwrap();
    for keyring in [&keyring, &loaded] {
        assert_eq!(signs(keyring, KeyUse::Sealing, &before), old);
        let after = listed(keyring.public_keys());
        assert!(keyring.has_all(&after, NOW));
        assert_eq!(signs(keyring, KeyUse::Sealing, &after), new);
        let hop = signs(keyring, KeyUse::Hop, &after);
        assert_eq!(hop, before.keys[1].public.id());
    }
    let after = listed(loaded.public_keys());
    let third = rotate(&mut loaded, &after);
    assert!(third != new && third != old);
    // The newest key that has not ended signs, even if it ends later. After its end it does not
    // sign while another one is in force.
    let mut ended = listed(loaded.public_keys());
    ended.keys.push(after.keys[0].clone());
    for (retired, expected) in [(None, third), (Some(1), third), (Some(0), new)] {
        ended.keys[0].retired_at = retired.map(|millis| NOW.plus_millis(millis));
        assert_eq!(signs(&loaded, KeyUse::Sealing, &ended), expected);
    }
}

#[test]
fn a_listing_with_a_key_of_somebody_else_is_noticed() {
    let bed = bed();
    let keyring = Keyring::create(&bed.home, &bed.source).unwrap();
    let stranger = SigningKey::from_seed(KeyUse::Hop, [9; 32]).public();
    let mut node = listed(keyring.public_keys());
    assert!(keyring.has_all(&node, NOW));
    node.keys[1].public = stranger;
    assert!(!keyring.has_all(&node, NOW));
    node.keys[1].retired_at = Some(NOW);
    assert!(keyring.has_all(&node, NOW), "what has ended may be lost");
}

#[test]
fn an_agreement_key_and_a_tls_key_are_made_anew_and_the_old_ones_stay() {
    let bed = bed();
    let mut keyring = Keyring::create(&bed.home, &bed.source).unwrap();
    let node = listed(keyring.public_keys());
    let secret = *keyring.agreement_secret();
    let made = keyring.rotate(&bed.home, &bed.source, Rotatable::Agreement, &node);
    let public = made.unwrap().unwrap();
    assert_eq!(keyring.agreement_public(), &public);
    assert_ne!(*keyring.agreement_secret(), secret);
    let loaded = Keyring::load(&bed.home, &bed.source).unwrap();
    assert_eq!(loaded.agreement_secret(), keyring.agreement_secret());
    assert!(loaded.has_all(&node, NOW), "the old one is still at hand");
    // Without a certificate, the first TLS key still waits for its first certificate.
    let pem = keyring.tls_key_pem().unwrap();
    keyring
        .rotate(&bed.home, &bed.source, Rotatable::Tls, &node)
        .unwrap();
    assert_eq!(*keyring.tls_key_pem().unwrap(), *pem);
}

#[test]
fn every_use_is_named_once() {
    for usage in Rotatable::ALL {
        assert_eq!(usage.name().parse(), Ok(usage));
    }
    assert!("governance".parse::<Rotatable>().is_err());
}

/// Attack H1: the first enrolment belonged to whoever came first. Its key lies sealed.
#[test]
fn facts_lie_sealed_with_the_keys_and_without_them_the_file_is_as_before() {
    let bed = bed();
    let facts = SealedFacts {
        first_administrator: Some(FirstAdministrator {
            id: "anna".to_owned(),
            key: "ab".repeat(32),
        }),
        accepted: None,
        recoveries: Vec::new(),
    };
    let made = Keyring::create_with(&bed.home, &bed.source, &facts).unwrap();
    let loaded = Keyring::load(&bed.home, &bed.source).unwrap();
    assert_eq!(loaded.facts(), &facts);
    assert_eq!(loaded.public_keys(), made.public_keys());
    assert_eq!(loaded.store.bytes(), made.store.bytes());
    assert_eq!(unbound(&SealedFacts::default())[0], VERSION);
    let mut content = unbound(&facts);
    assert_eq!(content[0], WITH_FACTS);
    content.truncate(1 + SEED * 5 + 10);
    assert!(matches!(
        Keyring::parse(&content),
        Err(KeyringError::Format)
    ));
}

/// Makes a content as earlier versions did, which bound no key table.
fn unbound(facts: &SealedFacts) -> Zeroizing<Vec<u8>> {
    let content = fresh(facts).unwrap();
    let mut content = Content::read(&content).unwrap();
    content.binding = Binding::Unbound;
    content.encode().unwrap()
}

fn write(bed: &Bed, content: &[u8]) {
    let passphrase = bed.source.read().unwrap();
    let text = secret::seal(&passphrase, HOLDS, None, content).unwrap();
    files::replace(&bed.home.keys(), text.as_bytes(), Access::Owner).unwrap();
}

/// Finding F3: what the store is bound to is in no step lost, whatever else is sealed between.
#[test]
fn keys_of_every_format_are_bound_and_keep_everything_else() {
    let first = FirstAdministrator {
        id: "anna".to_owned(),
        key: "01".repeat(32),
    };
    let formats = [
        (VERSION, SealedFacts::default()),
        (
            WITH_FACTS,
            SealedFacts {
                first_administrator: Some(first.clone()),
                ..SealedFacts::default()
            },
        ),
        (
            WITH_SETTINGS,
            SealedFacts {
                first_administrator: Some(first),
                accepted: Some(Accepted::default()),
                recoveries: Vec::new(),
            },
        ),
    ];
    for (version, facts) in formats {
        let bed = bed();
        let content = unbound(&facts);
        assert_eq!(content[0], version);
        write(&bed, &content);
        let load = || Keyring::load(&bed.home, &bed.source).unwrap();
        let before = load();
        assert_eq!(*before.store.binding(), Binding::Unbound);
        let step = |step| Keyring::step_binding(&bed.home, &bed.source, step).unwrap();
        step(BindingStep::Begin);
        let Binding::Begun(secret) = load().store.binding().clone() else {
            panic!("no secret was drawn");
        };
        // A start that was killed begins again, and an acceptance or another passphrase comes between.
        step(BindingStep::Begin);
        let accepted = SealedFacts {
            accepted: Some(Accepted {
                serial: 7,
                ..Accepted::default()
            }),
            ..facts
        };
        Keyring::seal_facts(&bed.home, &bed.source, &accepted).unwrap();
        let (present, next) = (
            bed.source.read().unwrap(),
            Passphrase::new(b"another four words", "a test").unwrap(),
        );
        Keyring::change_passphrase(&bed.home, &present, &next).unwrap();
        Keyring::change_passphrase(&bed.home, &next, &present).unwrap();
        assert!(*load().store.binding() == Binding::Begun(secret.clone()));
        step(BindingStep::End);
        let after = load();
        assert!(*after.store.binding() == Binding::Bound(secret));
        assert_eq!(*after.facts(), accepted);
        assert_eq!(after.store.bytes(), before.store.bytes());
        assert_eq!(after.public_keys(), before.public_keys());
        assert_eq!(after.tls, before.tls);
    }
}

#[test]
fn new_keys_are_bound_to_a_secret_of_their_own() {
    let (one, other) = (bed(), bed());
    let made = Keyring::create(&one.home, &one.source).unwrap();
    let loaded = Keyring::load(&one.home, &one.source).unwrap();
    assert!(matches!(made.store.binding(), Binding::Bound(_)));
    assert!(made.store.binding() == loaded.store.binding());
    let other = Keyring::create(&other.home, &other.source).unwrap();
    assert!(made.store.binding() != other.store.binding());
}

#[test]
fn a_binding_of_an_unknown_state_is_refused() {
    let mut content = fresh(&SealedFacts::default()).unwrap();
    for state in [0, 3, 255] {
        content[1 + SEED * 5] = state;
        let refused = Keyring::parse(&content);
        assert!(matches!(refused, Err(KeyringError::Format)), "{state}");
    }
}

/// House HL3: the next number was the count of files, and a removed one stopped rotation for ever.
#[test]
fn a_key_is_rotated_although_an_older_file_was_removed() {
    let bed = bed();
    Keyring::create(&bed.home, &bed.source).unwrap();
    let passphrase = bed.source.read().unwrap();
    let file = |number: u32| {
        let keys = bed.home.keys();
        keys.with_file_name(format!("rotated-{number:04}.keys"))
    };
    let make = || rotated::create(&bed.home, &passphrase, Rotatable::Sealing);
    for number in 1..=3 {
        assert!(make().is_ok());
        assert!(file(number).exists());
    }
    std::fs::remove_file(file(1)).unwrap();
    assert!(make().is_ok());
    assert!(file(4).exists());
    std::fs::rename(file(4), file(9_999)).unwrap();
    assert!(make().is_ok());
    assert!(file(10_000).exists());
    let keyring = Keyring::load(&bed.home, &bed.source).unwrap();
    let newest = secret::open(
        &passphrase,
        "rotated node key",
        &std::fs::read_to_string(file(10_000)).unwrap(),
    );
    let seed: [u8; 32] = newest.unwrap()[2..].try_into().unwrap();
    let newest = SigningKey::from_seed(KeyUse::Sealing, seed);
    assert_eq!(keyring.public_keys()[0], newest.public());
}

/// Newcomer A16: `init` took five letters and `person key` twelve.
#[test]
fn a_short_passphrase_makes_no_keys() {
    let bed = bed();
    let path = bed.source.file().unwrap();
    files::replace(&path, b"short", Access::Owner).unwrap();
    let refused = Keyring::create(&bed.home, &bed.source).unwrap_err();
    assert!(refused.to_string().contains("too short"), "{refused}");
    assert!(!bed.home.keys().exists());
}

/// Newcomer A3: no command changed a passphrase.
#[test]
fn a_changed_passphrase_opens_all_keys_and_the_old_one_none() {
    let bed = bed();
    let made = Keyring::create(&bed.home, &bed.source).unwrap();
    let present = bed.source.read().unwrap();
    let next = Passphrase::new(b"another four words here", "the test").unwrap();
    rotated::create(&bed.home, &present, Rotatable::Hop).unwrap();
    fs::write(bed.home.keys().with_file_name("note"), "kept").unwrap();
    let wrong = Keyring::change_passphrase(&bed.home, &next, &present);
    assert!(wrong.is_err());
    // A folder that a killed process left is no obstacle.
    let left = bed.home.folder().join("keys-other-passphrase");
    fs::create_dir(&left).unwrap();
    Keyring::change_passphrase(&bed.home, &present, &next).unwrap();
    assert!(!left.exists());
    assert!(Keyring::open(&bed.home, &present).is_err());
    let opened = Keyring::open(&bed.home, &next).unwrap();
    assert_eq!(opened.sealing.id(), made.sealing.id());
    assert_eq!(opened.store.bytes(), made.store.bytes());
    assert_ne!(opened.newest(KeyUse::Hop), made.newest(KeyUse::Hop));
    for name in ["node.keys", "rotated-0001.keys"] {
        let mode = files::mode(&bed.home.keys().with_file_name(name)).unwrap();
        assert_eq!(mode, 0o600);
    }
    assert!(bed.home.keys().with_file_name("note").exists());
}

#[test]
fn accepted_settings_are_sealed_into_keys_of_every_format() {
    let first = FirstAdministrator {
        id: "anna".to_owned(),
        key: "01".repeat(32),
    };
    for before in [
        SealedFacts::default(),
        SealedFacts {
            first_administrator: Some(first.clone()),
            accepted: None,
            recoveries: Vec::new(),
        },
        SealedFacts {
            first_administrator: Some(first.clone()),
            accepted: None,
            recoveries: vec![SealedRecovery {
                id: "anna".to_owned(),
                public_key: "02".repeat(32),
            }],
        },
        SealedFacts {
            first_administrator: Some(first.clone()),
            accepted: Some(Accepted::default()),
            recoveries: Vec::new(),
        },
    ] {
        let bed = bed();
        write(&bed, &unbound(&before));
        let made = Keyring::load(&bed.home, &bed.source).unwrap();
        let accepted = SealedFacts {
            first_administrator: Some(first.clone()),
            accepted: Some(Accepted {
                serial: 7,
                ..Accepted::default()
            }),
            recoveries: before.recoveries.clone(),
        };
        Keyring::seal_facts(&bed.home, &bed.source, &accepted).unwrap();
        let loaded = Keyring::load(&bed.home, &bed.source).unwrap();
        assert_eq!(*loaded.facts(), accepted);
        assert_eq!(made.store.bytes(), loaded.store.bytes());
        assert_eq!(made.sealing.id(), loaded.sealing.id());
        assert_eq!(made.tls, loaded.tls);
    }
}
