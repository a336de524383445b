//! A certification authority of the development PKI.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams,
    CertificateSigningRequestParams, DistinguishedName, DnType, IsCa, Issuer, KeyIdMethod, KeyPair,
    KeyUsagePurpose, RevocationReason, RevokedCertParams, SanType,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer,
};

use crate::defect::set_period;
use crate::node_certificate::{alternative_names, node_params};
use crate::{Defect, Error, NodeCertificate, NodeKey, NodeNames, Period, Serial};

const AUTHORITY_DAYS: u16 = 3650;
const NODE_DAYS: u16 = 90;
const LIST_DAYS: u16 = 30;

/// The worthless certification authority of one authority. `Debug` shows nothing of its key.
#[derive(Debug)]
pub struct DevelopmentAuthority {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl DevelopmentAuthority {
    /// Makes an authority with a fresh key, whose certificate lasts ten years from `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Name`] if `name` cannot stand in a certificate, [`Error::Period`] if `now` lies before 1970.
    pub fn new(name: &str, now: Timestamp) -> Result<Self, Error> {
        crate::names::check(name)?;
        let key = KeyPair::generate()?;
        let params = authority_params(name, now)?;
        let certificate = params.self_signed(&key)?.into();
        Ok(Self {
            certificate,
            issuer: Issuer::new(params, key),
        })
    }

    /// Restores an authority from the results of [`Self::certificate_pem`] and [`Self::key_pem`].
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if either does not parse.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let der = CertificateDer::from_pem_slice(certificate.as_bytes())
            .map_err(|_| Error::Certificate(rcgen::Error::CouldNotParseCertificate))?;
        let issuer = Issuer::from_ca_cert_der(&der, KeyPair::from_pem(key)?)?;
        Ok(Self {
            certificate: der,
            issuer,
        })
    }

    /// Returns the authority's own certificate: the trust anchor that the register binds to its nodes.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Returns the authority's own certificate in PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        crate::certificate_pem(&self.certificate)
    }

    /// Returns the authority's private key in PEM, to be written to a file that only its owner can read.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// Makes a key and a certificate for a node, good for 90 days from `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library refuses, [`Error::Period`] if `now` lies before 1970.
    pub fn issue(&self, names: &NodeNames, now: Timestamp) -> Result<NodeCertificate, Error> {
        self.issue_lasting(names, Period::around(now, NODE_DAYS)?)
    }

    /// Makes a key and a certificate for a node, good for `period`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library refuses.
    pub fn issue_lasting(
        &self,
        names: &NodeNames,
        period: Period,
    ) -> Result<NodeCertificate, Error> {
        let serial = Serial::random()?;
        let mut params = node_params(names, &serial)?;
        set_period(&mut params, period);
        self.finish(&params, serial)
    }

    /// Makes a key and a certificate for a node, with one defect.
    ///
    /// # Errors
    ///
    /// As [`Self::issue`].
    pub fn issue_defective(
        &self,
        names: &NodeNames,
        defect: &Defect,
        now: Timestamp,
    ) -> Result<NodeCertificate, Error> {
        let serial = Serial::random()?;
        let mut params = node_params(names, &serial)?;
        set_period(&mut params, Period::around(now, NODE_DAYS)?);
        defect.apply(&mut params, names, now)?;
        self.finish(&params, serial)
    }

    /// Certifies the key of a certificate request for the node with `names`, for 90 days from `now`.
    ///
    /// Only the key is taken from the request; the caller gives the names. A request for other names is refused,
    /// because its author expects a certificate that would not be made.
    ///
    /// # Errors
    ///
    /// [`Error::OtherNames`] if the request asks for other names, [`Error::Certificate`] if its signature fails.
    pub fn sign_request(
        &self,
        request: &CertificateSigningRequestDer<'_>,
        names: &NodeNames,
        now: Timestamp,
    ) -> Result<CertificateDer<'static>, Error> {
        let request = CertificateSigningRequestParams::from_der(request)?;
        refuse_other_names(
            &request.params.subject_alt_names,
            &alternative_names(names)?,
        )?;
        let mut params = node_params(names, &Serial::random()?)?;
        set_period(&mut params, Period::around(now, NODE_DAYS)?);
        Ok(params.signed_by(&request.public_key, &self.issuer)?.into())
    }

    /// Makes revocation list number `number`, which names `revoked` and is to be renewed within 30 days of `now`.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library refuses, [`Error::Period`] if `now` lies before 1970.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: &[Serial],
        now: Timestamp,
    ) -> Result<CertificateRevocationListDer<'static>, Error> {
        self.revocation_list_lasting(number, revoked, Period::around(now, LIST_DAYS)?)
    }

    /// Makes revocation list number `number`, issued at the start of `period` and to be renewed by its end.
    ///
    /// # Errors
    ///
    /// [`Error::Certificate`] if the library refuses.
    pub fn revocation_list_lasting(
        &self,
        number: u64,
        revoked: &[Serial],
        period: Period,
    ) -> Result<CertificateRevocationListDer<'static>, Error> {
        let list = CertificateRevocationListParams {
            this_update: period.start().into(),
            next_update: period.end().into(),
            crl_number: number.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked
                .iter()
                .map(|serial| revocation(serial, period))
                .collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        Ok(list.signed_by(&self.issuer)?.into())
    }

    fn finish(&self, params: &CertificateParams, serial: Serial) -> Result<NodeCertificate, Error> {
        let key = NodeKey::generate()?;
        let certificate = params.signed_by(key.pair(), &self.issuer)?.into();
        Ok(NodeCertificate {
            certificate,
            key,
            serial,
        })
    }
}

fn authority_params(name: &str, now: Timestamp) -> Result<CertificateParams, Error> {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, name);
    subject.push(
        DnType::CommonName,
        format!("WORTHLESS DEVELOPMENT CA {name}"),
    );
    let mut params = CertificateParams::default();
    params.serial_number = Some(Serial::random()?.number());
    params.distinguished_name = subject;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.custom_extensions = vec![crate::marker::extension()];
    set_period(&mut params, Period::around(now, AUTHORITY_DAYS)?);
    Ok(params)
}

fn revocation(serial: &Serial, period: Period) -> RevokedCertParams {
    RevokedCertParams {
        serial_number: serial.number(),
        revocation_time: period.start().into(),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    }
}

fn refuse_other_names(requested: &[SanType], expected: &[SanType]) -> Result<(), Error> {
    let same =
        requested.len() == expected.len() && expected.iter().all(|name| requested.contains(name));
    if same {
        return Ok(());
    }
    Err(Error::OtherNames {
        requested: readable(requested),
        expected: readable(expected),
    })
}

fn readable(names: &[SanType]) -> Vec<String> {
    names.iter().map(readable_name).collect()
}

fn readable_name(name: &SanType) -> String {
    let (SanType::DnsName(text) | SanType::URI(text)) = name else {
        return format!("{name:?}");
    };
    text.as_str().to_owned()
}
