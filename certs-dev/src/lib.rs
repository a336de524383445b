//! A development PKI: one certification authority per authority, node certificates and revocation lists, all worthless.
//!
//! Certificates are worthless by name (`WORTHLESS DEVELOPMENT CA` in the subject of every authority) and by extension
//! (every certificate carries [`DEVELOPMENT_OID`]), so that a node can refuse them outside a development federation.
//! Keys are ECDSA P-256. Nothing here reads the clock or writes a file: `now` is an argument and the caller stores the
//! results.
//!
//! A certificate request is refused if its signature fails or if it asks for names other than those the caller gives. A
//! private key is never printed: `Debug` leaves keys out, and errors carry none.

mod authority;
mod defect;
mod error;
mod marker;
mod names;
mod node_certificate;
mod pem;
mod period;

pub use authority::DevelopmentAuthority;
pub use defect::Defect;
pub use error::Error;
pub use marker::{DEVELOPMENT_OID, DEVELOPMENT_OID_TEXT};
pub use names::NodeNames;
pub use node_certificate::{NodeCertificate, NodeKey, Serial};
pub use pem::{certificate_pem, request_pem, revocation_list_pem};
pub use period::Period;

#[cfg(test)]
mod tests;
