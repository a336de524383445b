//! Scores of a running node, and a member that means to move them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use portcullis_admin_api::v1::score::ExplanationView;
use portcullis_desk::{Desk, Import, Setup, import::Instructions};
use portcullis_kernel::{Kernel, alarms};
use portcullis_protocol::{
    body::{Assessment, Body, Cell, Cells, Selector, SelectorKind, Subject},
    evaluation::{Evaluation, InformationCode, SourceCode},
    marking::{Marking, Purpose, RequestedAction, Tlp},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
    time::Timestamp,
};
use portcullis_store::{ConsignmentStage, ScoreRow};
use portcullis_tests::federation::{Federation, eventually};
use tokio_util::sync::CancellationToken;

const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";

/// Returns a row of these goods with the finding of its control.
fn row(reference: usize, goods: &str, found: &str) -> String {
    format!(
        "{reference},2020-03-01,40,B,11,11,11,40,76NV527,SHHZGSL,249LO7A,,{goods},CN,CN,7.2,FCN1,E,901.2,415092.72,{found},{found}"
    )
}

async fn import(desk: &Arc<Desk>, stage: ConsignmentStage, rows: &[String]) {
    let import = Import {
        file: Bytes::from(format!("{HEADER}\n{}\n", rows.join("\n"))),
        stage,
        instructions: Instructions::default(),
    };
    desk.import(import).await.unwrap();
}

/// Publishes the counts of `kernel`'s authority for some goods.
async fn publish(kernel: &Arc<Kernel>, setup: &Setup, goods: &str, controls: u32, findings: u32) {
    let key = [goods, "CN", "CN", "FCN1", "7.2"];
    let cells = Cells {
        schema: setup.schema.digest(),
        period: "2020".to_owned(),
        contributors: BTreeSet::from([kernel.me().authority.clone()]),
        part: 1,
        parts: 1,
        cells: vec![Cell {
            key: key.map(str::to_owned).to_vec(),
            controls,
            findings,
        }],
    };
    let known = Evaluation::new(SourceCode::A, InformationCode::One);
    let marking = setup.profile_marking.clone();
    let draft = Draft::new(Kind::RiskProfile, marking, known, vec![Body::Cells(cells)]);
    kernel.publish(vec![draft]).await.unwrap();
}

/// Attack C2: a profile of 4·10⁹ invented controls took an arrival from 93 points to 0, and nothing
/// alarmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn invented_controls_take_one_from_a_score_and_raise_an_alarm() {
    let federation = Federation::new(&[
        ("antwerp", AuthorityKind::Customs),
        ("hamburg", AuthorityKind::Customs),
        ("corrupt", AuthorityKind::Customs),
    ]);
    let running = federation.start().await;
    let at = |name: &str| &running[&name.parse().unwrap()].kernel;
    let (antwerp, setup) = (at("antwerp"), Setup::shipped().unwrap());
    let desk = Arc::new(Desk::new(Arc::clone(antwerp), setup.clone()));
    let end = CancellationToken::new();
    let living = tokio::spawn(Arc::clone(&desk).run(end.clone()));

    let history: Vec<String> = (1000..1040)
        .map(|n| {
            row(
                n,
                if n % 2 == 0 { "760711" } else { "010101" },
                if n % 4 == 0 { "1" } else { "0" },
            )
        })
        .collect();
    import(&desk, ConsignmentStage::History, &history).await;
    import(&desk, ConsignmentStage::Arriving, &[row(7, "760711", "")]).await;
    publish(at("hamburg"), &setup, "760711", 400, 390).await;
    let score = async || -> ExplanationView {
        desk.settled().await;
        desk.score("7").await.unwrap()
    };
    let profiles = |count: usize| {
        let store = Arc::clone(antwerp.store());
        move || {
            let held = store.records(&portcullis_store::RecordFilter {
                kind: Some(Kind::RiskProfile),
                ..portcullis_store::RecordFilter::default()
            });
            held.unwrap().len() == count
        }
    };
    eventually(antwerp, profiles(1)).await;
    let before = score().await;

    publish(at("corrupt"), &setup, "760711", u32::MAX, 0).await;
    eventually(antwerp, profiles(2)).await;
    eventually(antwerp, || !antwerp.alarms().standing().is_empty()).await;
    let after = score().await;
    assert!(
        after.log_odds >= before.log_odds - 1.0 - 1e-9,
        "{before:?}\n{after:?}"
    );
    let bound = after.contributions.last().unwrap();
    assert_eq!((bound.part.as_str(), bound.records.len()), ("bound", 1));
    assert!(bound.what.contains("corrupt"), "{}", bound.what);
    assert_ne!(after.because(), bound.what);
    let standing = antwerp.alarms().standing();
    assert!(
        standing.iter().any(|alarm| alarm.contains("`corrupt`")),
        "{standing:?}"
    );
    let remembered = || {
        let events = antwerp.store().events(50).unwrap();
        let mut alarms = events.iter().filter(|event| event.kind == alarms::EVENT);
        alarms.any(|event| event.detail.contains("`corrupt`"))
    };
    eventually(antwerp, remembered).await;

    end.cancel();
    living.await.unwrap();
}

/// Terminals are heard on requests, and believed as they say.
const HEARD: &str = "@id(\"hear-terminals\")\n\
    permit (principal, action in [Portcullis::Action::\"hear\", Portcullis::Action::\"believe\"], resource)\n\
    when { principal.kind == Portcullis::AuthorityKind::\"private-operator\" };\n";

/// Nobody but this authority is believed.
const DEAF: &str = "@id(\"deaf\")\n\
    forbid (principal, action == Portcullis::Action::\"believe\", resource) unless { principal.own };\n";

/// Attack M11: who is believed, and whose requests are heard, is the authority's policy. A reload that
/// changes it scores again, and the score names what counts by that policy alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_that_hears_others_scores_again_and_names_whom_it_hears() {
    let federation = Federation::new(&[
        ("antwerp", AuthorityKind::Customs),
        ("terminal", AuthorityKind::PrivateOperator),
    ]);
    let running = federation.start().await;
    let node = &running[&"antwerp".parse().unwrap()];
    let (antwerp, setup) = (&node.kernel, Setup::shipped().unwrap());
    let desk = Arc::new(Desk::new(Arc::clone(antwerp), setup));
    let end = CancellationToken::new();
    let living = tokio::spawn(Arc::clone(&desk).run(end.clone()));
    let history: Vec<String> = (1000..1040)
        .map(|n| row(n, "010101", if n % 4 == 0 { "1" } else { "0" }))
        .collect();
    import(&desk, ConsignmentStage::History, &history).await;
    import(&desk, ConsignmentStage::Arriving, &[row(7, "760711", "")]).await;

    let mut marking = Marking::new(Tlp::Green, [Purpose::CustomsControl, Purpose::PortSecurity]);
    marking.requested_action = Some(RequestedAction::DoNotApproach);
    let alert = Draft::new(
        Kind::Alert,
        marking,
        Evaluation::new(SourceCode::A, InformationCode::One),
        vec![
            Body::Subject(Subject {
                selectors: vec![Selector::new(SelectorKind::HsCode, "760711", None).unwrap()],
                title: "foil".to_owned(),
                generated: false,
            }),
            Body::Assessment(Assessment {
                threat: "narcotics".to_owned(),
                finding: None,
                text: String::new(),
            }),
        ],
    );
    let terminal = &running[&"terminal".parse().unwrap()].kernel;
    let began = antwerp.now();
    let alert = terminal.publish(vec![alert]).await.unwrap().remove(0);
    eventually(antwerp, || {
        antwerp.store().record(&alert).unwrap().is_some()
    })
    .await;
    // Kept scores follow by themselves: each is compared with what an explanation of now says.
    let kept = async |since: Timestamp, points: Option<&str>, by_policy: bool, heard: bool| {
        let alert = alert.to_string();
        let explains = |view: &ExplanationView| {
            let mut parts = view.contributions.iter();
            let part = parts.find(|part| part.records.contains(&alert));
            let aside = view.set_aside.iter().find(|aside| aside.record == alert);
            let [ask] = view.recommendation.asks.as_slice() else {
                return false;
            };
            let counts = part.map(|part| format!("{:.3}", part.log_odds));
            let is_named = part.is_some_and(|part| part.by_own_policy.contains(&alert));
            counts.as_deref() == points
                && is_named == by_policy
                && (ask.heard, ask.by_own_policy) == (heard, heard && by_policy)
                && aside.is_some_and(|aside| aside.why.contains("does not believe"))
                    == points.is_none()
        };
        let follows = async {
            loop {
                let view = desk.score("7").await.unwrap();
                let row = antwerp.store().score("7").unwrap();
                let is_kept = |row: ScoreRow| row.at >= since && row.points == view.points;
                if explains(&view) && row.is_some_and(is_kept) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let limit = Duration::from_secs(20);
        tokio::time::timeout(limit, follows).await.unwrap();
    };
    // Goods: largest ratio 1.5; Beta(4, 1) has mean 0.8; X3 is 0.25, A1 is 1.
    // ln(1 + 0.5 · 0.8 · 0.25) = 0.095, ln(1 + 0.5 · 0.8) = 0.336.
    kept(began, Some("0.095"), false, false).await;
    let policy = node.home.policy().join("own.cedar");
    for (text, points, by_policy, heard) in [
        (HEARD, Some("0.336"), true, true),
        (DEAF, None, false, false),
        ("", Some("0.095"), false, false),
    ] {
        std::fs::write(&policy, text).unwrap();
        // Nobody accepted it yet.
        assert!(node.reloader.reload().await.is_err());
        let since = antwerp.now();
        node.reload_accepting().await;
        kept(since, points, by_policy, heard).await;
    }
    end.cancel();
    living.await.unwrap();
}
