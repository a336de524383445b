//! The identifiers of the field as types: a text is parsed once, at the edge, and its form is
//! settled from then on.
//!
//! Each type has a private field, `FromStr`, a canonical `Display` (parsing it again gives the same
//! value) and an error that names the fault and the remedy. Mere presentation (lower case, the
//! spaces and hyphens of a printed container number) is taken off. White space around a text is
//! refused, because it was more often meant for the next column. A valid syntax never means that
//! the thing exists.

mod bill_and_seal;
mod check_digit;
mod container;
mod country;
mod eori;
mod foreign;
mod hs;
mod identify;
mod ilu;
mod imo;
mod locode;
mod mmsi;
mod near;
mod plate;
mod slug;
mod text;
mod trader;

#[cfg(test)]
mod arbitrary_text;

pub use bill_and_seal::{BillOfLading, BillOfLadingError, SealNumber, SealNumberError};
pub use container::{
    ContainerNumber, ContainerNumberError, ContainerReading, UncheckedContainerNumber,
};
pub use country::{CountryCode, CountryCodeError};
pub use eori::{Eori, EoriError};
pub use foreign::Foreign;
pub use hs::{HsCode, HsCodeError};
pub use identify::{CheckDigit, Identified, IdentifierKind, identify};
pub use ilu::{IluCode, IluCodeError, IluReading, UncheckedIluCode};
pub use imo::{ImoNumber, ImoNumberError, ImoReading, UncheckedImoNumber};
pub use locode::{UnLocode, UnLocodeError};
pub use mmsi::{Mmsi, MmsiClass, MmsiError, MmsiReading, UncheckedMmsi};
pub use near::LIMIT as NEAR_MATCHES_MAX;
pub use plate::{Plate, PlateError};
pub use slug::{AuthorityId, FederationId, NameError, NameOf, NodeId};
pub use trader::{TraderId, TraderIdError};
