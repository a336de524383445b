//! The protocol between Portcullis nodes.
//!
//! It consists of identifiers, markings, sealed records, the register and the frames of one hop.
//! The types can hold only what the protocol allows; the checks that make them are here too.
//! Nothing here reads a clock, draws a random number, opens a file or a socket: time, keys and
//! salts are arguments.
//!
//! In reading order: [`record`] defines what an originator signs, [`seal`] makes it, and [`verify`]
//! checks it. [`register`] lists the keys that count, [`freshness`] proves that it is the newest,
//! [`suspension`] excludes a member for a while, and [`gossip`] carries all three. [`frame`]
//! carries records over one hop, and [`reconcile`] finds the records of a channel that were lost.
//! The wire format is `proto/portcullis/v1`; only [`wire`] holds its generated types.

pub mod body;
pub mod characters;
pub mod digest;
pub mod evaluation;
mod fields;
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
mod refusal;
pub mod register;
pub mod rules;
pub mod seal;
mod sealed;
mod shape;
pub mod statement;
pub mod suspension;
pub mod time;
pub mod verify;
pub mod version;
pub mod wire;
