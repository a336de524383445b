//! The mark that every certificate of this PKI carries.
//!
//! The arc 1.3.6.1.4.1.32473 is the enterprise number that IANA keeps for examples (RFC 5612): no organisation will ever
//! be given it, so no certificate of a real authority can carry this mark by accident.

use rcgen::CustomExtension;

/// Object identifier of the extension that marks a certificate as worthless (never critical).
pub const DEVELOPMENT_OID: &[u64] = &[1, 3, 6, 1, 4, 1, 32473, 646_576, 1];

/// The same identifier in dotted form.
pub const DEVELOPMENT_OID_TEXT: &str = "1.3.6.1.4.1.32473.646576.1";

/// DER of the UTF8String `WORTHLESS`.
const CONTENT: &[u8] = b"\x0c\x09WORTHLESS";

pub(crate) fn extension() -> CustomExtension {
    CustomExtension::from_oid_content(DEVELOPMENT_OID, CONTENT.to_vec())
}
