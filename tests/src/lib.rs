//! What the tests of the whole share: federations of real nodes on loopback, and what is done to
//! them.

pub mod faults;
pub mod federation;
pub mod hostile;
pub mod sim;
