//! A TCP proxy before a node: it delays, holds, cuts, swallows and forgets, as it is told.
//!
//! It sees TLS and understands none of it: what is told apart are the directions, and how many
//! bytes went each way.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{AbortHandle, JoinSet},
};

/// What becomes of bytes in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They go through.
    Pass,
    /// They stay here until it is said otherwise.
    Hold,
    /// They go through up to this count of the direction's counter, then stay here.
    Until(u64),
}

/// What the proxy does at present.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Towards the node.
    pub up: Flow,
    /// From the node.
    pub down: Flow,
    /// How long each piece waits before it goes on.
    pub delay: Duration,
    /// One piece in so many ends its connection; 0: none does.
    pub cut_one_in: u64,
    /// Whether new connections are taken.
    pub open: bool,
    /// Connections of an earlier one end.
    generation: u64,
    /// Connections of an earlier one carry nothing any more, and neither side is told.
    forgotten: u64,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            up: Flow::Pass,
            down: Flow::Pass,
            delay: Duration::ZERO,
            cut_one_in: 0,
            open: true,
            generation: 0,
            forgotten: 0,
        }
    }
}

/// How much went through.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    /// Bytes that arrived from callers and from the node, held ones included.
    came_up: AtomicU64,
    came_down: AtomicU64,
    went_up: AtomicU64,
    went_down: AtomicU64,
    pieces: AtomicU64,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where callers find it.
    pub address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    running: AbortHandle,
}

impl Proxy {
    /// Listens on an address of its own and passes on to `node`.
    pub async fn start(ip: Ipv4Addr, node: SocketAddr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (rules, seen) = watch::channel(Rules::default());
        let counts = Arc::new(Counts::default());
        let running = tokio::spawn(accept(listener, node, seen, Arc::clone(&counts)));
        Self {
            address,
            rules,
            counts,
            running: running.abort_handle(),
        }
    }

    /// Changes what it does.
    pub fn set(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    /// Lets everything through again; what was held goes on.
    pub fn heal(&self) {
        self.set(|rules| {
            *rules = Rules {
                generation: rules.generation,
                forgotten: rules.forgotten,
                ..Rules::default()
            };
        });
    }

    /// Ends every connection; what was held in it is lost.
    pub fn cut(&self) {
        self.set(|rules| rules.generation += 1);
    }

    /// Every connection swallows what comes and hides its end from both sides: half open.
    pub fn forget(&self) {
        self.set(|rules| rules.forgotten += 1);
    }

    /// Connections taken so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Bytes that arrived from callers, held ones included.
    #[must_use]
    pub fn came_up(&self) -> u64 {
        self.counts.came_up.load(Ordering::SeqCst)
    }

    /// Bytes that arrived from the node, held ones included.
    #[must_use]
    pub fn came_down(&self) -> u64 {
        self.counts.came_down.load(Ordering::SeqCst)
    }

    /// Bytes that went on to the node.
    #[must_use]
    pub fn went_up(&self) -> u64 {
        self.counts.went_up.load(Ordering::SeqCst)
    }

    /// Bytes that went back to callers.
    #[must_use]
    pub fn went_down(&self) -> u64 {
        self.counts.went_down.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.running.abort();
    }
}

async fn accept(
    listener: TcpListener,
    node: SocketAddr,
    mut rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (caller, _) = listener.accept().await.unwrap();
        let now = *rules.borrow_and_update();
        if !now.open {
            continue;
        }
        counts.connections.fetch_add(1, Ordering::SeqCst);
        connections.spawn(carry(caller, node, rules.clone(), Arc::clone(&counts)));
        while connections.try_join_next().is_some() {}
    }
}

async fn carry(
    caller: TcpStream,
    node: SocketAddr,
    rules: watch::Receiver<Rules>,
    counts: Arc<Counts>,
) {
    let Ok(server) = TcpStream::connect(node).await else {
        return;
    };
    drop((caller.set_nodelay(true), server.set_nodelay(true)));
    let begun = *rules.borrow();
    let (from_caller, to_caller) = caller.into_split();
    let (from_node, to_node) = server.into_split();
    let up = Pump {
        rules: rules.clone(),
        forgotten: begun.forgotten,
        came: |counts| &counts.came_up,
        went: |counts| &counts.went_up,
        flow: |rules| rules.up,
        counts: Arc::clone(&counts),
    };
    let down = Pump {
        rules: rules.clone(),
        forgotten: begun.forgotten,
        came: |counts| &counts.came_down,
        went: |counts| &counts.went_down,
        flow: |rules| rules.down,
        counts,
    };
    let mut ends = rules;
    tokio::select! {
        () = up.run(from_caller, to_node) => {}
        () = down.run(from_node, to_caller) => {}
        _ = ends.wait_for(|rules| rules.generation > begun.generation) => {}
    }
}

/// One direction of a connection.
struct Pump {
    rules: watch::Receiver<Rules>,
    /// The generation of forgetting in which the connection began.
    forgotten: u64,
    came: fn(&Counts) -> &AtomicU64,
    went: fn(&Counts) -> &AtomicU64,
    flow: fn(&Rules) -> Flow,
    counts: Arc<Counts>,
}

impl Pump {
    async fn run(mut self, mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from.read(&mut buffer).await.unwrap_or(0);
            if self.rules.borrow().forgotten > self.forgotten {
                if read == 0 {
                    return std::future::pending().await;
                }
                continue;
            }
            if read == 0 {
                return;
            }
            (self.came)(&self.counts).fetch_add(read as u64, Ordering::SeqCst);
            let mut rest = buffer.get(..read).unwrap();
            while !rest.is_empty() {
                let room = self.room().await.min(rest.len());
                let (piece, later) = rest.split_at(room);
                if self.falls() || to.write_all(piece).await.is_err() {
                    return;
                }
                (self.went)(&self.counts).fetch_add(room as u64, Ordering::SeqCst);
                rest = later;
            }
        }
    }

    /// Waits until bytes may go on, and says how many.
    async fn room(&mut self) -> usize {
        let (flow, went) = (self.flow, self.went);
        let counts = Arc::clone(&self.counts);
        let room = |rules: &Rules| match flow(rules) {
            Flow::Pass => usize::MAX,
            Flow::Hold => 0,
            Flow::Until(most) => {
                let left = most.saturating_sub(went(&counts).load(Ordering::SeqCst));
                usize::try_from(left).unwrap_or(usize::MAX)
            }
        };
        let rules = self.rules.wait_for(|rules| room(rules) > 0).await;
        let Ok(rules) = rules.map(|rules| *rules) else {
            return std::future::pending().await;
        };
        tokio::time::sleep(rules.delay).await;
        room(&rules).max(1)
    }

    /// Whether this piece is the end of its connection.
    fn falls(&self) -> bool {
        let one_in = self.rules.borrow().cut_one_in;
        let piece = self.counts.pieces.fetch_add(1, Ordering::SeqCst);
        // A multiplicative hash, so that the cuts fall on no pattern of the traffic.
        one_in > 0 && (piece.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).is_multiple_of(one_in)
    }
}
