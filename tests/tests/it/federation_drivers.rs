//! A driver that panics is started again, and no other driver is affected.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use portcullis_exchange::dispatch::{driver, supervisor};
use portcullis_home::config::Config;
use portcullis_kernel::Kernel;
use portcullis_node::runtime::Node;
use portcullis_protocol::{
    body::{Assessment, Body},
    evaluation::Evaluation,
    frame::Lane,
    marking::{Marking, Purpose, Tlp},
    record::{Kind, RecordId},
    register::AuthorityKind,
    seal::Draft,
};
use portcullis_store::DisclosureState;
use portcullis_tests::federation::{Federation, Member, Running, eventually};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const MEMBERS: [Member; 3] = [
    ("antwerp", AuthorityKind::Customs),
    ("rotterdam", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Customs),
];

async fn published(kernel: &Arc<Kernel>, threat: &str) -> RecordId {
    let assessment = Assessment {
        threat: threat.to_owned(),
        finding: None,
        text: String::new(),
    };
    let draft = Draft::new(
        Kind::Advisory,
        Marking::new(Tlp::Green, [Purpose::CustomsControl]),
        Evaluation::default(),
        vec![Body::Assessment(assessment)],
    );
    kernel.publish(vec![draft]).await.unwrap()[0]
}

async fn accepted(kernel: &Arc<Kernel>, id: &RecordId, peer: &str) {
    eventually(kernel, || {
        let row = kernel
            .store()
            .disclosure(id, &peer.parse().unwrap())
            .unwrap();
        matches!(
            row.map(|row| row.state),
            Some(DisclosureState::Answered(outcome)) if outcome.is_admitted()
        )
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_panic_deliveries_to_that_peer_go_on_and_others_were_never_touched() {
    let federation = Federation::new(&MEMBERS);
    let rotterdam = Running::start(federation.home("rotterdam")).await;
    let hamburg = Running::start(federation.home("hamburg")).await;
    // The sender does not listen: only its drivers run.
    let home = federation.home("antwerp");
    let config = Config::load(&home.config()).unwrap();
    let node = Node::prepare(home, config).await.unwrap();
    let kernel = Arc::clone(node.kernel());
    let starts: Arc<Mutex<BTreeMap<supervisor::PeerLane, u32>>> = Arc::default();
    let panic = Arc::new(Notify::new());
    let drive = {
        let (starts, panic) = (Arc::clone(&starts), Arc::clone(&panic));
        move |kernel: Arc<Kernel>, way: supervisor::PeerLane, stop: CancellationToken| {
            *starts.lock().unwrap().entry(way.clone()).or_default() += 1;
            let panic = Arc::clone(&panic);
            async move {
                let (peer, lane) = way;
                let is_struck = peer.as_str() == "rotterdam" && lane == Lane::Bulk;
                tokio::select! {
                    () = driver::run(kernel, peer, lane, stop) => {}
                    () = panic.notified(), if is_struck => panic!("injected"),
                }
            }
        }
    };
    let shutdown = CancellationToken::new();
    let pause = Duration::from_millis(20);
    let supervising = supervisor::keep(Arc::clone(&kernel), drive, pause, shutdown.clone());
    let supervising = tokio::spawn(supervising);
    let before = published(&kernel, "before").await;
    for peer in ["rotterdam", "hamburg"] {
        accepted(&kernel, &before, peer).await;
    }
    panic.notify_one();
    let after = published(&kernel, "after").await;
    for peer in ["hamburg", "rotterdam"] {
        accepted(&kernel, &after, peer).await;
    }
    // The record may have left before the panic, so the restart of the driver is waited for.
    eventually(&kernel, || {
        let starts = starts.lock().unwrap();
        starts.values().sum::<u32>() == 5
    })
    .await;
    for ((peer, lane), count) in starts.lock().unwrap().iter() {
        let expected = if peer.as_str() == "rotterdam" && *lane == Lane::Bulk {
            2
        } else {
            1
        };
        assert_eq!(*count, expected, "{peer} {lane}");
    }
    let last = published(&kernel, "last").await;
    for peer in ["rotterdam", "hamburg"] {
        accepted(&kernel, &last, peer).await;
    }
    shutdown.cancel();
    supervising.await.unwrap();
    rotterdam.stop().await;
    hamburg.stop().await;
}
