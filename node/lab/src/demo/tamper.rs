//! Flips one bit in transit, in a store and in a register, and reports what notices each.
//!
//! - In transit: a relay of bytes stands between the police node and one office; on command it
//!   flips one bit in the middle of the next TLS record that holds a frame.
//! - In a store: one bit of an encrypted section in the database file of a node that is stopped.
//! - In a register: one bit of a register file in the home of a node that is stopped.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
    time::timeout,
};

use super::{
    DemoError,
    cast::POLICE,
    people::{People, json},
    process::NodeProcess,
    records::Planned,
};
use portcullis_admin::ledger::VerificationView;
use portcullis_admin_api::{
    act::Action,
    v1::{
        act::{DraftsView, PublishedView},
        notice::WhatView,
    },
};
use portcullis_home::files;

/// Content type of application data in TLS (RFC 8446 §5.1).
const APPLICATION_DATA: u8 = 23;

/// Size in bytes that a TLS record with a signed frame exceeds. Records that only keep a connection
/// open and under control are smaller.
const WITH_A_FRAME: usize = 600;

/// Longest time that a flipped bit may stay unnoticed.
const PATIENCE: Duration = Duration::from_secs(20);

/// Finding about one flipped bit.
pub struct Finding {
    /// Place where it was flipped.
    pub place: &'static str,
    /// Mechanism that caught it; `None` if none did.
    pub caught_by: Option<String>,
}

/// Relay that passes bytes on between a peer and a node, and can flip one bit on the way.
pub struct Relay {
    flips: Flips,
    /// The relay's tasks end when it is dropped.
    _tasks: JoinSet<()>,
}

impl Relay {
    /// Starts a relay that listens at `listener` and passes everything on to `target`.
    #[must_use]
    pub fn start(listener: TcpListener, target: SocketAddr) -> Self {
        let flips = Flips::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, target, flips.clone()));
        Self {
            flips,
            _tasks: tasks,
        }
    }

    /// Orders one bit to be flipped in the next frame towards the node.
    fn arm(&self) {
        self.flips.armed.store(true, Ordering::SeqCst);
    }

    /// Waits until the node has ended the connection on which the bit was flipped.
    async fn broken(&self) {
        self.flips.broken.notified().await;
    }
}

/// State that all connections of a relay share.
#[derive(Clone, Default)]
struct Flips {
    /// True while a bit is still to be flipped.
    armed: Arc<AtomicBool>,
    /// Notified when the node has ended the connection on which a bit was flipped.
    broken: Arc<Notify>,
}

async fn accept(listener: TcpListener, target: SocketAddr, flips: Flips) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((peer, _)) = listener.accept().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        connections.spawn(pass(peer, target, flips.clone()));
    }
}

async fn pass(peer: TcpStream, target: SocketAddr, flips: Flips) {
    let Ok(node) = TcpStream::connect(target).await else {
        return;
    };
    let (mut from_peer, mut to_peer) = peer.into_split();
    let (mut from_node, mut to_node) = node.into_split();
    let flipped = AtomicBool::new(false);
    let back = async {
        let ended = tokio::io::copy(&mut from_node, &mut to_peer).await;
        if flipped.load(Ordering::SeqCst) {
            flips.broken.notify_one();
        }
        ended?;
        to_peer.shutdown().await
    };
    let there = records(&mut from_peer, &mut to_node, &flips.armed, &flipped);
    let ended = tokio::join!(there, back);
    tracing::debug!(?ended, "a relayed connection ended");
}

/// Passes TLS records on one by one: five bytes of type, version and length, then the content.
async fn records(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    armed: &AtomicBool,
    flipped: &AtomicBool,
) -> std::io::Result<()> {
    loop {
        let mut head = [0; 5];
        from.read_exact(&mut head).await?;
        let [kind, _, _, high, low] = head;
        let mut content = vec![0; usize::from(u16::from_be_bytes([high, low]))];
        from.read_exact(&mut content).await?;
        let with_a_frame = kind == APPLICATION_DATA && content.len() > WITH_A_FRAME;
        if with_a_frame && armed.swap(false, Ordering::SeqCst) {
            let middle = content.len() / 2;
            if let Some(byte) = content.get_mut(middle) {
                *byte ^= 1;
            }
            flipped.store(true, Ordering::SeqCst);
        }
        to.write_all(&head).await?;
        to.write_all(&content).await?;
    }
}

/// Flips a bit on the way from the police to `office`. The connection must break, and the record
/// must still arrive over a new one.
///
/// # Errors
///
/// [`DemoError`] if the police node does not publish.
pub async fn in_transit(
    nodes: &BTreeMap<String, NodeProcess>,
    relay: &Relay,
    people: &People,
    planned: &Planned,
    office: &str,
) -> Result<Finding, DemoError> {
    let police = super::node(nodes, POLICE)?;
    let receiver = super::node(nodes, office)?;
    let mut notices = police
        .client
        .watch()
        .await
        .map_err(|source| DemoError::Client {
            node: POLICE.to_owned(),
            source,
        })?;
    relay.arm();
    let body = json(&DraftsView {
        drafts: vec![planned.draft.clone()],
    })?;
    let published: PublishedView = people
        .act(police, Action::Publish, BTreeMap::new(), body)
        .await?;
    let id = published.records.into_iter().next().unwrap_or_default();
    let arrives = async {
        while let Ok(Some(notice)) = notices.next().await {
            if let WhatView::Answered { record, peer, .. } = notice.what
                && peer == office
                && record == id
            {
                return;
            }
        }
    };
    let both = async { tokio::join!(relay.broken(), arrives) };
    let caught_by = timeout(PATIENCE, both).await.ok().map(|_| {
        let said = said_of_tls(&[receiver.logged(), police.logged()]);
        let said = said.map_or_else(String::new, |said| format!(" ({said})"));
        format!(
            "the authentication tag of the TLS 1.3 record{said}: the office ended the connection, \
             and the record arrived over a new one"
        )
    });
    Ok(Finding {
        place: "in transit",
        caught_by,
    })
}

/// Returns rustls's name for a record with a wrong tag, if a log holds one.
fn said_of_tls(logs: &[String]) -> Option<String> {
    const NAMES: [&str; 4] = [
        "BadRecordMac",
        "bad_record_mac",
        "DecryptError",
        "cannot decrypt",
    ];
    let found = NAMES
        .iter()
        .find(|name| logs.iter().any(|log| log.contains(**name)))?;
    Some((*found).to_owned())
}

/// Flips a bit of a section in the database of a node. The node is stopped before and started again
/// after.
///
/// # Errors
///
/// [`DemoError`] if the node does not stop or start, or has no section.
pub async fn in_store(node: &mut NodeProcess) -> Result<Finding, DemoError> {
    node.stop().await?;
    flip_in_database(&node.home.data().join("store.db"))?;
    node.start_again()?;
    node.ready().await?;
    let verification: VerificationView = node.get("/v1/verification").await?;
    let caught_by = verification.failed.first().map(|failure| {
        let by = failure
            .rule
            .as_deref()
            .unwrap_or("AES-256-GCM of the section");
        format!("{by}: {} (record {:.12})", failure.why, failure.record)
    });
    Ok(Finding {
        place: "in a store",
        caught_by,
    })
}

/// Finds the last bytes of an encrypted section in the database file and flips one bit of them,
/// without SQLite.
fn flip_in_database(path: &Path) -> Result<(), DemoError> {
    let sealed: Vec<u8> = {
        let database = rusqlite::Connection::open(path).map_err(DemoError::Database)?;
        database
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(DemoError::Database)?;
        database
            .query_row(
                "SELECT substr(body, -24) FROM pack WHERE length(body) < 2000 ORDER BY n LIMIT 1",
                [],
                |row| row.get(0),
            )
            .map_err(DemoError::Database)?
    };
    let mut file = fs::read(path).map_err(|source| DemoError::System {
        path: path.to_owned(),
        source,
    })?;
    let at = file
        .windows(sealed.len())
        .position(|window| window == sealed.as_slice())
        .ok_or(DemoError::NoSection)?;
    flip(&mut file, at + sealed.len() / 2);
    write_back(path, &file)
}

/// Flips a bit in the register of a stopped node, which must then refuse to start. The bit is
/// restored afterwards, and the node is started again.
///
/// # Errors
///
/// [`DemoError`] if the node does not stop, or does not start with the restored register.
pub async fn in_register(node: &mut NodeProcess) -> Result<Finding, DemoError> {
    node.stop().await?;
    let epochs = files::list(&node.home.register(), "register")?;
    let path = epochs.first().ok_or(DemoError::NoSection)?;
    let mut file = files::read(path)?;
    let middle = file.len() / 2;
    flip(&mut file, middle);
    write_back(path, &file)?;
    node.start_again()?;
    let caught_by = match node.last_words().await {
        Some((status, words)) if !status.success() => rule_in(&words),
        Some(_) | None => None,
    };
    flip(&mut file, middle);
    write_back(path, &file)?;
    node.start_again()?;
    node.ready().await?;
    Ok(Finding {
        place: "in a register",
        caught_by,
    })
}

/// Returns the first rule of the register that a text names, with the text that follows it.
fn rule_in(words: &str) -> Option<String> {
    let line = words.lines().find(|line| line.contains("RG-"))?;
    let from = line.find("RG-")?;
    let named: String = line.get(from..)?.chars().take(160).collect();
    Some(format!("{named}; the node did not start"))
}

fn flip(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1;
    }
}

fn write_back(path: &Path, content: &[u8]) -> Result<(), DemoError> {
    fs::write(path, content).map_err(|source| DemoError::System {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_found_in_what_a_node_says_last() {
        let words = "starting\nerror: `00000001.register` is refused: RG-02: its digest is `ab`\n";
        let found = rule_in(words).unwrap();
        assert_eq!(found, "RG-02: its digest is `ab`; the node did not start");
        assert_eq!(rule_in("error: no such file"), None);
    }

    #[tokio::test]
    async fn one_bit_of_one_record_is_flipped() {
        let (armed, flipped) = (AtomicBool::new(true), AtomicBool::new(false));
        let record = |kind, length: u16| {
            let mut record = vec![kind, 3, 3];
            record.extend_from_slice(&length.to_be_bytes());
            record.resize(record.len() + usize::from(length), 0);
            record
        };
        let stream = [
            record(22, 900),
            record(APPLICATION_DATA, 40),
            record(APPLICATION_DATA, 900),
            record(APPLICATION_DATA, 900),
        ]
        .concat();
        let mut out = Vec::new();
        let ended = records(&mut stream.as_slice(), &mut out, &armed, &flipped).await;
        assert_eq!(ended.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
        assert!(flipped.load(Ordering::SeqCst) && !armed.load(Ordering::SeqCst));
        let differing: u32 = stream
            .iter()
            .zip(&out)
            .map(|(before, after)| (before ^ after).count_ones())
            .sum();
        assert_eq!((out.len(), differing), (stream.len(), 1));
        let at = stream
            .iter()
            .zip(&out)
            .position(|(before, after)| before != after);
        assert_eq!(at, Some(5 + 900 + 5 + 40 + 5 + 450));
    }
}
