//! Versions of the protocol: which one a node has, and which one a record needs.
//!
//! A node states its version beside each delivery stream, as metadata that a node without this rule
//! ignores. Who states none has version 1. A record of a later version waits for a peer until the
//! peer states that version; what arrives all the same is refused for now (RE-20).
//!
//! The header of a record says which version it needs, and is signed with it. A body that needs more
//! than its header says is refused for good (RE-12): it was sent to nodes that could not know it.

use crate::record::Header;

/// Name of the metadata that states a node's version, in decimal digits.
pub const METADATA: &str = "portcullis-version";

/// Version of nodes that state none.
pub const FIRST: u32 = 1;

/// Version from which nodes know ILU codes, and MMSI that are assigned to nobody.
pub const UNITS: u32 = 2;

/// Version that this node has.
pub const OWN: u32 = UNITS;

/// Returns the version that a node needs to take a record with this header.
#[must_use]
pub const fn needed(header: &Header) -> u32 {
    header.version
}

/// Reads a stated version. What is no version counts as none stated.
#[must_use]
pub fn read(stated: Option<&str>) -> u32 {
    stated
        .and_then(|text| text.parse().ok())
        .map_or(FIRST, |version: u32| version.max(FIRST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_version_is_the_first() {
        for stated in [
            None,
            Some(""),
            Some("two"),
            Some("-1"),
            Some("0"),
            Some("99999999999"),
        ] {
            assert_eq!(read(stated), FIRST, "{stated:?}");
        }
        assert_eq!((read(Some("2")), read(Some("1"))), (2, FIRST));
    }
}
