//! What kind of run a seed makes: who takes part, how rough it gets, how large things are.

use std::time::Duration;

use portcullis_home::config::RetryBounds;

use super::{
    cast::{MemberNumber, POLICE, ROTTERDAM, TERMINAL},
    random::Random,
};

/// How much goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Nothing: what is urgent has to be fast then, whatever else is under way.
    Calm,
    /// Everything that can, for a while.
    Rough,
    /// As rough, and then so long that what is tried again comes to its end.
    Long,
}

/// Everything that is drawn before the first event.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Who takes part.
    pub members: Vec<MemberNumber>,
    /// How much goes wrong.
    pub weather: Weather,
    /// How long things go wrong, in milliseconds.
    pub trouble_ms: i64,
    /// How long it goes on after that.
    pub aftermath_ms: i64,
    /// Batches that each member publishes.
    pub batches: usize,
    /// Candidates that a plan looks at.
    pub plan_limit: u32,
    /// Items in one piece of a long bulk write.
    pub piece: usize,
    /// Bulk pieces in one commit.
    pub slice: usize,
    /// The shortest way of a message, in milliseconds.
    pub latency_ms: i64,
    /// The longest sync of the disk, in milliseconds.
    pub sync_ms: i64,
    /// Messages of a thousand that are lost with their connection.
    pub loss: u64,
    /// Frames of a thousand that come a second time.
    pub duplicate: u64,
    /// Passages of a thousand at which the process ends.
    pub crash: u64,
    /// Commits of a thousand that fail.
    pub store_failure: u64,
    /// How failures are waited out.
    pub retry: RetryBounds,
    /// How long a machine rests when nothing wakes it.
    pub longest_rest_ms: i64,
}

const ANTWERP: MemberNumber = 1;
const HUB: MemberNumber = 4;
const SECOND_HUB: MemberNumber = 5;

/// Who may take part together: three to five, at least one of them a hub.
const CASTS: [&[MemberNumber]; 6] = [
    &[ROTTERDAM, ANTWERP, HUB],
    &[ROTTERDAM, POLICE, HUB, TERMINAL],
    &[ROTTERDAM, ANTWERP, POLICE, HUB],
    &[ROTTERDAM, ANTWERP, POLICE, TERMINAL, HUB],
    &[ANTWERP, HUB, SECOND_HUB, TERMINAL],
    &[ROTTERDAM, POLICE, TERMINAL, HUB, SECOND_HUB],
];

impl Profile {
    /// Draws one.
    pub fn draw(random: &mut Random) -> Self {
        let weather = match random.below(20) {
            0..=2 => Weather::Calm,
            3 => Weather::Long,
            _ => Weather::Rough,
        };
        let mut drawn = Self::rough(random);
        drawn.weather = weather;
        match weather {
            Weather::Rough => {}
            Weather::Calm => {
                drawn.batches = 14;
                drawn.plan_limit = 1;
                drawn.loss = 0;
                drawn.duplicate = 0;
                drawn.crash = 0;
                drawn.store_failure = 0;
                drawn.sync_ms = drawn.sync_ms.min(40);
                drawn.latency_ms = drawn.latency_ms.min(60);
            }
            Weather::Long => {
                const DAY_MS: i64 = 24 * 3_600_000;
                drawn.aftermath_ms = 9 * DAY_MS;
                drawn.longest_rest_ms = DAY_MS;
                drawn.retry = RetryBounds {
                    first: Duration::from_secs(900),
                    longest: Duration::from_secs(12 * 3_600),
                };
            }
        }
        drawn
    }

    fn rough(random: &mut Random) -> Self {
        let any = |random: &mut Random, of: &[u64]| *random.pick(of);
        Self {
            members: random.pick(&CASTS).to_vec(),
            weather: Weather::Rough,
            trouble_ms: random.between(30_000, 150_000),
            aftermath_ms: 300_000,
            batches: 2 + random.index(6),
            plan_limit: *random.pick(&[1, 2, 3, 5, 1_024]),
            piece: 1 + random.index(3),
            slice: 1 + random.index(4),
            latency_ms: random.between(1, 150),
            sync_ms: *random.pick(&[2, 8, 40, 400]),
            loss: any(random, &[0, 5, 20, 100]),
            duplicate: any(random, &[0, 20, 100]),
            crash: any(random, &[0, 2, 5, 20]),
            store_failure: any(random, &[0, 0, 10, 60]),
            retry: RetryBounds {
                first: Duration::from_millis(random.between(400, 1_000).unsigned_abs()),
                longest: Duration::from_secs(30),
            },
            longest_rest_ms: 60_000,
        }
    }
}
