//! Two nodes in network namespaces of their own, joined by a cable that is pulled and put back.
//!
//! Unlike a proxy, a pulled cable signals nothing to either side: packets are lost, and TCP waits.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use portcullis_admin::ledger::LedgerView;

use super::{
    cast::{MEMBERS, Stopped, quick},
    check,
    load::Load,
    process::{Launch, PATIENCE, Process},
    report::Row,
};
use crate::federation::{Federation, Site, accept_settings};

/// A pair of namespaces joined by a cable; they are deleted when it is dropped.
struct Cable {
    names: [String; 2],
}

impl Cable {
    /// Creates the namespaces and the cable; `None` if the machine does not permit it.
    fn lay() -> Option<Self> {
        let id = std::process::id();
        let names = [format!("pc-{id}-a"), format!("pc-{id}-b")];
        let cable = Self { names };
        let [a, b] = &cable.names;
        let laid = ip(&["netns", "add", a])
            && ip(&["netns", "add", b])
            && ip(&[
                "-n", a, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns",
                b,
            ])
            && [(a, 1), (b, 2)].iter().all(|(name, host)| {
                ip(&[
                    "-n",
                    name,
                    "addr",
                    "add",
                    &format!("10.213.7.{host}/24"),
                    "dev",
                    "cable",
                ]) && ip(&["-n", name, "link", "set", "lo", "up"])
                    && ip(&["-n", name, "link", "set", "cable", "up"])
            });
        laid.then_some(cable)
    }

    fn pull(&self) {
        assert!(ip(&["-n", &self.names[1], "link", "set", "cable", "down"]));
    }

    fn put_back(&self) {
        assert!(ip(&["-n", &self.names[1], "link", "set", "cable", "up"]));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        for name in &self.names {
            ip(&["netns", "del", name]);
        }
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip")
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Pulls the cable `rounds` times while a frame is on its way; `None` where the machine permits no
/// namespaces.
pub async fn cut_and_healed(binary: &Path, rounds: usize) -> Option<Row> {
    let cable = Cable::lay()?;
    let members = MEMBERS.get(..2).unwrap();
    let mut host = 0;
    let federation = Federation::at(members, |_| {
        host += 1;
        let listen = SocketAddr::from((Ipv4Addr::new(10, 213, 7, host), 7443));
        Site {
            listen,
            endpoint: listen,
        }
    });
    let mut nodes = Vec::new();
    for ((name, _), namespace) in members.iter().zip(&cable.names) {
        let home = federation.home(name);
        quick(&home.config());
        accept_settings(&home);
        let launch = Launch {
            binary: binary.to_owned(),
            shim: None,
            namespace: Some(namespace.clone()),
            ..Launch::default()
        };
        let mut node = Process::new(home, launch);
        node.up().await;
        nodes.push(node);
    }
    let sender = nodes.first().unwrap();
    let mut load = Load::enrol(members.first().unwrap().0, sender.client.clone()).await;
    let mut catch_up = Vec::new();
    for _ in 0..rounds {
        load.publish(5).await.unwrap();
        arrived(sender, 0).await;
        cable.pull();
        load.publish(20).await.unwrap();
        arrived(sender, 20).await;
        cable.put_back();
        let begun = Instant::now();
        arrived(sender, 0).await;
        catch_up.push(begun.elapsed());
    }
    let mut homes = Vec::new();
    for mut node in nodes {
        assert!(node.stop().await.success());
        homes.push(node.home.clone());
    }
    let verdict = check::judge_stopped(Stopped {
        homes,
        acknowledged: load.acknowledged,
        federation,
    });
    Some(Row::new(
        "cable between namespaces pulled",
        &catch_up,
        verdict.await,
    ))
}

/// Waits until every record is decided and exactly `open` decisions are without an answer.
async fn arrived(sender: &Process, open: u64) {
    let begun = Instant::now();
    loop {
        let ledger: LedgerView = sender.client.get("/v1/ledger").await.unwrap();
        if ledger.open == open && ledger.rows == ledger.own {
            return;
        }
        assert!(begun.elapsed() < 2 * PATIENCE, "{ledger:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
