//! Shared parts of the tests of the whole system: federations of real nodes on loopback, the faults
//! and attacks that they are put through, and the simulation of a federation.

pub mod faults;
pub mod federation;
pub mod hostile;
pub mod sim;
