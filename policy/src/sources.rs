//! The texts that ship with the crate: the schemas and the baseline.

use portcullis_protocol::digest::Digest;

/// The attributes that policies can see, in Cedar's schema language.
pub(crate) const SCHEMA: &str = include_str!("../schema/portcullis.cedarschema");

/// The attributes that policies of hearing can see, in Cedar's schema language.
pub(crate) const HEARING_SCHEMA: &str = include_str!("../schema/hearing.cedarschema");

/// The shipped baseline, by file.
pub(crate) const BASELINE: [(&str, &str); 6] = [
    (
        "baseline/handling.cedar",
        include_str!("../baseline/handling.cedar"),
    ),
    (
        "baseline/hearing.cedar",
        include_str!("../baseline/hearing.cedar"),
    ),
    (
        "baseline/labels.cedar",
        include_str!("../baseline/labels.cedar"),
    ),
    (
        "baseline/permits.cedar",
        include_str!("../baseline/permits.cedar"),
    ),
    (
        "baseline/recipients.cedar",
        include_str!("../baseline/recipients.cedar"),
    ),
    (
        "baseline/uses.cedar",
        include_str!("../baseline/uses.cedar"),
    ),
];

/// Prefix of the ids of the baseline's policies; no other policy may have it.
pub(crate) const BASELINE_PREFIX: &str = "base-";

/// Returns the digest of named texts, in the order given. A length stands before each name and
/// text, so that no two lists share an encoding.
pub(crate) fn digest_of<'t>(
    label: &str,
    files: impl IntoIterator<Item = (&'t str, &'t str)>,
) -> Digest {
    let mut encoding = Vec::new();
    for part in files.into_iter().flat_map(|(name, text)| [name, text]) {
        encoding.extend((part.len() as u64).to_be_bytes());
        encoding.extend(part.as_bytes());
    }
    Digest::labelled(label, &[&encoding])
}
