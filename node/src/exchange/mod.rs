//! Exchange between nodes: who a peer is, and the connections over which it is heard and spoken to.
//!
//! A peer is who its certificate *and* the register say ([`trust`]). Connections are TLS 1.3 with certificates on both
//! sides ([`tls`]), are accepted and made here and not by tonic ([`listener`], [`connector`]), end after an hour at most,
//! and end at once when a reload of the register or of a revocation list no longer vouches for the peer ([`ending`]).
//!
//! Refuses: any other version of TLS, session resumption and early data, a peer without a certificate, and a decision
//! about who a peer is from anything but its one URI name and the trust anchor bound to that name.

mod allowance;
pub mod certificate;
pub mod codec;
mod conduct;
pub mod connector;
pub mod counters;
pub mod ending;
mod hints;
pub mod identity;
pub mod listener;
mod reception;
pub mod rpc;
pub mod service;
pub mod stream;
mod tally;
pub mod tls;
pub mod trust;
pub mod verifier;

#[cfg(test)]
mod tests;
