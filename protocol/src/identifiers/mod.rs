//! The identifiers of the field as types: a text becomes one once, at the edge, and from then on
//! its form is settled.
//!
//! Each has a private field, `FromStr`, a canonical `Display` (parsing it again gives the same
//! value) and an error that says what is wrong and what to do. What is only presentation (lower
//! case, the spaces and hyphens of a printed container number) is taken off; white space around a
//! text is refused, for it was more often meant for the next column. A right syntax never means
//! that the thing exists.

mod container;
mod country;
mod imo;
mod locode;
mod near;
mod slug;
mod text;

pub use container::{
    ContainerNumber, ContainerNumberError, ContainerReading, UncheckedContainerNumber,
};
pub use country::{CountryCode, CountryCodeError};
pub use imo::{ImoNumber, ImoNumberError, ImoReading, UncheckedImoNumber};
pub use locode::{UnLocode, UnLocodeError};
pub use near::LIMIT as NEAR_MATCHES_MAX;
pub use slug::{AuthorityId, FederationId, NameError, NameOf, NodeId};
