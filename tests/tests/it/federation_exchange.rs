//! Records travel from node to node over real sockets, in the form that policy permits.

use portcullis_kernel::Kernel;
use portcullis_protocol::{
    body::{Assessment, Body, Selector, SelectorKind, Subject, Window},
    evaluation::Evaluation,
    frame::Outcome,
    marking::{Marking, Purpose, Tlp},
    record::{Form, Kind, RecordId, SectionTag},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::{DisclosureState, RecordFilter};
use portcullis_tests::federation::{Federation, Member, Running, eventually};

const MEMBERS: [Member; 4] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("terminal", AuthorityKind::PrivateOperator),
    ("hub", AuthorityKind::Hub),
];

fn draft(kind: Kind) -> Draft {
    let window = Window {
        from: "2021-01-01".parse().unwrap(),
        until: "2031-01-01".parse().unwrap(),
    };
    let container = Selector::new(SelectorKind::Container, "CSQU3054383", Some(window)).unwrap();
    let marking = Marking::new(
        Tlp::Green,
        [
            Purpose::CustomsControl,
            Purpose::LawEnforcement,
            Purpose::PortSecurity,
        ],
    );
    Draft::new(
        kind,
        marking,
        Evaluation::default(),
        vec![
            Body::Subject(Subject {
                selectors: vec![container],
                title: "a box".to_owned(),
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            }),
            Body::Narrative("the story".to_owned()),
            Body::Source("an informant".to_owned()),
        ],
    )
}

/// Returns the form in which a node holds a record.
fn held(kernel: &Kernel, id: &RecordId) -> Option<Form> {
    let held = kernel.store().record(id).unwrap()?;
    let verified = kernel.decider().verify_held(&held, kernel.now());
    Some(verified.unwrap().form())
}

/// Returns the state of a disclosure to a peer in the sender's ledger.
fn state(kernel: &Kernel, id: &RecordId, peer: &str) -> Option<DisclosureState> {
    let row = kernel
        .store()
        .disclosure(id, &peer.parse().unwrap())
        .unwrap();
    row.map(|row| row.state)
}

async fn stop(running: impl IntoIterator<Item = Running>) {
    for node in running {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_member_gets_the_form_that_policy_lets_through() {
    let federation = Federation::new(&MEMBERS);
    let nodes = federation.start().await;
    let kernel = |name: &str| &nodes[&name.parse().unwrap()].kernel;
    let rotterdam = kernel("rotterdam");
    let id = rotterdam
        .publish(vec![draft(Kind::Indicator)])
        .await
        .unwrap()[0];
    for peer in ["antwerp", "terminal", "hub"] {
        eventually(rotterdam, || {
            let answered = state(rotterdam, &id, peer);
            matches!(answered, Some(DisclosureState::Answered(outcome)) if outcome.is_admitted())
        })
        .await;
    }
    assert_eq!(held(kernel("antwerp"), &id), Some(Form::from_bits(0b1111)));
    assert_eq!(held(kernel("terminal"), &id), Some(Form::from_bits(0b0011)));
    // The hub may not have the source, and its receiver can see that there is one.
    assert_eq!(held(kernel("hub"), &id), Some(Form::from_bits(0b0111)));
    let at_hub = kernel("hub").store().record(&id).unwrap().unwrap();
    let header = kernel("hub")
        .decider()
        .verify_held(&at_hub, kernel("hub").now())
        .unwrap();
    assert_eq!(header.header().full_form(), Form::from_bits(0b1111));
    assert!(header.body(SectionTag::Source).is_none());
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_denied_is_in_the_ledger_and_never_arrives() {
    let federation = Federation::new(&MEMBERS);
    let nodes = federation.start().await;
    let kernel = |name: &str| &nodes[&name.parse().unwrap()].kernel;
    let rotterdam = kernel("rotterdam");
    let mut red = draft(Kind::Indicator);
    red.marking.tlp = Tlp::Red;
    red.marking.release_to = Some(["antwerp".parse().unwrap()].into());
    let id = rotterdam.publish(vec![red]).await.unwrap()[0];
    eventually(rotterdam, || {
        state(rotterdam, &id, "antwerp") == Some(DisclosureState::Answered(Outcome::Accepted))
    })
    .await;
    for peer in ["terminal", "hub"] {
        eventually(rotterdam, || {
            state(rotterdam, &id, peer) == Some(DisclosureState::Denied)
        })
        .await;
        assert_eq!(held(kernel(peer), &id), None);
    }
    let row = rotterdam
        .store()
        .disclosure(&id, &"hub".parse().unwrap())
        .unwrap()
        .unwrap();
    assert!(
        row.note
            .policies
            .iter()
            .any(|policy| policy == "base-release-list"),
        "{:?}",
        row.note.policies
    );
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_was_away_gets_what_it_missed_once() {
    let federation = Federation::new(&MEMBERS[..2]);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let ids = rotterdam
        .kernel
        .publish(vec![draft(Kind::Indicator), draft(Kind::Indicator)])
        .await
        .unwrap();
    let alert = rotterdam
        .kernel
        .publish(vec![draft(Kind::Alert)])
        .await
        .unwrap()[0];
    let home = rotterdam.stop().await;
    let antwerp = Running::start(federation.home("antwerp")).await;
    let rotterdam = Running::start(home).await;
    for id in ids.iter().chain([&alert]) {
        eventually(&rotterdam.kernel, || {
            state(&rotterdam.kernel, id, "antwerp")
                == Some(DisclosureState::Answered(Outcome::Accepted))
        })
        .await;
        assert!(held(&antwerp.kernel, id).is_some());
    }
    let listed = antwerp
        .kernel
        .store()
        .records(&RecordFilter::default())
        .unwrap();
    assert_eq!(listed.len(), 3);
    stop([rotterdam, antwerp]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_passes_on_what_it_may_and_nothing_twice() {
    let federation = Federation::new(&MEMBERS);
    let nodes = federation.start().await;
    let kernel = |name: &str| &nodes[&name.parse().unwrap()].kernel;
    let rotterdam = kernel("rotterdam");
    let id = rotterdam
        .publish(vec![draft(Kind::Indicator)])
        .await
        .unwrap()[0];
    let hub = kernel("hub");
    eventually(hub, || {
        matches!(
            state(hub, &id, "antwerp"),
            Some(DisclosureState::Answered(_))
        )
    })
    .await;
    // The record came from rotterdam: nothing goes back there.
    assert_eq!(state(hub, &id, "rotterdam"), None);
    let antwerp = kernel("antwerp");
    let listed = antwerp.store().records(&RecordFilter::default()).unwrap();
    assert_eq!(listed.len(), 1);
    stop(nodes.into_values()).await;
}
