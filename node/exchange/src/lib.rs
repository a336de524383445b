//! The exchange with peers: deliveries sent and received, channels compared, trust spread.
//!
//! `dispatch` sends and settles, `inbound` takes in and answers, `reconcile` finds what either end of a channel lost,
//! `gossip` spreads what is said about trust, `answers_ready` tells a peer to send again what was held, `presence` finds out who is there. They share one connection, one set of limits and the parts of the kernel.

pub mod answers_ready;
pub mod dispatch;
pub mod gossip;
pub mod inbound;
pub mod presence;
pub mod reconcile;
