//! Trust, live: what is signed once reaches every running node, by whichever member carries it.

use std::collections::BTreeMap;

use portcullis_node::{config::Config, runtime::Node};
use portcullis_protocol::{identifiers::AuthorityId, register::AuthorityKind};
use portcullis_tests::federation::{Federation, Member, Running, eventually};

const MEMBERS: [Member; 4] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("terminal", AuthorityKind::PrivateOperator),
    ("hub", AuthorityKind::Hub),
];

fn epoch(node: &Running) -> u64 {
    node.core.decider().register().epoch
}

async fn stop(running: impl IntoIterator<Item = Running>) {
    for node in running {
        node.stop().await;
    }
}

async fn all_have(nodes: &BTreeMap<AuthorityId, Running>, names: &[&str], expected: u64) {
    for name in names {
        let node = &nodes[&name.parse().unwrap()];
        eventually(&node.core, || epoch(node) == expected).await;
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
    // Each keeps it in home and store, so that it starts with it again.
    stop(nodes.into_values()).await;
    let hub = Running::start(federation.home("hub")).await;
    assert_eq!(epoch(&hub), 3);
    assert_eq!(hub.core.store().registers().unwrap().len(), 3);
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
    // Nobody answers it any more, and it is nobody's peer.
    for name in ["rotterdam", "antwerp", "hub"] {
        let snapshot = node(name).core.trust().current();
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
    eventually(&terminal.core, || epoch(&terminal) == 5).await;
    terminal.stop().await;
    stop(nodes.into_values()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_newest_epoch_was_taken_away_does_not_start() {
    let mut federation = Federation::new(&MEMBERS[..1]);
    federation.next_epoch("rotterdam", |_| ());
    let home = federation.home("rotterdam");
    Running::start(home.clone()).await.stop().await;
    let newest = portcullis_node::membership::epoch_path(&home, 3);
    std::fs::remove_file(newest).unwrap();
    let config = Config::load(&home.config()).unwrap();
    let refused = Node::prepare(home, config).await.err().unwrap();
    assert!(refused.to_string().starts_with("RG-10: "), "{refused}");
}
