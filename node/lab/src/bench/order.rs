//! Messages between a bench and its workers: orders and replies, one line of JSON each.

use std::path::PathBuf;

use portcullis_protocol::identifiers::NodeId;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{census::Census, machine::Usage};

/// Role of a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Role {
    /// A node that is served.
    Node,
    /// An end of the unchecked pipe: it has a node's certificate and nothing else of it.
    Pipe,
}

impl Role {
    /// Returns the role as it stands on the worker's command line.
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

/// Other traffic while alerts are raised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Nothing else is sent.
    Idle,
    /// Bulk records are published as fast as they are settled.
    Bulk,
}

/// An order to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "order")]
pub enum Order {
    /// Report the length of a sealed record on the wire.
    Sample,
    /// Publish bulk records and wait until the last is settled.
    Stream {
        /// Number of records.
        records: u64,
    },
    /// Publish bulk records and do not wait until they are settled.
    Preload {
        /// Number of records.
        records: u64,
    },
    /// Wait until everything published is settled.
    Settle,
    /// Have the peer begin at the present end of the log, as a new peer does.
    Meet,
    /// Send the peer everything older than its beginning, and wait until that is settled.
    Backfill,
    /// Raise alerts one after the other, each one when the one before it is settled.
    Alerts {
        /// Number of alerts.
        count: u64,
        /// Other traffic meanwhile.
        load: Load,
    },
    /// Report what the process has used so far.
    Usage,
    /// Measure the peak of memory from now on.
    ForgetPeak,
    /// Report which records were published here.
    Sent,
    /// Report which records are held.
    Held,
    /// Take what comes through the unchecked pipe.
    PipeReceive {
        /// Database file for the rows of this end.
        file: PathBuf,
    },
    /// Send through the unchecked pipe.
    PipeSend {
        /// Database file for the rows of this end.
        file: PathBuf,
        /// Address at which the receiving end listens.
        address: String,
        /// Node that listens there.
        peer: Named,
        /// Number of records.
        records: u64,
        /// Length of each record on the wire, in bytes.
        item_bytes: usize,
        /// Seed of the records' bytes.
        seed: u64,
    },
    /// Stop in order.
    Stop,
}

/// A worker's reply to an order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reply")]
pub enum Reply {
    /// The worker is up.
    Ready,
    /// Progress of an order under way.
    Progress {
        /// Number of records or alerts done so far.
        done: u64,
    },
    /// A record's length on the wire.
    Sample {
        /// Length in bytes.
        item_bytes: usize,
    },
    /// Everything was published and settled.
    Streamed {
        /// Time that it took, in seconds.
        seconds: f64,
    },
    /// Alerts were raised and settled.
    Alerts {
        /// Time that each alert took, in milliseconds, in the order in which they were raised.
        ms: Vec<f64>,
        /// Bulk records settled per second in the same time.
        bulk_per_s: f64,
    },
    /// Resources used by the process.
    Usage(Usage),
    /// A set of records.
    Census(Census),
    /// The pipe listens.
    Listening {
        /// Address at which it listens.
        address: String,
    },
    /// The order is carried out.
    Done,
    /// The order failed.
    Failed {
        /// Reason of the failure.
        why: String,
    },
}
