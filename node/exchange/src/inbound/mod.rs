//! Deliveries and questions of peers: each frame is verified, decided on, stored and answered.
//!
//! Who a peer is was settled by [`portcullis_peering`] before anything arrives here. What a peer may bring is bounded
//! (`allowance`, `conduct`, `quota`), so that none is served at the cost of another.

pub mod addresses;
mod allowance;
mod charges;
mod conduct;
mod paced;
mod quota;
mod reception;
pub mod service;
mod spending;
