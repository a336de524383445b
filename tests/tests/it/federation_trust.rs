//! Trust while nodes run: what is signed once reaches every running node, by whichever member
//! carries it.

use std::{collections::BTreeMap, sync::Arc};

use portcullis_certs_dev::{NodeNames, Period, Serial, certificate_pem, revocation_list_pem};
use portcullis_home::{
    Home,
    config::{Config, Exercises},
    keyring::{Keyring, Rotatable},
    membership,
    own_certificate::{Own, install_certificate},
};
use portcullis_kernel::{
    Kernel,
    gate::state::{Switch, Whom},
    quarantine,
};
use portcullis_node::runtime::Node;
use portcullis_peering::{certificate::PeerCertificate, trust::Role};
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject},
    evaluation::Evaluation,
    frame::{Lane, Outcome},
    freshness::{Freshness, SignedFreshness},
    identifiers::AuthorityId,
    keys::{KeyUse, SigningKey},
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::{AuthorityKind, FreshnessKeys},
    rules::Rule,
    seal::Draft,
    suspension::{Suspension, encode},
};
use portcullis_store::DisclosureState;
use portcullis_tests::federation::{
    Federation, Member, Running, accept_settings, eventually, governance_key,
};
use rustls::pki_types::{
    CertificateDer, CertificateSigningRequestDer, UnixTime, pem::PemObject as _,
};

const MEMBERS: [Member; 4] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("terminal", AuthorityKind::PrivateOperator),
    ("hub", AuthorityKind::Hub),
];

fn epoch(node: &Running) -> u64 {
    node.kernel.decider().register().epoch
}

async fn stop(running: impl IntoIterator<Item = Running>) {
    for node in running {
        node.stop().await;
    }
}

async fn all_have(nodes: &BTreeMap<AuthorityId, Running>, names: &[&str], expected: u64) {
    for name in names {
        let node = &nodes[&name.parse().unwrap()];
        eventually(&node.kernel, || epoch(node) == expected).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_applied_at_one_node_is_soon_in_force_at_all() {
    let mut federation = Federation::new(&MEMBERS);
    let nodes = federation.start().await;
    federation.next_epoch("antwerp", |_| ());
    let antwerp = &nodes[&"antwerp".parse().unwrap()];
    assert_eq!(antwerp.reloader.take_up().await.unwrap(), 3);
    all_have(&nodes, &["rotterdam", "terminal", "hub"], 3).await;
    // Each node keeps the epoch in its home and its store, and starts with it again.
    stop(nodes.into_values()).await;
    let hub = Running::start(federation.home("hub")).await;
    assert_eq!(epoch(&hub), 3);
    assert_eq!(hub.kernel.store().registers().unwrap().len(), 3);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_removed_is_cut_off_at_once_and_says_so() {
    let mut federation = Federation::new(&MEMBERS);
    let nodes = federation.start().await;
    let node = |name: &str| &nodes[&name.parse().unwrap()];
    federation.next_epoch("rotterdam", |register| {
        register.authorities.remove(&"terminal".parse().unwrap());
    });
    node("rotterdam").reloader.take_up().await.unwrap();
    all_have(&nodes, &["antwerp", "hub"], 3).await;
    // No other node accepts it any more, and it is nobody's peer.
    for name in ["rotterdam", "antwerp", "hub"] {
        let snapshot = node(name).kernel.trust().current();
        assert!(snapshot.server_name(&"terminal".parse().unwrap()).is_none());
    }
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_learns_what_it_missed_from_any_member() {
    let mut federation = Federation::new(&MEMBERS[..3]);
    let mut nodes = federation.start().await;
    let terminal = nodes.remove(&"terminal".parse().unwrap()).unwrap();
    let home = terminal.stop().await;
    for expected in 3..=5 {
        federation.next_epoch("rotterdam", |_| ());
        let rotterdam = &nodes[&"rotterdam".parse().unwrap()];
        assert_eq!(rotterdam.reloader.take_up().await.unwrap(), expected);
    }
    all_have(&nodes, &["antwerp"], 5).await;
    nodes
        .remove(&"rotterdam".parse().unwrap())
        .unwrap()
        .stop()
        .await;
    let terminal = Running::start(home).await;
    eventually(&terminal.kernel, || epoch(&terminal) == 5).await;
    terminal.stop().await;
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_newest_epoch_was_taken_away_does_not_start() {
    let mut federation = Federation::new(&MEMBERS[..1]);
    federation.next_epoch("rotterdam", |_| ());
    let home = federation.home("rotterdam");
    Running::start(home.clone()).await.stop().await;
    let newest = portcullis_home::membership::epoch_path(&home, 3);
    std::fs::remove_file(newest).unwrap();
    let config = Config::load(&home.config()).unwrap();
    let refused = Node::prepare(home, config).await.err().unwrap();
    assert!(refused.to_string().starts_with("RG-10: "), "{refused}");
}

fn alert() -> Draft {
    let ship = Selector::new(SelectorKind::Imo, "9074729", None).unwrap();
    let purposes = [Purpose::CustomsControl, Purpose::PortSecurity];
    Draft::new(
        Kind::Alert,
        Marking::new(Tlp::Green, purposes),
        Evaluation::default(),
        vec![
            Body::Subject(Subject {
                selectors: vec![ship],
                title: "a ship".to_owned(),
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            }),
        ],
    )
}

/// Returns whether the sender's ledger shows that the peer has the record.
fn delivered(kernel: &Kernel, id: &RecordId, peer: &str) -> bool {
    let row = kernel
        .store()
        .disclosure(id, &peer.parse().unwrap())
        .unwrap();
    let state = row.map(|row| row.state);
    matches!(state, Some(DisclosureState::Answered(outcome)) if outcome.is_admitted())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_freshness_statement_reaches_every_node_and_survives_a_restart() {
    let mut federation = Federation::new(&MEMBERS[..3]);
    let mut nodes = federation.start().await;
    let online = SigningKey::from_seed(KeyUse::Freshness, [88; 32]);
    federation.next_epoch("rotterdam", |register| {
        register.freshness = FreshnessKeys {
            threshold: 1,
            keys: vec![online.public()],
        };
    });
    let rotterdam = &nodes[&"rotterdam".parse().unwrap()];
    rotterdam.reloader.take_up().await.unwrap();
    let decider = rotterdam.kernel.decider();
    let freshness = Freshness::of(decider.verified_register(), rotterdam.kernel.now());
    let mut statement = SignedFreshness::unsigned(&freshness);
    statement.sign(&online).unwrap();
    let offered = rotterdam.kernel.offer_freshness(&statement.encode()).await;
    assert!(offered.unwrap());
    let until = Some(freshness.valid_until);
    for node in nodes.values() {
        eventually(&node.kernel, || node.kernel.gates().stage.until() == until).await;
    }
    let terminal = nodes.remove(&"terminal".parse().unwrap()).unwrap();
    let terminal = Running::start(terminal.stop().await).await;
    assert_eq!(terminal.kernel.gates().stage.until(), until);
    terminal.stop().await;
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_suspended_gets_nothing_until_the_end_and_everything_after_it() {
    let federation = Federation::new(&MEMBERS[..3]);
    let nodes = federation.start().await;
    let kernel = |name: &str| &nodes[&name.parse().unwrap()].kernel;
    let (rotterdam, terminal) = (kernel("rotterdam"), "terminal".parse().unwrap());
    let suspension = Suspension {
        federation: "test".parse().unwrap(),
        authority: "terminal".parse().unwrap(),
        epoch: 2,
        from: rotterdam.now(),
        until: rotterdam.now().plus_millis(6_000),
        reason: "a drill".to_owned(),
    };
    let signed = encode(&suspension.sign(&governance_key()).unwrap());
    assert!(kernel("antwerp").offer_suspension(&signed).await.unwrap());
    eventually(rotterdam, || {
        rotterdam.closed(&terminal, Lane::Urgent).is_some()
    })
    .await;
    let id = rotterdam.publish(vec![alert()]).await.unwrap()[0];
    eventually(rotterdam, || delivered(rotterdam, &id, "antwerp")).await;
    if rotterdam.closed(&terminal, Lane::Urgent).is_some() {
        assert!(!delivered(rotterdam, &id, "terminal"));
    }
    // The suspension ends by itself, and the waiting records are sent.
    eventually(rotterdam, || delivered(rotterdam, &id, "terminal")).await;
    assert!(rotterdam.now() >= suspension.until);
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_and_a_stop_hold_through_a_restart_and_lose_nothing() {
    let federation = Federation::new(&MEMBERS[..3]);
    let mut nodes = federation.start().await;
    let rotterdam = nodes.remove(&"rotterdam".parse().unwrap()).unwrap();
    let antwerp = "antwerp".parse().unwrap();
    let now = rotterdam.kernel.now();
    let block = |switch| {
        move |state: &_| {
            portcullis_kernel::gate::state::GateState::with_block(
                state,
                &"antwerp".parse().unwrap(),
                switch,
                now,
            )
        }
    };
    rotterdam
        .kernel
        .change_gates(block(Switch::Close), Vec::new())
        .await
        .unwrap();
    let whom = Whom::Peer("terminal".parse().unwrap());
    rotterdam
        .kernel
        .change_gates(
            |state| state.with_stop(&whom, Switch::Close, now),
            Vec::new(),
        )
        .await
        .unwrap();
    let id = rotterdam.kernel.publish(vec![alert()]).await.unwrap()[0];
    let rotterdam = Running::start(rotterdam.stop().await).await;
    let kernel = &rotterdam.kernel;
    assert!(kernel.closed(&antwerp, Lane::Bulk).is_some());
    let snapshot = kernel.trust().current();
    assert!(format!("{snapshot:?}").contains("Blocked"));
    for peer in ["antwerp", "terminal"] {
        assert!(!delivered(kernel, &id, peer));
    }
    kernel
        .change_gates(block(Switch::Open), Vec::new())
        .await
        .unwrap();
    eventually(kernel, || delivered(kernel, &id, "antwerp")).await;
    assert!(
        !delivered(kernel, &id, "terminal"),
        "its release is still stopped"
    );
    kernel
        .change_gates(
            |state| state.with_stop(&whom, Switch::Open, now),
            Vec::new(),
        )
        .await
        .unwrap();
    eventually(kernel, || delivered(kernel, &id, "terminal")).await;
    rotterdam.stop().await;
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ex_21_what_was_seen_since_a_key_is_compromised_is_set_apart_everywhere() {
    let mut federation = Federation::new(&MEMBERS[..3]);
    let mut nodes = federation.start().await;
    let terminal = nodes.remove(&"terminal".parse().unwrap()).unwrap();
    let terminal = terminal.stop().await;
    let kernel = |name: &str| Arc::clone(&nodes[&name.parse().unwrap()].kernel);
    let (rotterdam, antwerp) = (kernel("rotterdam"), kernel("antwerp"));
    let before = rotterdam.publish(vec![alert()]).await.unwrap()[0];
    eventually(&rotterdam, || delivered(&rotterdam, &before, "antwerp")).await;
    let since = rotterdam.now().plus_millis(1);
    eventually(&rotterdam, || rotterdam.now() > since).await;
    let after = rotterdam.publish(vec![alert()]).await.unwrap()[0];
    eventually(&rotterdam, || delivered(&rotterdam, &after, "antwerp")).await;
    assert_eq!(quarantine::list(&antwerp, 9).unwrap(), []);
    federation.next_epoch("antwerp", |register| {
        let rotterdam = register.authorities.get_mut(&"rotterdam".parse().unwrap());
        rotterdam.unwrap().nodes[0].keys[0].compromised_since = Some(since);
    });
    nodes[&"antwerp".parse().unwrap()]
        .reloader
        .take_up()
        .await
        .unwrap();
    all_have(&nodes, &["rotterdam"], 3).await;
    for kernel in [&rotterdam, &antwerp] {
        let apart = quarantine::list(kernel, 9).unwrap();
        let ids: Vec<_> = apart.iter().map(|one| one.held.sealed.id()).collect();
        assert_eq!(ids, [after]);
        let held = |id: &RecordId| kernel.store().record(id).unwrap().unwrap();
        assert!(
            kernel
                .decider()
                .verify_held(&held(&before), kernel.now())
                .is_ok()
        );
        let refused = kernel.decider().verify_held(&held(&after), kernel.now());
        assert_eq!(refused.unwrap_err().rule, Rule::KeyCompromised);
    }
    // A member that comes later receives neither. The one record is set apart at the sender; the
    // other is refused, because no node accepts a record under a compromised key that it sees for
    // the first time.
    let epoch = |home| portcullis_home::membership::epoch_path(home, 3);
    std::fs::copy(epoch(&federation.home("antwerp")), epoch(&terminal)).unwrap();
    let terminal = Running::start(terminal).await;
    let peer = "terminal".parse().unwrap();
    let row = |id: &RecordId| rotterdam.store().disclosure(id, &peer).unwrap();
    let state = |id: &RecordId| row(id).map(|row| row.state);
    eventually(&rotterdam, || {
        state(&before) == Some(DisclosureState::Answered(Outcome::Refused))
    })
    .await;
    eventually(&rotterdam, || {
        state(&after) == Some(DisclosureState::Denied)
    })
    .await;
    assert_eq!(row(&after).unwrap().note.policies, ["EX-21"]);
    assert_eq!(row(&before).unwrap().reason.as_deref(), Some("EX-21"));
    assert!(rotterdam.publish(vec![alert()]).await.is_err());
    terminal.stop().await;
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_with_a_broken_file_names_it_and_changes_nothing() {
    let federation = Federation::new(&MEMBERS[..1]);
    let node = Running::start(federation.home("rotterdam")).await;
    let home = &node.home;
    node.reloader.reload().await.unwrap();
    let before = node.kernel.decider();
    let serial = node.kernel.identity().certificate().serial().to_owned();
    let own = std::fs::read_to_string(home.config()).unwrap();
    let good = own.replace("# exercises = false", "exercises = true");
    assert_ne!(good, own);
    // The configuration is valid each time and would be taken up if the other file were valid as
    // well.
    std::fs::write(home.config(), &good).unwrap();
    accept_settings(home);
    let list = home.revocation_lists().join("rotterdam.crl");
    let policy = home.policy().join("own.cedar");
    let stranger = Federation::new(&[("antwerp", AuthorityKind::Customs)]);
    let strange = std::fs::read_to_string(stranger.home("antwerp").certificate()).unwrap();
    let elsewhere = good.replace("dns_name = \"rotterdam", "dns_name = \"other");
    for (path, broken) in [
        (home.config(), "federation = 7"),
        (home.config(), elsewhere.as_str()),
        (home.certificate(), "no certificate"),
        (home.certificate(), strange.as_str()),
        (list, "no list"),
        (policy, "permit (nonsense"),
    ] {
        let good = std::fs::read(&path).ok();
        std::fs::write(&path, broken).unwrap();
        let error = node.reloader.reload().await.unwrap_err().to_string();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(error.contains(&name), "{name}: {error}");
        assert!(Arc::ptr_eq(&before, &node.kernel.decider()));
        assert_eq!(node.kernel.exercises(), Exercises::Refused);
        assert_eq!(*node.kernel.identity().certificate().serial(), serial);
        match good {
            Some(good) => std::fs::write(&path, good).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
    }
    node.reloader.reload().await.unwrap();
    assert_eq!(node.kernel.exercises(), Exercises::Admitted);
    node.stop().await;
}

/// Returns true if a node believes the certificate that lies in another member's home.
fn believes(node: &Running, federation: &Federation, other: &str) -> bool {
    let pem = std::fs::read(federation.home(other).certificate()).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let trust = node.kernel.trust().current();
    trust
        .judge(Role::Client, &certificate, &[], UnixTime::now())
        .is_ok()
}

/// Attack HM11: a list of ours that does not hold kept a removed member in. It refuses a reload and
/// a start, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_revocation_list_does_not_hold_up_the_removal_of_a_member() {
    let mut federation = Federation::new(&MEMBERS[..3]);
    let nodes = federation.start().await;
    let node = |name: &str| &nodes[&name.parse().unwrap()];
    let path = federation
        .home("antwerp")
        .revocation_lists()
        .join("rotterdam.crl");
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, "<html>busy</html>").unwrap();
    let refused = node("antwerp").reloader.reload().await.unwrap_err();
    assert!(refused.to_string().contains("rotterdam.crl"), "{refused}");
    federation.next_epoch("rotterdam", |register| {
        register.authorities.remove(&"terminal".parse().unwrap());
    });
    node("rotterdam").reloader.take_up().await.unwrap();
    all_have(&nodes, &["antwerp"], 3).await;
    assert!(!believes(node("antwerp"), &federation, "terminal"));
    // The list that was in force is in force under the new epoch.
    let trust = node("antwerp").kernel.trust().current();
    let mut terms = trust.terms();
    let rotterdam = terms.find(|(node, _)| node.as_str() == "rotterdam");
    assert!(rotterdam.unwrap().1.list.is_some());
    stop(nodes.into_values()).await;
    let home = federation.home("antwerp");
    let config = Config::load(&home.config()).unwrap();
    let refused = Node::prepare(home.clone(), config).await.err().unwrap();
    assert!(refused.to_string().contains("rotterdam.crl"), "{refused}");
    // The list of the authority that left is no obstacle.
    std::fs::write(&path, good).unwrap();
    Running::start(home).await.stop().await;
}

/// Bugs #6 and #7: of two lists in one file the first counted, and of two files the first by name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_newest_list_of_an_issuer_counts_in_whatever_file_and_place_it_stands() {
    let federation = Federation::new(&MEMBERS[..3]);
    let node = Running::start(federation.home("antwerp")).await;
    let now = jiff::Timestamp::now();
    let pem = std::fs::read(federation.home("terminal").certificate()).unwrap();
    let certificate = CertificateDer::from_pem_slice(&pem).unwrap();
    let serial = PeerCertificate::parse(&certificate).unwrap();
    let serial = Serial::from_octets(serial.serial());
    let revoking = federation.ca("terminal").revocation_list(3, &[serial], now);
    let revoking = revocation_list_pem(&revoking.unwrap());
    let ended = Period::ended(now).unwrap();
    let older = federation
        .ca("terminal")
        .revocation_list_lasting(2, &[], ended);
    let older = revocation_list_pem(&older.unwrap());
    let folder = node.home.revocation_lists();
    let rotterdam = std::fs::read_to_string(folder.join("rotterdam.crl")).unwrap();
    assert!(believes(&node, &federation, "terminal"));
    for (name, content) in [
        ("rotterdam.crl", format!("{rotterdam}{revoking}")),
        ("terminal.crl", format!("{revoking}{older}")),
        ("aaa.crl", revoking.clone()),
        ("zzz.crl", revoking.clone()),
    ] {
        let path = folder.join(name);
        let before = std::fs::read(&path).ok();
        std::fs::write(&path, content).unwrap();
        node.reloader.reload().await.unwrap();
        assert!(!believes(&node, &federation, "terminal"), "{name}");
        assert!(believes(&node, &federation, "rotterdam"), "{name}");
        match before {
            Some(before) => std::fs::write(&path, before).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        node.reloader.reload().await.unwrap();
        assert!(believes(&node, &federation, "terminal"), "{name}");
    }
    // An ended list beside a newer one refuses nobody.
    std::fs::write(folder.join("aaa.crl"), &older).unwrap();
    let newer = federation.ca("terminal").revocation_list(4, &[], now);
    let newer = revocation_list_pem(&newer.unwrap());
    std::fs::write(folder.join("terminal.crl"), &newer).unwrap();
    node.reloader.reload().await.unwrap();
    assert!(believes(&node, &federation, "terminal"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_knows_what_it_depends_on_and_shows_it_in_its_metrics() {
    let federation = Federation::new(&MEMBERS[..2]);
    let nodes = federation.start().await;
    let kernel = &nodes[&"rotterdam".parse().unwrap()].kernel;
    let id = kernel.publish(vec![alert()]).await.unwrap()[0];
    eventually(kernel, || delivered(kernel, &id, "antwerp")).await;
    let subjects: Vec<String> = kernel
        .dependencies()
        .iter()
        .map(|one| one.subject.to_string())
        .collect();
    for expected in [
        "this node's certificate",
        "the certificate of `antwerp`",
        "the trust anchor of `antwerp`",
        "the trust anchor of `rotterdam`",
        "the revocation list of `antwerp`",
    ] {
        assert!(
            subjects.iter().any(|found| found == expected),
            "{subjects:?}"
        );
    }
    stop(nodes.into_values()).await;
}

/// Makes a new TLS key and has the member's own CA issue its certificate, as an operator does.
fn renew_tls(federation: &Federation, member: &str, home: &Home, config: &Config) {
    let mut keyring = Keyring::load(home, &config.key).unwrap();
    let (_, listed) = federation.register.node(&config.node).unwrap();
    let before = keyring.tls_key_pem().unwrap();
    let mut rotate = || {
        let made = keyring.rotate(home, &config.key, Rotatable::Tls, listed);
        assert!(made.unwrap().is_none(), "the register lists no TLS key");
        keyring.tls_key_pem().unwrap()
    };
    let new = rotate();
    assert_ne!(*new, *before);
    assert_eq!(*rotate(), *new, "begun again, it is the same key");
    let csr = portcullis_home::own_certificate::certificate_request(
        &keyring,
        &config.dns_name,
        &config.federation,
        &config.node,
    )
    .unwrap();
    let names = NodeNames::new("test", member, &format!("{member}.example")).unwrap();
    let der = CertificateSigningRequestDer::from_pem_slice(csr.as_bytes()).unwrap();
    let ca = federation.ca(member);
    let made = ca
        .sign_request(&der, &names, jiff::Timestamp::now())
        .unwrap();
    let path = federation.folder().join("new.pem");
    std::fs::write(&path, certificate_pem(&made)).unwrap();
    let now = UnixTime::now();
    let register = Some(&federation.register);
    install_certificate(home, &path, &keyring, &Own::of(config), register, now).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exchange_goes_on_both_ways_while_every_key_of_a_node_is_rotated() {
    let mut federation = Federation::new(&MEMBERS[..2]);
    let mut nodes = federation.start().await;
    let rotterdam = nodes.remove(&"rotterdam".parse().unwrap()).unwrap();
    let antwerp = nodes.remove(&"antwerp".parse().unwrap()).unwrap();
    let config = Config::load(&rotterdam.home.config()).unwrap();
    let (mut forth, mut back) = (Vec::new(), Vec::new());
    async fn publish(at: &Running, to: &mut Vec<RecordId>) {
        to.extend(at.kernel.publish(vec![alert()]).await.unwrap());
    }
    publish(&rotterdam, &mut forth).await;
    publish(&antwerp, &mut back).await;
    let old: Vec<_> = [rotterdam.kernel.sealing_key(), rotterdam.kernel.hop_key()]
        .iter()
        .map(|key| key.id())
        .collect();
    let listed = federation.register.node(&config.node).unwrap().1.clone();
    let mut keyring = Keyring::load(&rotterdam.home, &config.key).unwrap();
    for usage in [
        Rotatable::Sealing,
        Rotatable::Hop,
        Rotatable::Log,
        Rotatable::Agreement,
    ] {
        let made = keyring.rotate(&rotterdam.home, &config.key, usage, &listed);
        assert!(made.unwrap().is_some());
    }
    let register = rotterdam.kernel.decider();
    let now = rotterdam.kernel.now();
    let request =
        membership::request_new_keys(&config, &keyring, register.register(), now).unwrap();
    federation.admit_change("antwerp", &request, 7 * 24 * 3_600_000);
    antwerp.reloader.take_up().await.unwrap();
    // Records are published before, while and after the node learns of the epoch, at both ends.
    let switched = async {
        while rotterdam.kernel.hop_key().id() == old[1] {
            publish(&rotterdam, &mut forth).await;
            publish(&antwerp, &mut back).await;
        }
    };
    let patience = std::time::Duration::from_secs(20);
    tokio::time::timeout(patience, switched).await.unwrap();
    publish(&rotterdam, &mut forth).await;
    publish(&antwerp, &mut back).await;
    assert_ne!(rotterdam.kernel.sealing_key().id(), old[0]);
    let serial = rotterdam.kernel.identity().certificate().serial().to_vec();
    renew_tls(&federation, "rotterdam", &rotterdam.home, &config);
    rotterdam.reloader.reload().await.unwrap();
    assert_ne!(rotterdam.kernel.identity().certificate().serial(), serial);
    // A peer that connects again must be shown the new certificate and accept it.
    let antwerp = Running::start(antwerp.stop().await).await;
    publish(&rotterdam, &mut forth).await;
    publish(&antwerp, &mut back).await;
    for (from, ids, to) in [
        (&rotterdam, &forth, "antwerp"),
        (&antwerp, &back, "rotterdam"),
    ] {
        for id in ids {
            eventually(&from.kernel, || delivered(&from.kernel, id, to)).await;
        }
    }
    // Each record was sealed with the key in force at its time, and all verify at their receivers.
    let key_of = |id: &RecordId| {
        let held = antwerp.kernel.store().record(id).unwrap().unwrap();
        let verified = antwerp
            .kernel
            .decider()
            .verify_held(&held, antwerp.kernel.now());
        verified.unwrap().header().key_id
    };
    assert_eq!(key_of(&forth[0]), old[0]);
    assert_eq!(
        key_of(forth.last().unwrap()),
        rotterdam.kernel.sealing_key().id()
    );
    rotterdam.stop().await;
    antwerp.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_epoch_is_in_force_although_the_key_that_it_lists_cannot_be_opened() {
    let mut federation = Federation::new(&MEMBERS[..2]);
    let nodes = federation.start().await;
    let node = |name: &str| &nodes[&name.parse().unwrap()];
    let (rotterdam, antwerp) = (node("rotterdam"), node("antwerp"));
    let config = Config::load(&rotterdam.home.config()).unwrap();
    let listed = federation.register.node(&config.node).unwrap().1.clone();
    let mut keyring = Keyring::load(&rotterdam.home, &config.key).unwrap();
    keyring
        .rotate(&rotterdam.home, &config.key, Rotatable::Hop, &listed)
        .unwrap();
    let now = rotterdam.kernel.now();
    let request =
        membership::request_new_keys(&config, &keyring, &federation.register, now).unwrap();
    let old = rotterdam.kernel.hop_key().id();
    let passphrase = federation.folder().join("rotterdam.passphrase");
    let away = federation.folder().join("away");
    std::fs::rename(&passphrase, &away).unwrap();
    federation.admit_change("antwerp", &request, 3_600_000);
    antwerp.reloader.take_up().await.unwrap();
    all_have(&nodes, &["rotterdam"], 3).await;
    // The previous key is valid for an hour more, so that delivery continues.
    assert_eq!(rotterdam.kernel.hop_key().id(), old);
    let id = rotterdam.kernel.publish(vec![alert()]).await.unwrap()[0];
    eventually(&rotterdam.kernel, || {
        delivered(&rotterdam.kernel, &id, "antwerp")
    })
    .await;
    std::fs::rename(&away, &passphrase).unwrap();
    rotterdam.reloader.reload().await.unwrap();
    assert_ne!(rotterdam.kernel.hop_key().id(), old);
    stop(nodes.into_values()).await;
}
