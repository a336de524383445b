//! Defects of node certificates, for tests of the code that must refuse them.

use jiff::Timestamp;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyUsagePurpose};

use crate::names::NodeNames;
use crate::node_certificate::{dns_name, uri_name};
use crate::{Error, Period};

/// One defect of an otherwise good node certificate.
///
/// A foreign authority needs no defect (use another [`crate::DevelopmentAuthority`]), nor does revocation (put the
/// serial number on a list).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Defect {
    /// Its period ended an hour ago.
    Expired,
    /// Its period begins in an hour.
    NotYetValid,
    /// It carries the URI of a second node beside its own.
    TwoUriNames(NodeNames),
    /// It carries no URI.
    NoUriName,
    /// It carries the DNS name of a second node beside its own.
    TwoDnsNames(NodeNames),
    /// It carries no DNS name.
    NoDnsName,
    /// Its extended key usage is code signing alone.
    WrongExtendedKeyUsage,
    /// Its key usage is key agreement alone, so its key may not sign a handshake.
    WrongKeyUsage,
    /// It does not carry the mark of a development certificate.
    Unmarked,
}

impl Defect {
    pub(crate) fn apply(
        &self,
        params: &mut CertificateParams,
        names: &NodeNames,
        now: Timestamp,
    ) -> Result<(), Error> {
        match self {
            Self::Expired => set_period(params, Period::ended(now)?),
            Self::NotYetValid => set_period(params, Period::to_come(now)?),
            Self::TwoUriNames(other) => params.subject_alt_names.push(uri_name(other)?),
            Self::NoUriName => params.subject_alt_names = vec![dns_name(names)?],
            Self::TwoDnsNames(other) => params.subject_alt_names.push(dns_name(other)?),
            Self::NoDnsName => params.subject_alt_names = vec![uri_name(names)?],
            Self::WrongExtendedKeyUsage => {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]
            }
            Self::WrongKeyUsage => params.key_usages = vec![KeyUsagePurpose::KeyAgreement],
            Self::Unmarked => params.custom_extensions.clear(),
        }
        Ok(())
    }
}

pub(crate) fn set_period(params: &mut CertificateParams, period: Period) {
    params.not_before = period.start().into();
    params.not_after = period.end().into();
}
