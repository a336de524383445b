//! What peers bring: streams of frames, each verified, decided on and answered; and their questions.
//!
//! Who a peer is was settled by [`portcullis_peering`] before anything arrives here. What a peer may bring is bounded
//! (`allowance`, `conduct`), so that none is served at the cost of another.

mod allowance;
mod conduct;
mod hints;
mod reception;
pub mod service;
