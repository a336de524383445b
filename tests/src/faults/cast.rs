//! A federation of node processes with a proxy before each, and a load at the first of them.

use std::{
    net::Ipv4Addr,
    path::Path,
    time::{Duration, Instant},
};

use portcullis_admin::ledger::LedgerView;
use portcullis_admin_api::v1::{register::TakenUpView, status::StatusView};
use portcullis_protocol::register::AuthorityKind;

use super::{
    load::Load,
    process::{Launch, PATIENCE, Process},
    proxy::Proxy,
    shim::Control,
};
use crate::federation::{Federation, Member, Site, accept_settings, free_address};
use portcullis_home::Home;

/// Members of the cast; the first one sends.
pub const MEMBERS: [Member; 3] = [
    ("rotterdam", AuthorityKind::Customs),
    ("antwerp", AuthorityKind::Customs),
    ("hamburg", AuthorityKind::Police),
];

/// A node of the cast.
pub struct Actor {
    /// Its process.
    pub process: Process,
    /// Proxy to which its peers connect.
    pub proxy: Proxy,
    /// Shim between the process and its disk and clock.
    pub shim: Control,
}

/// A federation of processes. The first sends, the others receive.
pub struct Cast {
    /// The sender.
    pub sender: Actor,
    /// The receivers.
    pub receivers: Vec<Actor>,
    /// The load at the sender.
    pub load: Load,
    federation: Federation,
}

impl Cast {
    /// Makes a federation of the first `members` of [`MEMBERS`], starts all nodes and warms the
    /// links.
    pub async fn start(binary: &Path, members: usize) -> Self {
        let members = MEMBERS.get(..members).unwrap();
        let ip = own_address();
        let mut proxies = Vec::new();
        let mut sites = Vec::new();
        for _ in members {
            let listen = free_address(ip);
            let proxy = Proxy::start(ip, listen).await;
            sites.push(Site {
                listen,
                endpoint: proxy.address,
            });
            proxies.push(proxy);
        }
        let mut sites = sites.into_iter();
        let federation = Federation::at(members, |_| sites.next().unwrap());
        let mut actors: Vec<Actor> = Vec::new();
        for (member, proxy) in members.iter().zip(proxies) {
            actors.push(Actor::new(&federation, member, proxy, binary));
        }
        for actor in &mut actors {
            actor.process.start();
        }
        for actor in &mut actors {
            actor.process.ready().await;
        }
        let sender = actors.remove(0);
        let load = Load::enrol(members.first().unwrap().0, sender.process.client.clone()).await;
        let mut cast = Self {
            sender,
            receivers: actors,
            load,
            federation,
        };
        cast.warm().await;
        cast
    }

    /// Returns the first receiver, the target of most faults.
    #[must_use]
    pub fn receiver(&self) -> &Actor {
        self.receivers.first().unwrap()
    }

    /// Returns the first receiver, mutable.
    pub fn receiver_mut(&mut self) -> &mut Actor {
        self.receivers.first_mut().unwrap()
    }

    /// Publishes a record and waits until all receivers have it; every link is open afterwards.
    pub async fn warm(&mut self) {
        self.load.publish(1).await.unwrap();
        self.arrived().await;
    }

    /// Waits until every receiver has answered everything that the sender holds as admitted, and
    /// returns how long that took.
    pub async fn arrived(&self) -> Duration {
        let begun = Instant::now();
        let mut pause = Duration::from_millis(4);
        loop {
            let ledger = self.ledger().await;
            if ledger.open == 0 && ledger.delivered == ledger.own * self.receivers.len() as u64 {
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < 2 * PATIENCE,
                "not everything arrives: {ledger:?}\n{}\n{}",
                self.sender.process.log(),
                self.receiver().process.log(),
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Reads the counts of the sender's ledger.
    pub async fn ledger(&self) -> LedgerView {
        let client = &self.sender.process.client;
        let ledger: LedgerView = client.get("/v1/ledger").await.unwrap();
        assert!(
            ledger.own >= self.load.acknowledged.len() as u64,
            "{} records were acknowledged: {ledger:?}",
            self.load.acknowledged.len()
        );
        ledger
    }

    /// Makes the next epoch of the register and has the first receiver put it in force. Returns its
    /// number.
    pub async fn next_epoch(&mut self) -> u64 {
        let (at, _) = MEMBERS.get(1).unwrap();
        self.federation.next_epoch(at, |_| ());
        let client = &self.receiver().process.client;
        let taken: TakenUpView = client.post("/v1/register", &()).await.unwrap();
        assert_eq!(taken.register_epoch, self.federation.register.epoch);
        taken.register_epoch
    }

    /// Stops every node in order and returns the homes.
    pub async fn stop(mut self) -> Stopped {
        let mut homes = Vec::new();
        for actor in std::iter::once(&mut self.sender).chain(&mut self.receivers) {
            let status = actor.process.stop().await;
            assert!(status.success(), "{status}: {}", actor.process.log());
            homes.push(actor.process.home.clone());
        }
        Stopped {
            homes,
            acknowledged: self.load.acknowledged,
            federation: self.federation,
        }
    }
}

impl Actor {
    fn new(federation: &Federation, member: &Member, proxy: Proxy, binary: &Path) -> Self {
        let home = federation.home(member.0);
        quick(&home.config());
        let shim = Control::new(federation.folder(), member.0);
        let launch = Launch {
            binary: binary.to_owned(),
            shim: Some(shim.clone()),
            namespace: None,
            ..Launch::default()
        };
        Self {
            process: Process::new(home, launch),
            proxy,
            shim,
        }
    }

    /// Reads the end of its record log.
    pub async fn log_end(&self) -> u64 {
        let status: StatusView = self.process.client.get("/v1/status").await.unwrap();
        status.log_end
    }
}

/// The homes of a cast that has stopped.
pub struct Stopped {
    /// Homes of the nodes, the sender's first.
    pub homes: Vec<portcullis_home::Home>,
    /// Ids of the records whose publication the sender acknowledged.
    pub acknowledged: Vec<String>,
    /// The federation, which owns the folder of the homes.
    pub federation: Federation,
}

/// Shortens the retry intervals in a node's configuration, so that it retries soon.
pub(crate) fn quick(config: &Path) {
    let text = std::fs::read_to_string(config).unwrap();
    let quicker = text
        .replace("# retry_first = \"1s\"", "retry_first = \"100ms\"")
        .replace("# retry_longest = \"15m\"", "retry_longest = \"1s\"");
    assert_ne!(text, quicker, "the configuration has other defaults");
    std::fs::write(config, quicker).unwrap();
    accept_settings(&Home::new(config.parent().unwrap()));
}

/// A loopback address that this process alone uses, so that a port found free stays free while its
/// node is down.
fn own_address() -> Ipv4Addr {
    let [_, a, b, c] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + (a & 0x7f), b, c.clamp(1, 254))
}
