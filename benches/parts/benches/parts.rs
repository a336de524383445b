//! Benchmarks of the single parts of an exchange, which `portcullis-lab bench exchange` measures as a
//! whole.
//!
//! Two nodes are prepared on homes made as that command makes them, and their parts are called
//! without a socket between them. Figures per record are those of 1,024 records together.
//!
//! Commits go to a store on the disk of `TMPDIR`, with fsync; a folder in memory would give figures
//! that are too good.

#![expect(
    clippy::unwrap_used,
    reason = "a measurement that cannot be taken has no caller to report to"
)]

use std::{hint::black_box, num::NonZeroUsize, sync::Arc};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use portcullis_exchange::dispatch::{
    load,
    plan::{Footing, Planner},
};
use portcullis_home::config::Config;
use portcullis_kernel::{
    Kernel,
    decide::{Approval, Decider},
    gate::Gates,
    intake::Judge,
};
use portcullis_lab::bench::{self, drafts::Generator};
use portcullis_node::runtime::Node;
use portcullis_policy::{Bundle, Engine};
use portcullis_protocol::{
    frame::{Answering, Chain, FrameHead, Hop, Lane, ReceivedFrame, SentFrame},
    identifiers::NodeId,
    keys::SigningKey,
    marking::Tlp,
    record::{Form, Kind},
    seal::{Draft, Entropy, Sealer},
    verify::{Occasion, VerifiedRecord, Verifier},
    wire,
};
use portcullis_store::{Intake, Relay, Write, Written};
use prost::Message as _;

/// Number of records measured together.
const BATCH: u64 = bench::BATCH;

/// Two nodes that know each other.
struct Two {
    _runtime: tokio::runtime::Runtime,
    _nodes: Vec<Node>,
    sender: Arc<Kernel>,
    receiver: Arc<Kernel>,
    generator: Generator,
    /// The sequence number of the next frame's first item, and the chain over the settled frames.
    position: (u64, Chain),
    _folder: tempfile::TempDir,
}

impl Two {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let homes = bench::homes(folder.path()).unwrap();
        let nodes: Vec<Node> = homes
            .into_iter()
            .map(|home| {
                let config = Config::of(&home).unwrap();
                runtime.block_on(Node::prepare(home, config)).unwrap()
            })
            .collect();
        let mut cores = nodes.iter().map(|node| Arc::clone(node.kernel()));
        let (sender, receiver) = (cores.next().unwrap(), cores.next().unwrap());
        drop(cores);
        Self {
            generator: Generator::new(1, sender.now()),
            sender,
            receiver,
            position: (1, Chain::START),
            _runtime: runtime,
            _nodes: nodes,
            _folder: folder,
        }
    }

    fn drafts(&mut self, count: u64) -> Vec<Draft> {
        self.generator.drafts(Kind::Indicator, count).unwrap()
    }

    fn records(&mut self, count: u64) -> Vec<VerifiedRecord> {
        let drafts = self.drafts(count);
        self.sender.seal(drafts).unwrap()
    }

    fn sealer<'a>(&'a self, key: &'a SigningKey) -> Sealer<'a> {
        let me = self.sender.me();
        Sealer {
            federation: &me.federation,
            origin: &me.authority,
            key,
            now: self.sender.now(),
        }
    }

    fn peer(&self) -> &NodeId {
        &self.receiver.me().node
    }

    fn signed(&self, records: &[VerifiedRecord]) -> SentFrame {
        let head = FrameHead {
            federation: self.sender.me().federation.clone(),
            sender: self.sender.me().node.clone(),
            receiver: self.peer().clone(),
            generation: self.sender.store().generation().unwrap(),
            lane: Lane::Bulk,
            first_sequence: self.position.0,
            settled_sequence: self.position.0,
            chain: self.position.1,
            sent_at: self.sender.now(),
            register_epoch: 1,
        };
        SentFrame::sign(head, records, &self.sender.hop_key()).unwrap()
    }

    fn received(&self, frame: wire::Frame) -> ReceivedFrame {
        let decider = self.receiver.decider();
        let peer = &self.sender.me().node;
        let hop = Hop {
            federation: &decider.register().federation,
            receiver: self.peer(),
            peer,
        };
        ReceivedFrame::verify(frame, hop, |key| {
            decider
                .register()
                .hop_key(peer, key, decider.register().issued_at)
        })
        .unwrap()
    }

    /// Counts a frame as settled.
    fn settle(&mut self, frame: &ReceivedFrame) {
        let place = frame.place();
        self.position = (place.next_sequence, place.chain.then(&place.digest));
    }

    fn judged(&self, frame: &ReceivedFrame) -> Intake {
        Judge {
            first_seen: &|_| None,
            gates: &Gates::default(),
            decider: &self.receiver.decider(),
            own: &self.receiver.me().authority,
            peer: &self.sender.me().node,
            exercises: self.receiver.exercises(),
            now: self.receiver.now(),
        }
        .judge(frame)
    }
}

/// Returns the operating system's source of random bytes, as the node uses it.
fn entropy() -> impl Entropy {
    portcullis_home::clock::SystemEntropy::default()
}

fn seal(criterion: &mut Criterion) {
    let mut two = Two::new();
    let mut group = criterion.benchmark_group("seal");
    for count in [BATCH, 1] {
        let drafts = two.drafts(count);
        group.throughput(Throughput::Elements(count));
        group.bench_function(format!("{count} in a batch"), |bencher| {
            let key = two.sender.sealing_key();
            let sealer = two.sealer(&key);
            bencher.iter_batched(
                || drafts.clone(),
                |drafts| sealer.seal(drafts, &mut entropy()).unwrap(),
                BatchSize::LargeInput,
            );
        });
    }
}

fn verify(criterion: &mut Criterion) {
    let mut two = Two::new();
    let mut group = criterion.benchmark_group("verify");
    let records = two.records(BATCH);
    let decider = two.receiver.decider();
    let now = two.receiver.now();
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("1024 of a batch whose signature is remembered", |bencher| {
        bencher.iter(|| {
            for record in &records {
                black_box(decider.verify_arriving(record.sealed(), now).unwrap());
            }
        });
    });
    let alone = two.records(1);
    let verifier = Verifier {
        federation: &decider.register().federation,
        keys: decider.register(),
        now,
        occasion: Occasion::Arriving,
    };
    group.throughput(Throughput::Elements(1));
    group.bench_function("1 with its signature", |bencher| {
        bencher.iter(|| {
            for record in &alone {
                black_box(verifier.verify(record.sealed()).unwrap());
            }
        });
    });
}

fn decide(criterion: &mut Criterion) {
    let mut two = Two::new();
    let mut group = criterion.benchmark_group("decide");
    let records = two.records(BATCH);
    let (sender, receiver) = (two.sender.decider(), two.receiver.decider());
    let now = two.sender.now();
    let (to, from) = (
        two.receiver.me().authority.clone(),
        two.sender.me().node.clone(),
    );
    let (to, from) = (&to, &from);
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("release, remembered", |bencher| {
        bencher.iter(|| {
            for record in &records {
                black_box(sender.release(record, None, to, now));
            }
        });
    });
    group.bench_function("admit, remembered", |bencher| {
        bencher.iter_batched(
            || records.clone(),
            |records| {
                for record in records {
                    black_box(receiver.admit(record, from, now, Approval::Open));
                }
            },
            BatchSize::LargeInput,
        );
    });
    // Two records are asked about in turn, and the memo holds one answer.
    let engine = Engine::new(Bundle::empty(), NonZeroUsize::MIN).unwrap();
    let register = sender.verified_register().clone();
    let forgetful = Decider::new(register, engine, two.sender.me().authority.clone()).unwrap();
    let mut drafts = two.drafts(2);
    if let Some(draft) = drafts.first_mut() {
        draft.marking.tlp = Tlp::Amber;
    }
    let pair = two.sender.seal(drafts).unwrap();
    group.throughput(Throughput::Elements(2));
    group.bench_function("release, asked anew", |bencher| {
        bencher.iter(|| {
            for record in &pair {
                black_box(forgetful.release(record, None, to, now));
            }
        });
    });
}

fn withhold(criterion: &mut Criterion) {
    let mut two = Two::new();
    let records = two.records(BATCH);
    let mut group = criterion.benchmark_group("withhold");
    group.throughput(Throughput::Elements(BATCH));
    for (name, form) in [("the narrative", 0b011), ("nothing", 0b111)] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                for record in &records {
                    black_box(record.withhold(Form::from_bits(form)).unwrap());
                }
            });
        });
    }
}

fn frame(criterion: &mut Criterion) {
    let mut two = Two::new();
    let records = two.records(BATCH);
    let mut group = criterion.benchmark_group("frame");
    group.throughput(Throughput::Elements(BATCH));
    group.bench_function("sign", |bencher| bencher.iter(|| two.signed(&records)));
    let signed = two.signed(&records);
    group.bench_function("encode", |bencher| {
        bencher.iter(|| signed.wire().encode_to_vec());
    });
    let encoded: prost::bytes::Bytes = signed.wire().encode_to_vec().into();
    group.bench_function("decode", |bencher| {
        bencher.iter(|| wire::Frame::decode(encoded.clone()).unwrap());
    });
    group.bench_function("verify", |bencher| {
        bencher.iter_batched(
            || signed.wire().clone(),
            |frame| two.received(frame),
            BatchSize::LargeInput,
        );
    });
    let received = two.received(signed.wire().clone());
    group.bench_function("judge (verify and admit each)", |bencher| {
        bencher.iter(|| two.judged(&received));
    });
    let answers = answers(&two, two.judged(&received));
    group.bench_function("answer", |bencher| {
        bencher.iter_batched(
            || answers.clone(),
            |answers| {
                let key = two.receiver.hop_key();
                let signing = Answering {
                    key: &key,
                    now: two.receiver.now(),
                    register_epoch: 1,
                    credit: 1,
                };
                received.answer(answers, signing).unwrap()
            },
            BatchSize::LargeInput,
        );
    });
}

fn answers(two: &Two, intake: Intake) -> Vec<portcullis_protocol::frame::Answer> {
    let written = two.receiver.store().commit(vec![Write::Intake(intake)]);
    match written.unwrap().pop() {
        Some(Written::Answers(answers)) => answers,
        Some(
            Written::Done | Written::Refused(_) | Written::Destroyed(_) | Written::OutOfSequence(_),
        )
        | None => Vec::new(),
    }
}

fn commit(criterion: &mut Criterion) {
    let mut two = Two::new();
    let mut group = criterion.benchmark_group("commit");
    group.sample_size(20);
    group.throughput(Throughput::Elements(BATCH));
    let store = Arc::clone(two.sender.store());
    let now = two.sender.now();
    group.bench_function("publish", |bencher| {
        bencher.iter_batched(
            || two.records(BATCH),
            |records| store.commit(vec![Write::Publish { records, now }]).unwrap(),
            BatchSize::PerIteration,
        );
    });
    let store = Arc::clone(two.receiver.store());
    group.bench_function("intake of a frame", |bencher| {
        bencher.iter_batched(
            || {
                let records = two.records(BATCH);
                let frame = two.received(two.signed(&records).wire().clone());
                two.settle(&frame);
                two.judged(&frame)
            },
            |intake| store.commit(vec![Write::Intake(intake)]).unwrap(),
            BatchSize::PerIteration,
        );
    });
}

fn plan(criterion: &mut Criterion) {
    let mut two = Two::new();
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(BATCH));
    let records = two.records(BATCH);
    let (store, now) = (Arc::clone(two.sender.store()), two.sender.now());
    store.commit(vec![Write::Publish { records, now }]).unwrap();
    let limit = u32::try_from(BATCH).unwrap();
    let outbox = || store.outbox(Lane::Bulk, Relay::OwnOnly, 0, limit).unwrap();
    group.bench_function("read the outbox", |bencher| bencher.iter(outbox));
    let decider = two.sender.decider();
    let (authority, _) = decider.register().node(two.peer()).unwrap();
    let key = two.sender.hop_key();
    let planner = Planner {
        decider: &decider,
        sender: &two.sender.me().node,
        authority,
        peer: two.peer(),
        lane: Lane::Bulk,
        key: &key,
        now,
        most: portcullis_protocol::frame::MAX_ITEMS,
        spoken: portcullis_kernel::dialect::Spoken::default(),
    };
    // The records in memory were verified when they were published: nothing is read from the disk.
    group.bench_function("load, decide, sign", |bencher| {
        bencher.iter(|| {
            let footing = Footing {
                generation: store.generation().unwrap(),
                cursor: 0,
                next_sequence: 1,
                settled_sequence: 1,
                chain: Chain::START,
            };
            load::plan(planner, store.as_ref(), Relay::OwnOnly, Some(footing)).unwrap()
        });
    });
}

criterion_group!(parts, seal, verify, decide, withhold, frame, commit, plan);
criterion_main!(parts);
