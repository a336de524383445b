//! Revocation lists (RFC 5280 §5): who issued one, and which of several counts.
//!
//! A list belongs to the trust anchor whose key signed it. A name proves nothing, because anyone can write another
//! authority's name into a list. Of the lists of one issuer and one scope (RFC 5280 §5.2.3) the highest number counts,
//! then the newest issue: an older list that lies beside a newer one takes nothing back and ends nothing.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::asn1_rs::Any;
use x509_parser::num_bigint::BigUint;
use x509_parser::oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use crate::certificate::{CertificateError, list_term, next_update};
use crate::term::Term;

/// A revocation list that was parsed. Its signature is judged by [`RevocationList::is_issued_by`] alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevocationList {
    der: CertificateRevocationListDer<'static>,
    /// Issuer and scope, as encoded.
    series: (Vec<u8>, Vec<u8>),
    /// Place within the series: number, then time of issue.
    place: (Option<BigUint>, i64),
    term: Term,
    until: Timestamp,
}

impl RevocationList {
    /// Parses one list in DER.
    ///
    /// # Errors
    ///
    /// [`CertificateError::MalformedList`] if it is not exactly one list with a next update.
    pub fn parse(der: CertificateRevocationListDer<'static>) -> Result<Self, CertificateError> {
        let term = list_term(&der)?;
        let until = next_update(&der)?;
        let (series, place) = {
            let Ok(([], list)) = CertificateRevocationList::from_der(&der) else {
                return Err(CertificateError::MalformedList);
            };
            let scope = list
                .extensions()
                .iter()
                .find(|extension| extension.oid == OID_X509_EXT_ISSUER_DISTRIBUTION_POINT)
                .map(|extension| extension.value.to_vec())
                .unwrap_or_default();
            let place = (list.crl_number().cloned(), list.last_update().timestamp());
            ((list.issuer().as_raw().to_vec(), scope), place)
        };
        Ok(Self {
            der,
            series,
            place,
            term,
            until,
        })
    }

    /// Returns the list as encoded.
    #[must_use]
    pub const fn der(&self) -> &CertificateRevocationListDer<'static> {
        &self.der
    }

    /// Returns the period from the list's issue to its next update.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Returns the time of the next update, after which the list vouches for nobody.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Returns true if the anchor's key signed the list under the anchor's name, with an algorithm that a handshake
    /// would take as well.
    #[must_use]
    pub fn is_issued_by(&self, anchor: &[u8]) -> bool {
        let Ok(([], anchor)) = X509Certificate::from_der(anchor) else {
            return false;
        };
        // Compared first: a large list is parsed for its own issuer alone.
        if self.series.0 != anchor.subject().as_raw() {
            return false;
        }
        let Ok(([], list)) = CertificateRevocationList::from_der(&self.der) else {
            return false;
        };
        is_signed(&self.der, &list, &anchor).unwrap_or(false)
    }

    /// Returns true if a verifier of certificates of this anchor can go by the list. It refuses some that parse, such
    /// as a list of changes alone.
    #[must_use]
    pub fn is_usable(&self, anchor: &[u8]) -> bool {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(anchor.to_vec())).is_ok()
            && WebPkiClientVerifier::builder_with_provider(
                Arc::new(roots),
                crate::crypto::provider(),
            )
            .with_crls([self.der.clone()])
            .build()
            .is_ok()
    }
}

/// Verifies a list's signature by the anchor's key. Returns `None` if the encoding cannot be taken apart.
fn is_signed(
    der: &[u8],
    list: &CertificateRevocationList<'_>,
    anchor: &X509Certificate<'_>,
) -> Option<bool> {
    // A signature is whole octets.
    if list.signature_value.unused_bits != 0 {
        return Some(false);
    }
    // CertificateList ::= SEQUENCE { tbsCertList, signatureAlgorithm AlgorithmIdentifier, signature BIT STRING }
    let whole = content(der)?;
    let signed: &[u8] = list.tbs_cert_list.as_ref();
    let algorithm = content(whole.get(signed.len()..)?)?;
    // SubjectPublicKeyInfo ::= SEQUENCE { algorithm AlgorithmIdentifier, subjectPublicKey BIT STRING }
    let key = anchor.public_key();
    let key_algorithm = content(content(key.raw)?)?;
    let verified = crate::crypto::provider()
        .signature_verification_algorithms
        .all
        .iter()
        .filter(|known| {
            known.public_key_alg_id().as_ref() == key_algorithm
                && known.signature_alg_id().as_ref() == algorithm
        })
        .any(|known| {
            known
                .verify_signature(
                    &key.subject_public_key.data,
                    signed,
                    &list.signature_value.data,
                )
                .is_ok()
        });
    Some(verified)
}

/// Returns the content of the first DER element.
fn content(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, any)| any.data)
}

/// Lists of one federation, apart by what counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<T> {
    /// The one of each issuer and scope that counts.
    pub counting: Vec<T>,
    /// Older ones, which count for nothing.
    pub older: Vec<T>,
}

/// Tells which of these lists count. `list` gives the list of an item.
pub fn choose<T>(
    items: impl IntoIterator<Item = T>,
    list: impl Fn(&T) -> &RevocationList,
) -> Chosen<T> {
    let mut newest: BTreeMap<(Vec<u8>, Vec<u8>), T> = BTreeMap::new();
    let mut older = Vec::new();
    for item in items {
        match newest.entry(list(&item).series.clone()) {
            Entry::Vacant(free) => {
                free.insert(item);
            }
            Entry::Occupied(mut held) if list(&item).place > list(held.get()).place => {
                older.push(held.insert(item));
            }
            Entry::Occupied(_) => older.push(item),
        }
    }
    Chosen {
        counting: newest.into_values().collect(),
        older,
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan as _;
    use portcullis_certs_dev::{DevelopmentAuthority, Period};

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn authority(name: &str) -> DevelopmentAuthority {
        DevelopmentAuthority::new(name, now()).unwrap()
    }

    /// Makes list `number`, issued `since` hours from now.
    fn list(authority: &DevelopmentAuthority, number: u64, since: i64) -> RevocationList {
        let start = now() + since.hours();
        let period = Period::new(start, start + 48.hours()).unwrap();
        let der = authority
            .revocation_list_lasting(number, &[], period)
            .unwrap();
        RevocationList::parse(der).unwrap()
    }

    /// Attack L6: a stranger's list under another authority's name belongs to nobody.
    #[test]
    fn a_list_is_of_the_anchor_whose_key_signed_it_and_not_of_the_name_in_it() {
        let (belgium, netherlands) = (authority("belgium"), authority("netherlands"));
        let namesake = authority("belgium");
        assert!(list(&belgium, 1, 0).is_issued_by(belgium.certificate()));
        assert!(!list(&belgium, 1, 0).is_issued_by(netherlands.certificate()));
        assert!(!list(&namesake, 1, 0).is_issued_by(belgium.certificate()));
        assert!(list(&belgium, 1, 0).is_usable(belgium.certificate()));
        assert!(!list(&belgium, 1, 0).is_issued_by(b"no certificate"));
    }

    #[test]
    fn a_list_with_any_octet_changed_is_nobodys() {
        let belgium = authority("belgium");
        let good = list(&belgium, 1, 0);
        for at in 0..good.der.len() {
            let mut changed = good.der.to_vec();
            changed[at] ^= 1;
            let issued = RevocationList::parse(changed.into())
                .is_ok_and(|list| list.is_issued_by(belgium.certificate()));
            assert!(!issued, "octet {at}");
        }
    }

    /// Bugs #7: the number decides, then the time of issue, and never the order of the files.
    #[test]
    fn of_one_issuer_the_highest_number_counts_whatever_the_order() {
        let (belgium, netherlands) = (authority("belgium"), authority("netherlands"));
        let (older, newer) = (list(&belgium, 9, 2), list(&belgium, 10, 0));
        let later = list(&belgium, 10, 1);
        let other = list(&netherlands, 1, -90);
        for order in [
            [&older, &newer, &later, &other],
            [&later, &other, &newer, &older],
            [&newer, &later, &older, &other],
        ] {
            let chosen = choose(order, |list| list);
            assert_eq!(chosen.counting.len(), 2);
            assert!(chosen.counting.contains(&&later) && chosen.counting.contains(&&other));
            assert!(chosen.older.contains(&&older) && chosen.older.contains(&&newer));
        }
    }
}
