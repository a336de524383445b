//! A federation of old and new nodes: what needs a later version waits for whoever does not have it.

use portcullis_kernel::{Kernel, dialect::Dialect};
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    frame::Lane,
    marking::{Marking, Purpose, Tlp},
    record::{Header, Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
    version,
};
use portcullis_store::DisclosureState;
use portcullis_tests::federation::{Federation, Running, eventually};

/// A node of today, which states its version and knows of no later one.
const TODAY: Dialect = Dialect {
    states: Some(version::OWN),
    needed: version::needed,
};

/// A node from before versions were stated.
const OLD: Dialect = Dialect {
    states: None,
    needed: version::needed,
};

/// A node of the next version, in which advisories and alerts are something new.
const NEXT: Dialect = Dialect {
    states: Some(version::OWN + 1),
    needed: in_the_next,
};

fn in_the_next(header: &Header) -> u32 {
    match header.kind {
        Kind::Advisory | Kind::Alert => version::OWN + 1,
        Kind::Indicator | Kind::Outcome | Kind::RiskProfile => version::needed(header),
    }
}

fn draft(kind: Kind, threat: &str) -> Draft {
    let assessment = Assessment {
        threat: threat.to_owned(),
        finding: None,
        text: String::new(),
    };
    let mut bodies = vec![Body::Assessment(assessment)];
    if kind != Kind::Advisory {
        let selector = Selector::new(SelectorKind::Imo, "9074729", None).unwrap();
        bodies.push(Body::Subject(Subject {
            selectors: vec![selector],
            title: "a ship".to_owned(),
            generated: false,
        }));
    }
    Draft::new(
        kind,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        bodies,
    )
}

/// Returns the policy by which a record waits for a peer of this version.
fn awaits(version: u32) -> String {
    format!("awaits-version-{version}")
}

async fn publish(kernel: &std::sync::Arc<Kernel>, kind: Kind, threat: &str) -> RecordId {
    kernel.publish(vec![draft(kind, threat)]).await.unwrap()[0]
}

fn state(of: &Kernel, id: &RecordId, peer: &str) -> Option<DisclosureState> {
    let row = of.store().disclosure(id, &peer.parse().unwrap()).unwrap();
    row.map(|row| row.state)
}

fn is_accepted(of: &Kernel, id: &RecordId, peer: &str) -> bool {
    matches!(state(of, id, peer), Some(DisclosureState::Answered(answer)) if answer.is_admitted())
}

/// Returns the policies by which the ledger says that a record is denied to a peer.
fn denied_by(of: &Kernel, id: &RecordId, peer: &str) -> Vec<String> {
    let row = of.store().disclosure(id, &peer.parse().unwrap()).unwrap();
    row.filter(|row| row.state == DisclosureState::Denied)
        .map(|row| row.note.policies)
        .unwrap_or_default()
}

/// A new kind goes to who has it. For the others it waits, through a restart of the sender, and
/// arrives when they have it; nothing of it is refused, and what they know passes it by.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_kind_waits_for_old_nodes_and_arrives_when_they_are_new() {
    let federation = Federation::new(&[
        ("rotterdam", AuthorityKind::Customs),
        ("antwerp", AuthorityKind::Customs),
        ("hamburg", AuthorityKind::Customs),
        ("gdansk", AuthorityKind::Customs),
    ]);
    let antwerp = Running::start_speaking(federation.home("antwerp"), OLD).await;
    let gdansk = Running::start_speaking(federation.home("gdansk"), TODAY).await;
    let hamburg = Running::start_speaking(federation.home("hamburg"), NEXT).await;
    let rotterdam = Running::start_speaking(federation.home("rotterdam"), NEXT).await;
    let at = &rotterdam.kernel;
    let known = publish(at, Kind::Indicator, "narcotics").await;
    let new = publish(at, Kind::Advisory, "pin-code-fraud").await;
    let urgent = publish(at, Kind::Alert, "narcotics").await;
    let later = publish(at, Kind::Indicator, "narcotics").await;
    for id in [&known, &new, &urgent, &later] {
        eventually(at, || is_accepted(at, id, "hamburg")).await;
    }
    for old in ["antwerp", "gdansk"] {
        for id in [&known, &later] {
            eventually(at, || is_accepted(at, id, old)).await;
        }
        for id in [&new, &urgent] {
            eventually(at, || !denied_by(at, id, old).is_empty()).await;
            assert_eq!(denied_by(at, id, old), [awaits(version::OWN + 1)], "{old}");
        }
    }
    for node in [&antwerp, &gdansk] {
        for id in [&new, &urgent] {
            assert!(node.kernel.store().record(id).unwrap().is_none());
            assert_eq!(node.kernel.store().arrivals(Some(id)).unwrap(), []);
        }
    }
    let waiting = at.store().exceptions(at.now()).unwrap();
    assert_eq!(waiting.len(), 4, "{waiting:?}");
    // The sender starts again meanwhile, and does not send what waits.
    let rotterdam = Running::start_speaking(rotterdam.stop().await, NEXT).await;
    let at = &rotterdam.kernel;
    let after = publish(at, Kind::Indicator, "narcotics").await;
    for peer in ["antwerp", "gdansk", "hamburg"] {
        eventually(at, || is_accepted(at, &after, peer)).await;
    }
    assert_eq!(denied_by(at, &new, "antwerp"), [awaits(version::OWN + 1)]);
    // One of them is brought up to date; the other still waits.
    let antwerp = Running::start_speaking(antwerp.stop().await, NEXT).await;
    for id in [&new, &urgent] {
        eventually(at, || is_accepted(at, id, "antwerp")).await;
        assert!(antwerp.kernel.store().record(id).unwrap().is_some());
        assert_eq!(denied_by(at, id, "gdansk"), [awaits(version::OWN + 1)]);
    }
    // A version that the peer has goes at once.
    let next = publish(at, Kind::Advisory, "another").await;
    eventually(at, || is_accepted(at, &next, "antwerp")).await;
    let position = at.store().position(&"gdansk".parse().unwrap(), Lane::Bulk);
    assert!(position.unwrap().cursor > 0, "what waits holds nothing up");
    for node in [rotterdam, antwerp, hamburg, gdansk] {
        node.stop().await;
    }
}

/// Bugs 15, 16: what a node of the first version would refuse for good waits for it, of one kind and in
/// one batch with what it takes, and arrives when it is brought up to date.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_of_rail_and_a_radio_identity_wait_for_nodes_of_the_first_version() {
    let federation = Federation::new(&[
        ("rotterdam", AuthorityKind::Customs),
        ("antwerp", AuthorityKind::Customs),
        ("hamburg", AuthorityKind::Customs),
    ]);
    let antwerp = Running::start_speaking(federation.home("antwerp"), OLD).await;
    let hamburg = Running::start_speaking(federation.home("hamburg"), TODAY).await;
    let rotterdam = Running::start_speaking(federation.home("rotterdam"), TODAY).await;
    let at = &rotterdam.kernel;
    let window = Some(Window {
        from: at.now(),
        until: at.now().plus_millis(86_400_000),
    });
    let about = |selector| {
        let mut draft = draft(Kind::Indicator, "narcotics");
        draft.sections[1].body = Body::Subject(Subject {
            selectors: vec![selector],
            title: String::new(),
            generated: false,
        });
        draft
    };
    let drafts = vec![
        about(Selector::new(SelectorKind::Ilu, "XYZA1003094", window).unwrap()),
        draft(Kind::Indicator, "narcotics"),
        about(Selector::accept_unchecked(SelectorKind::Mmsi, "009123456", None).unwrap()),
    ];
    let ids = at.publish(drafts).await.unwrap();
    let [unit, ship, radio] = ids[..] else {
        panic!("{ids:?}");
    };
    for id in [&unit, &ship, &radio] {
        eventually(at, || is_accepted(at, id, "hamburg")).await;
    }
    eventually(at, || is_accepted(at, &ship, "antwerp")).await;
    for id in [&unit, &radio] {
        eventually(at, || !denied_by(at, id, "antwerp").is_empty()).await;
        assert_eq!(denied_by(at, id, "antwerp"), [awaits(version::UNITS)]);
        assert!(antwerp.kernel.store().record(id).unwrap().is_none());
    }
    let antwerp = Running::start_speaking(antwerp.stop().await, TODAY).await;
    for id in [&unit, &radio] {
        eventually(at, || is_accepted(at, id, "antwerp")).await;
        assert!(antwerp.kernel.store().record(id).unwrap().is_some());
    }
    for node in [rotterdam, antwerp, hamburg] {
        node.stop().await;
    }
}
