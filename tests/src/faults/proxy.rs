//! A TCP proxy before a node. On request it delays, holds, cuts, swallows and forgets.
//!
//! It does not decrypt TLS. It distinguishes only the directions and the number of bytes that went
//! each way.

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

/// Treatment of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    Pass,
    /// They are held until the rules change.
    Hold,
    /// They pass until the direction's counter reaches this number of bytes; the rest is held.
    Until(u64),
}

/// Rules that the proxy follows at present.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Treatment of bytes towards the node.
    pub up: Flow,
    /// Treatment of bytes from the node.
    pub down: Flow,
    /// Delay of each piece.
    pub delay: Duration,
    /// One piece in this many ends its connection; 0 ends none.
    pub cut_one_in: u64,
    /// Set if new connections are accepted.
    pub open: bool,
    /// Generation of cuts. Connections of an earlier generation are ended.
    generation: u64,
    /// Generation of forgetting. Connections of an earlier generation carry nothing any more, and
    /// neither side is told.
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

/// Counts of connections, bytes and pieces.
#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    /// Bytes that arrived from callers and from the node, including those held back.
    came_up: AtomicU64,
    came_down: AtomicU64,
    went_up: AtomicU64,
    went_down: AtomicU64,
    pieces: AtomicU64,
}

/// A proxy that runs until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Address at which callers reach the proxy.
    pub address: SocketAddr,
    rules: watch::Sender<Rules>,
    counts: Arc<Counts>,
    running: AbortHandle,
}

impl Proxy {
    /// Listens on an address of its own and forwards to `node`.
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

    /// Changes the rules.
    pub fn set(&self, change: impl FnOnce(&mut Rules)) {
        self.rules.send_modify(change);
    }

    /// Returns to the default rules; bytes held back go on.
    pub fn heal(&self) {
        self.set(|rules| {
            *rules = Rules {
                generation: rules.generation,
                forgotten: rules.forgotten,
                ..Rules::default()
            };
        });
    }

    /// Ends every connection; the bytes held back in it are lost.
    pub fn cut(&self) {
        self.set(|rules| rules.generation += 1);
    }

    /// Makes every connection half open: it swallows what arrives and hides its end from both
    /// sides.
    pub fn forget(&self) {
        self.set(|rules| rules.forgotten += 1);
    }

    /// Returns the number of connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that arrived from callers, including those held back.
    #[must_use]
    pub fn came_up(&self) -> u64 {
        self.counts.came_up.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes that arrived from the node, including those held back.
    #[must_use]
    pub fn came_down(&self) -> u64 {
        self.counts.came_down.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes forwarded to the node.
    #[must_use]
    pub fn went_up(&self) -> u64 {
        self.counts.went_up.load(Ordering::SeqCst)
    }

    /// Returns the number of bytes forwarded to callers.
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
    /// Generation of forgetting in which the connection began.
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

    /// Waits until bytes may pass and returns how many.
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

    /// Returns whether this piece ends its connection.
    fn falls(&self) -> bool {
        let one_in = self.rules.borrow().cut_one_in;
        let piece = self.counts.pieces.fetch_add(1, Ordering::SeqCst);
        // A multiplicative hash, so that the cuts follow no pattern of the traffic.
        one_in > 0 && (piece.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33).is_multiple_of(one_in)
    }
}
