//! Identity of peers, and the TLS connections to and from them.
//!
//! A peer is who its certificate *and* the register say ([`trust`]). Connections are TLS 1.3 with certificates on both
//! sides ([`tls`]), are accepted and made here and not by tonic ([`listener`], [`connector`]), end after an hour at most,
//! and end at once when a reload of the register or of a revocation list no longer vouches for the peer ([`ending`]).
//!
//! Refuses: any other version of TLS, session resumption and early data, a peer without a certificate, and a decision
//! about who a peer is from anything but its one URI name and the trust anchor bound to that name.

pub mod certificate;
pub mod codec;
pub mod connector;
pub mod counters;
mod crowding;
mod crypto;
pub mod cut;
pub mod ending;
pub mod identity;
pub mod listed;
pub mod listener;
mod places;
pub mod probe;
mod proxy;
pub mod reserve;
pub mod revocation;
pub mod rpc;
pub mod stream;
pub mod tally;
pub mod term;
pub mod tls;
pub mod trust;
pub mod unreached;
pub mod verifier;
mod wording;

#[cfg(test)]
mod tests;
