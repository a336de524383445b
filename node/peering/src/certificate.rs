//! Content of a node's certificate (RFC 5280): its names, its serial number, its validity, and the mark of the
//! development PKI.
//!
//! Refuses a certificate without exactly one DNS name and exactly one URI, and one whose key may not sign a handshake
//! (RFC 8446 §4.4.2.2), which webpki does not check. Nothing is believed here: signatures and dates are judged in
//! [`super::trust`].

use jiff::Timestamp;
use portcullis_protocol::register::DEVELOPMENT_OID;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::term::Term;

/// Statements of an end-entity certificate about its holder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    dns_name: String,
    uri: String,
    serial: Vec<u8>,
    not_after: Timestamp,
    term: Term,
    marking: Marking,
}

/// Mark of the development PKI on a certificate: present or absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marking {
    /// The certificate carries the extension that calls it worthless.
    Development,
    /// The certificate does not carry it.
    Unmarked,
}

/// Reason for which a certificate or revocation list cannot be one of a node.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// The bytes are not exactly one DER certificate, an extension occurs twice, or a date is outside the calendar.
    #[error("not a certificate in DER; give the certificate alone, as its authority issued it")]
    Malformed,
    /// The bytes are not exactly one DER revocation list with a next update.
    #[error("not a revocation list in DER with a next update; fetch it from its authority again")]
    MalformedList,
    /// The certificate has no DNS name, or more than one.
    #[error("the certificate has {found} DNS names; have it issued with exactly one")]
    DnsNames {
        /// Number of DNS names found.
        found: usize,
    },
    /// The certificate has no URI, or more than one.
    #[error(
        "the certificate has {found} URIs; have it issued with exactly one, `urn:portcullis:FEDERATION:NODE`"
    )]
    Uris {
        /// Number of URIs found.
        found: usize,
    },
    /// The key usage leaves out `digitalSignature`.
    #[error(
        "the certificate's key may not sign a handshake; have it issued with key usage `digitalSignature`"
    )]
    KeyUsage,
}

impl PeerCertificate {
    /// Reads an end-entity certificate.
    ///
    /// # Errors
    ///
    /// [`CertificateError`] names the requirement on a node's certificate that this one does not meet.
    pub fn parse(der: &CertificateDer<'_>) -> Result<Self, CertificateError> {
        let certificate = certificate(der)?;
        refuse_unable_to_sign(&certificate)?;
        let (dns_name, uri) = names(&certificate)?;
        Ok(Self {
            dns_name,
            uri,
            serial: certificate.raw_serial().to_vec(),
            term: term_of(&certificate).ok_or(CertificateError::Malformed)?,
            not_after: time(certificate.validity().not_after).ok_or(CertificateError::Malformed)?,
            marking: marking_of(&certificate),
        })
    }

    /// Returns the one DNS name.
    #[must_use]
    pub fn dns_name(&self) -> &str {
        &self.dns_name
    }

    /// Returns the one URI.
    #[must_use]
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// Returns the octets of the serial number, most significant first.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// Returns the last second of validity.
    #[must_use]
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Returns the first and last second of validity.
    #[must_use]
    pub const fn term(&self) -> Term {
        self.term
    }

    /// Returns the mark of the development PKI, present or absent.
    #[must_use]
    pub fn marking(&self) -> Marking {
        self.marking
    }
}

/// Reads the mark of the development PKI on a certificate of a node or of an authority.
///
/// # Errors
///
/// [`CertificateError::Malformed`] if it is not a certificate.
pub fn marking(der: &CertificateDer<'_>) -> Result<Marking, CertificateError> {
    Ok(marking_of(&certificate(der)?))
}

/// Reads the validity of a certificate of a node or of an authority.
///
/// # Errors
///
/// [`CertificateError::Malformed`] if it is not a certificate.
pub fn term(der: &CertificateDer<'_>) -> Result<Term, CertificateError> {
    term_of(&certificate(der)?).ok_or(CertificateError::Malformed)
}

fn term_of(certificate: &X509Certificate<'_>) -> Option<Term> {
    let validity = certificate.validity();
    Some(Term::of(
        time(validity.not_before)?,
        time(validity.not_after)?,
    ))
}

/// Reads the period from a revocation list's last update to its next.
///
/// # Errors
///
/// [`CertificateError::MalformedList`] if it is not a revocation list or does not give both times.
pub fn list_term(der: &CertificateRevocationListDer<'_>) -> Result<Term, CertificateError> {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        return Err(CertificateError::MalformedList);
    };
    let since = time(list.last_update()).ok_or(CertificateError::MalformedList)?;
    Ok(Term::of(since, next_update(der)?))
}

/// Reads the time of a revocation list's next update.
///
/// # Errors
///
/// [`CertificateError::MalformedList`] if it is not a revocation list or does not give that time.
pub fn next_update(der: &CertificateRevocationListDer<'_>) -> Result<Timestamp, CertificateError> {
    let Ok(([], list)) = CertificateRevocationList::from_der(der) else {
        return Err(CertificateError::MalformedList);
    };
    list.next_update()
        .and_then(time)
        .ok_or(CertificateError::MalformedList)
}

fn certificate<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertificateError> {
    let Ok(([], certificate)) = X509Certificate::from_der(der) else {
        return Err(CertificateError::Malformed);
    };
    Ok(certificate)
}

fn refuse_unable_to_sign(certificate: &X509Certificate<'_>) -> Result<(), CertificateError> {
    let usage = certificate
        .key_usage()
        .map_err(|_| CertificateError::Malformed)?;
    if usage.is_some_and(|usage| !usage.value.digital_signature()) {
        return Err(CertificateError::KeyUsage);
    }
    Ok(())
}

fn names(certificate: &X509Certificate<'_>) -> Result<(String, String), CertificateError> {
    let extension = certificate
        .subject_alternative_name()
        .map_err(|_| CertificateError::Malformed)?;
    let (mut dns_names, mut uris) = (Vec::new(), Vec::new());
    for name in extension
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        if let GeneralName::DNSName(name) = name {
            dns_names.push(*name);
        } else if let GeneralName::URI(name) = name {
            uris.push(*name);
        } else if matches!(name, GeneralName::Invalid(..)) {
            return Err(CertificateError::Malformed);
        }
    }
    let [dns_name] = dns_names.as_slice() else {
        return Err(CertificateError::DnsNames {
            found: dns_names.len(),
        });
    };
    let [uri] = uris.as_slice() else {
        return Err(CertificateError::Uris { found: uris.len() });
    };
    Ok(((*dns_name).to_owned(), (*uri).to_owned()))
}

fn marking_of(certificate: &X509Certificate<'_>) -> Marking {
    let marks = |oid: String| oid == DEVELOPMENT_OID;
    if certificate
        .extensions()
        .iter()
        .any(|extension| marks(extension.oid.to_id_string()))
    {
        return Marking::Development;
    }
    Marking::Unmarked
}

fn time(time: ASN1Time) -> Option<Timestamp> {
    Timestamp::from_second(time.timestamp()).ok()
}

#[cfg(test)]
mod tests {
    use portcullis_certs_dev::{Defect, DevelopmentAuthority, NodeNames, Period};

    use super::*;

    fn now() -> Timestamp {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn names(node: &str) -> NodeNames {
        NodeNames::new("ports", node, &format!("{node}.example")).unwrap()
    }

    fn with(defect: &Defect) -> Result<PeerCertificate, CertificateError> {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        PeerCertificate::parse(
            &authority
                .issue_defective(&names("antwerp"), defect, now())
                .unwrap()
                .certificate,
        )
    }

    #[test]
    fn each_defect_is_refused_by_its_own_error() {
        let other = || names("rotterdam");
        assert_eq!(
            with(&Defect::TwoUriNames(other())),
            Err(CertificateError::Uris { found: 2 })
        );
        assert_eq!(
            with(&Defect::NoUriName),
            Err(CertificateError::Uris { found: 0 })
        );
        assert_eq!(
            with(&Defect::TwoDnsNames(other())),
            Err(CertificateError::DnsNames { found: 2 })
        );
        assert_eq!(
            with(&Defect::NoDnsName),
            Err(CertificateError::DnsNames { found: 0 })
        );
        assert_eq!(
            with(&Defect::WrongKeyUsage),
            Err(CertificateError::KeyUsage)
        );
    }

    #[test]
    fn octets_after_the_certificate_are_refused() {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        let mut der = authority
            .issue(&names("antwerp"), now())
            .unwrap()
            .certificate
            .to_vec();
        der.push(0);
        assert_eq!(
            PeerCertificate::parse(&der.into()),
            Err(CertificateError::Malformed)
        );
    }

    #[test]
    fn a_cut_certificate_is_refused_wherever_it_is_cut() {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        let der = authority
            .issue(&names("antwerp"), now())
            .unwrap()
            .certificate;
        for length in 0..der.len() {
            let cut = CertificateDer::from(&der[..length]);
            assert_eq!(
                PeerCertificate::parse(&cut),
                Err(CertificateError::Malformed),
                "{length}"
            );
        }
    }

    #[test]
    fn a_good_certificate_says_its_names_serial_end_and_that_it_is_worthless() {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        let end: Timestamp = "2026-05-01T00:00:00Z".parse().unwrap();
        let period = Period::new(now(), end).unwrap();
        let issued = authority.issue_lasting(&names("antwerp"), period).unwrap();
        let certificate = PeerCertificate::parse(&issued.certificate).unwrap();
        assert_eq!(certificate.dns_name(), "antwerp.example");
        assert_eq!(certificate.uri(), "urn:portcullis:ports:antwerp");
        assert_eq!(certificate.serial(), issued.serial.octets());
        assert_eq!(certificate.not_after(), end);
        assert_eq!(certificate.term(), Term::of(now(), end));
        assert_eq!(term(&issued.certificate), Ok(Term::of(now(), end)));
        assert_eq!(certificate.marking(), Marking::Development);
    }

    #[test]
    fn the_mark_is_read_on_an_authority_and_missed_where_it_is_absent() {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        assert_eq!(marking(authority.certificate()), Ok(Marking::Development));
        assert_eq!(
            with(&Defect::Unmarked).unwrap().marking(),
            Marking::Unmarked
        );
    }

    #[test]
    fn a_revocation_list_says_when_it_must_be_renewed() {
        let authority = DevelopmentAuthority::new("belgium", now()).unwrap();
        let end: Timestamp = "2026-03-08T00:00:00Z".parse().unwrap();
        let list = authority
            .revocation_list_lasting(1, &[], Period::new(now(), end).unwrap())
            .unwrap();
        assert_eq!(next_update(&list), Ok(end));
        assert_eq!(list_term(&list), Ok(Term::of(now(), end)));
        assert_eq!(
            next_update(&b"junk".as_slice().into()),
            Err(CertificateError::MalformedList)
        );
    }
}
