//! What Portcullis nodes say to each other.
//!
//! Identifiers, markings, sealed records, the register and the frames of one hop: types that
//! can only hold what the protocol allows, and the checks that make them. Nothing here reads a
//! clock, draws a random number, opens a file or a socket: time, keys and salts are arguments.
//!
//! Top-down: [`record`] says what an originator signs, [`seal`] makes it, [`verify`] checks it;
//! [`register`] says whose keys count, [`freshness`] that it is the newest, [`suspension`] who is
//! out for a while, and [`gossip`] carries them; [`frame`] carries records over one hop,
//! [`reconcile`] finds out what of a channel was lost. The wire format
//! is `proto/portcullis/v1`; [`wire`] holds its generated types and nothing else does.

pub mod body;
pub mod digest;
pub mod evaluation;
pub mod frame;
pub mod freshness;
pub mod gossip;
pub mod identifiers;
pub mod keys;
pub mod marking;
pub mod merkle;
pub mod named;
pub mod reconcile;
pub mod record;
pub mod register;
pub mod rules;
pub mod seal;
pub mod statement;
pub mod suspension;
pub mod time;
pub mod verify;
pub mod wire;
