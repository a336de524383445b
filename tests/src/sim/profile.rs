//! The profile that a seed draws for its run: the members, the amount of trouble and the sizes.

use std::time::Duration;

use portcullis_home::config::RetryBounds;

use super::{
    cast::{MemberNumber, POLICE, ROTTERDAM, TERMINAL},
    random::Random,
};

/// Amount of trouble in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// No trouble. Urgent records must be fast in spite of all other traffic.
    Calm,
    /// Every kind of fault, for a while.
    Rough,
    /// As rough, and then long enough that all retries come to their end.
    Long,
}

/// Everything that is drawn before the first event.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Members that take part.
    pub members: Vec<MemberNumber>,
    /// Amount of trouble.
    pub weather: Weather,
    /// Duration of the trouble, in milliseconds.
    pub trouble_ms: i64,
    /// Duration of the run after the trouble, in milliseconds.
    pub aftermath_ms: i64,
    /// Batches that each member publishes.
    pub batches: usize,
    /// Most candidates that a plan considers.
    pub plan_limit: u32,
    /// Items in one piece of a long bulk write.
    pub piece: usize,
    /// Bulk pieces in one commit.
    pub slice: usize,
    /// Shortest latency of a message, in milliseconds.
    pub latency_ms: i64,
    /// Longest sync of the disk, in milliseconds.
    pub sync_ms: i64,
    /// Messages per thousand that are lost with their connection.
    pub loss: u64,
    /// Frames per thousand that arrive a second time.
    pub duplicate: u64,
    /// Passages per thousand at which the process ends.
    pub crash: u64,
    /// Commits per thousand that fail.
    pub store_failure: u64,
    /// Intervals between retries after a failure.
    pub retry: RetryBounds,
    /// Longest rest of a machine that nothing wakes, in milliseconds.
    pub longest_rest_ms: i64,
}

const ANTWERP: MemberNumber = 1;
const HUB: MemberNumber = 4;
const SECOND_HUB: MemberNumber = 5;

/// Members that may take part together: three to five, at least one of them a hub.
const CASTS: [&[MemberNumber]; 6] = [
    &[ROTTERDAM, ANTWERP, HUB],
    &[ROTTERDAM, POLICE, HUB, TERMINAL],
    &[ROTTERDAM, ANTWERP, POLICE, HUB],
    &[ROTTERDAM, ANTWERP, POLICE, TERMINAL, HUB],
    &[ANTWERP, HUB, SECOND_HUB, TERMINAL],
    &[ROTTERDAM, POLICE, TERMINAL, HUB, SECOND_HUB],
];

impl Profile {
    /// Draws a profile.
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
