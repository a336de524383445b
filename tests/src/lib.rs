//! What the tests of the whole share: federations of real nodes on loopback.

pub mod federation;
