//! Scores of a running node, and a member that means to move them.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use portcullis_admin_api::v1::score::ExplanationView;
use portcullis_desk::{Desk, Import, Setup};
use portcullis_kernel::{Kernel, alarms};
use portcullis_protocol::{
    body::{Body, Cell, Cells},
    evaluation::{Evaluation, InformationCode, SourceCode},
    record::Kind,
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::ConsignmentStage;
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
        generate: None,
    };
    desk.import(import, Box::new(|_| {})).await.unwrap();
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
