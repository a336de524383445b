//! Floods that a member brings upon a node over real TLS, without end, from one processor.
//!
//! Each flood runs on a thread of its own at the lowest priority, so that what it takes from the node
//! is what the node spends on it. [`Aside::idle_work`] takes the processor alone and nothing of the node: what
//! a flood is measured against.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use portcullis_home::clock::SystemEntropy;
use portcullis_kernel::Kernel;
use portcullis_peering::rpc::exchange_client::ExchangeClient;
use portcullis_protocol::{
    body::{Attachment, Body},
    digest::Digest,
    frame::{Chain, FrameHead, Generation, Lane, SentFrame},
    reconcile::{Ask, Question},
    record::{Kind, RecordId},
    seal::{Draft, DraftSection, Sealer},
    verify::VerifiedRecord,
    wire,
};
use tokio::{net::TcpStream, task::JoinSet};
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::{
    federation::FEDERATION,
    hostile::{
        caller::{Line, channel, generation, shake, tls},
        forge::{Loose, framed, payload, reseal},
        raw::{Raw, call_of, frame, kind, message},
        stage::{Mallory, draft},
    },
};

/// Lowest priority of a thread (nice(2)).
const LAST: i32 = 19;

/// Connections of a flood that opens several.
const CONNECTIONS: usize = 8;

/// Pause after a connection that the node refused or cut.
const PAUSE: Duration = Duration::from_millis(20);

/// Items of a frame.
const ITEMS: usize = 1_024;

/// Empty attachments of a record, at two bytes each on the wire.
const EMPTY_FILES: usize = 2_000_000;

/// Bytes of each of the files that are asked back.
const FILE: usize = 3_500_000;

/// Content of a message that announces 8 MiB and never ends.
const HALF: usize = 4 << 20;

/// Attacker: a member's keys, and what it sends.
pub struct Attacker {
    mallory: Mallory,
    to: SocketAddr,
    /// Frame of records that the node has after the first time.
    again: Vec<VerifiedRecord>,
    /// Own records with files, which the node gives back when it is asked.
    lent: Vec<VerifiedRecord>,
    /// A record whose files are empty and without number.
    growing: Loose,
    /// Number of messages sent, and of connections on which nothing was.
    attempts: AtomicU64,
}

impl Attacker {
    /// Prepares what is sent. Sealed and checked by `kernel`, an honest node's.
    #[must_use]
    pub fn new(mallory: Mallory, to: SocketAddr, kernel: &Kernel) -> Self {
        let seal = |drafts| sealed(&mallory, kernel, drafts);
        let again = seal(vec![draft(Kind::Indicator); ITEMS]);
        let lent = seal(vec![with_file(vec![7; FILE].into()); 2]);
        let growing = growing(&mallory, &seal(vec![with_file(Bytes::from_static(b"x"))]));
        Self {
            mallory,
            to,
            again,
            lent,
            growing,
            attempts: AtomicU64::new(0),
        }
    }

    /// Returns how often something was sent since this was last asked.
    pub fn take_attempts(&self) -> u64 {
        self.attempts.swap(0, Ordering::Relaxed)
    }

    fn attempted(&self) {
        self.attempts.fetch_add(1, Ordering::Relaxed);
    }

    fn head(&self, generation: Generation, first_sequence: u64) -> FrameHead {
        FrameHead {
            federation: FEDERATION.parse().unwrap(),
            sender: self.mallory.name.parse().unwrap(),
            receiver: "antwerp".parse().unwrap(),
            generation,
            lane: Lane::Bulk,
            first_sequence,
            settled_sequence: first_sequence,
            chain: Chain::START,
            sent_at: portcullis_home::clock::system_clock()(),
            register_epoch: 2,
        }
    }

    fn first_frame(&self, records: &[VerifiedRecord]) -> wire::Frame {
        let sent = SentFrame::sign(
            self.head(generation(), 1),
            records,
            &self.mallory.keyring.hop,
        );
        sent.unwrap().wire().clone()
    }

    async fn connection(&self) -> std::io::Result<TlsStream<TcpStream>> {
        let config = tls(Some(Arc::new(self.mallory.identity())), &[b"h2"]);
        shake(config, self.to).await
    }

    /// Opens a delivery stream; waits a little if the node does not take it.
    async fn line(&self) -> Option<Line> {
        let line = match self.connection().await {
            Ok(connection) => Line::open(channel(connection).await, None).await.ok(),
            Err(_) => None,
        };
        if line.is_none() {
            tokio::time::sleep(PAUSE).await;
        }
        line
    }

    /// Sends frames as `next` makes them, over new streams when one ends. Each answer to an item must be
    /// one of `answers`, so that the flood is the one that it claims to be; whole frames may be refused
    /// for now.
    async fn says(&self, next: impl Fn() -> wire::Frame, answers: &[&str]) {
        loop {
            let Some(mut line) = self.line().await else {
                continue;
            };
            loop {
                self.attempted();
                let told = line.say(&next()).await;
                if told.iter().any(|told| told.starts_with("ended")) {
                    break;
                }
                let is_meant =
                    |told: &String| told.starts_with("whole") || answers.contains(&told.as_str());
                assert!(told.iter().all(is_meant), "{:?}", told.first());
            }
        }
    }
}

/// A flood, which never ends by itself.
pub type Flood = for<'a> fn(&'a Attacker) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Every flood with its description.
pub const FLOODS: &[(&str, Flood)] = &[
    ("one frame of 1,024 records again and again", |attacker| {
        Box::pin(duplicates(attacker))
    }),
    ("records of two million empty files", |attacker| {
        Box::pin(empty_files(attacker))
    }),
    (
        "small questions with large answers that are given up",
        |attacker| Box::pin(answers_given_up(attacker)),
    ),
    ("questions of 8 MiB that never end", |attacker| {
        Box::pin(half_questions(attacker))
    }),
    ("connections on which nothing is said", |attacker| {
        Box::pin(silence(attacker))
    }),
];

/// Attack M3: duplicates were in no budget; an alert took 418 ms instead of 15.
async fn duplicates(attacker: &Attacker) {
    attacker
        .says(
            || attacker.first_frame(&attacker.again),
            &["accepted", "duplicate"],
        )
        .await;
}

/// Attack H3.3: each took 190 MB and 0.3 s of a processor whenever it was taken in.
async fn empty_files(attacker: &Attacker) {
    let model = payload(&attacker.first_frame(attacker.again.get(..1).unwrap()));
    let items = [attacker.growing.clone()];
    let fresh_frame = || {
        let generation = Bytes::copy_from_slice(generation().as_bytes());
        let fresh = wire::FramePayload {
            generation,
            ..model.clone()
        };
        framed(fresh, &items, &attacker.mallory.keyring.hop)
    };
    attacker.says(fresh_frame, &["refused RE-21"]).await;
}

/// Attack M1: 73 bytes were answered with 7.9 MB, and the place was given back while the work went
/// on.
async fn answers_given_up(attacker: &Attacker) {
    while !delivered(attacker).await {}
    let wanted: Vec<RecordId> = attacker.lent.iter().map(VerifiedRecord::id).collect();
    let ask = Ask {
        generation: Generation::from_bytes([3; 16]),
        question: Question::Wanted(wanted),
    };
    let ask = ask.to_wire(&FEDERATION.parse().unwrap());
    loop {
        let Ok(connection) = attacker.connection().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let client = ExchangeClient::new(channel(connection).await);
        for _ in 0..200 {
            let mut client = client.clone();
            let asked = client.reconcile(ask.clone());
            attacker.attempted();
            // Given up before the answer is there.
            drop(tokio::time::timeout(Duration::from_millis(5), asked).await);
        }
    }
}

async fn delivered(attacker: &Attacker) -> bool {
    let Some(mut line) = attacker.line().await else {
        return false;
    };
    for record in &attacker.lent {
        let told = line
            .say(&attacker.first_frame(std::slice::from_ref(record)))
            .await;
        if !matches!(
            told.first().map(String::as_str),
            Some("accepted" | "duplicate")
        ) {
            return false;
        }
    }
    true
}

/// Attack M2: sixteen connections of four such questions held 512 MB for as long as was wanted.
async fn half_questions(attacker: &Attacker) {
    loop {
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let Ok(connection) = attacker.connection().await else {
                continue;
            };
            let mut raw = Raw::new(connection);
            raw.begin(&[]).await;
            for stream in [1, 3, 5, 7] {
                raw.open(stream, &call_of("/portcullis.v1.Exchange/Reconcile", &[]))
                    .await;
                attacker.attempted();
                let begun = message(0, 8 << 20, &vec![0; HALF]);
                for part in begun.chunks(16 << 10) {
                    let sent = raw.try_say(&frame(kind::DATA, 0, stream, part)).await;
                    if sent.is_err() {
                        break;
                    }
                }
            }
            held.push(raw);
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Attack H5: silent connections took every place of a handshake.
async fn silence(attacker: &Attacker) {
    let mut open = JoinSet::new();
    loop {
        while open.len() < 400 {
            attacker.attempted();
            let to = attacker.to;
            open.spawn(async move {
                if let Ok(connection) = TcpStream::connect(to).await {
                    // Ends when the node has cut it.
                    drop(connection.readable().await);
                }
            });
        }
        open.join_next().await;
    }
}

/// Work of a thread of its own at the lowest priority, on one processor.
pub struct Aside {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl Aside {
    /// Starts a flood.
    #[must_use]
    pub fn flood(attacker: Arc<Attacker>, flood: Flood) -> Self {
        Self::start(move |stop| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = flood(&attacker) => {}
                }
            });
        })
    }

    /// Starts work that takes a processor and asks nothing of any node.
    #[must_use]
    pub fn idle_work() -> Self {
        Self::start(|stop| {
            while !stop.is_cancelled() {
                std::hint::spin_loop();
            }
        })
    }

    fn start(work: impl FnOnce(CancellationToken) + Send + 'static) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let thread = std::thread::spawn(move || {
            rustix::process::setpriority_process(None, LAST).unwrap();
            work(until);
        });
        Self { stop, thread }
    }

    /// Stops the work and waits for its end.
    ///
    /// # Panics
    ///
    /// Panics if the work did.
    pub async fn end(self) {
        self.stop.cancel();
        let ended = tokio::task::spawn_blocking(move || self.thread.join()).await;
        ended.unwrap().unwrap();
    }
}

fn sealed(mallory: &Mallory, kernel: &Kernel, drafts: Vec<Draft>) -> Vec<VerifiedRecord> {
    let now = kernel.now();
    let sealer = Sealer {
        federation: &FEDERATION.parse().unwrap(),
        origin: &mallory.name.parse().unwrap(),
        key: &mallory.keyring.sealing,
        now,
    };
    let sealed = sealer.seal(drafts, &mut SystemEntropy::default()).unwrap();
    let decider = kernel.decider();
    let verified = sealed
        .iter()
        .map(|sealed| decider.verify_seen(sealed, now, now).unwrap());
    verified.collect()
}

fn with_file(content: Bytes) -> Draft {
    let mut draft = draft(Kind::Indicator);
    draft.sections.push(DraftSection {
        body: Body::Attachments(vec![Attachment {
            name: "scan".to_owned(),
            media_type: "image/png".to_owned(),
            content,
        }]),
        stricter: None,
    });
    draft
}

/// Puts empty files without number in the place of a record's one, as its originator could.
fn growing(mallory: &Mallory, records: &[VerifiedRecord]) -> Loose {
    let mut item = Loose::of(records.first().unwrap());
    let mut header = item.header();
    let entry = header.sections.last_mut().unwrap();
    let section = item.section(4);
    // Field 1, of no bytes.
    section.body = [0x0a, 0].repeat(EMPTY_FILES).into();
    let number = |number: i32| u16::try_from(number).unwrap().to_be_bytes();
    let digest = Digest::labelled(
        "portcullis section v1",
        &[
            &section.salt,
            &number(entry.tag),
            &u16::try_from(entry.index).unwrap().to_be_bytes(),
            &section.body,
        ],
    );
    entry.digest = Bytes::copy_from_slice(digest.as_bytes());
    reseal(&item, &header, &mallory.keyring.sealing)
}
