//! What a bench asks of its workers and what they reply: a line of JSON each.

use std::path::PathBuf;

use portcullis_protocol::identifiers::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{census::Census, machine::Usage};

/// What a worker is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// A node that is served.
    Node,
    /// An end of the unchecked pipe: it has a node's certificate and nothing else of it.
    Pipe,
}

impl Role {
    /// As it stands on the worker's command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Pipe => "pipe",
        }
    }
}

/// The name of a node, in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named(pub NodeId);

impl Serialize for Named {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// Whether bulk runs while alerts are raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Nothing else is sent.
    Idle,
    /// Bulk records are published as fast as they are settled.
    Bulk,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Say how long a sealed record is on the wire.
    Sample,
    /// Publish bulk records and wait until the last is settled.
    Stream {
        /// How many.
        records: u64,
    },
    /// Publish bulk records, settled or not.
    Preload {
        /// How many.
        records: u64,
    },
    /// Wait until everything published is settled.
    Settle,
    /// Have the peer begin where the log ends now, as one does that is new.
    Meet,
    /// Send the peer all that came before it was new, and wait until that is settled.
    Backfill,
    /// Raise alerts one after the other, each when the one before is settled.
    Alerts {
        /// How many.
        count: u64,
        /// What else goes on.
        load: Load,
    },
    /// Say what was used so far.
    Usage,
    /// Count the peak of memory from now.
    ForgetPeak,
    /// Say which records were published here.
    Sent,
    /// Say which records are held.
    Held,
    /// Take what comes through the unchecked pipe.
    PipeReceive {
        /// Where its rows go.
        file: PathBuf,
    },
    /// Send through the unchecked pipe.
    PipeSend {
        /// Where its rows go.
        file: PathBuf,
        /// Where the other end listens.
        address: String,
        /// Who listens there.
        peer: Named,
        /// How many records.
        records: u64,
        /// How long each is on the wire.
        item_bytes: usize,
        /// Where its bytes begin.
        seed: u64,
    },
    /// Stop in order.
    Stop,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// The worker is up.
    Ready,
    /// How far an order under way is.
    Progress {
        /// How many are done.
        done: u64,
    },
    /// A record's length on the wire.
    Sample {
        /// Bytes.
        item_bytes: usize,
    },
    /// Everything was published and settled.
    Streamed {
        /// In so many seconds.
        seconds: f64,
    },
    /// Alerts were raised and settled.
    Alerts {
        /// How long each took, in milliseconds, in order.
        ms: Vec<f64>,
        /// Bulk records settled per second meanwhile.
        bulk_per_s: f64,
    },
    /// What was used.
    Usage(Usage),
    /// A set of records.
    Census(Census),
    /// The pipe listens.
    Listening {
        /// Where.
        address: String,
    },
    /// It is done.
    Done,
    /// It did not work.
    Failed {
        /// Why.
        why: String,
    },
}
