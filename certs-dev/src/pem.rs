//! PEM text (RFC 7468) of public objects: certificates, requests, revocation lists.

use data_encoding::BASE64;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, CertificateSigningRequestDer,
};

/// A line of 64 characters holds 48 octets (RFC 7468 §2).
const OCTETS_PER_LINE: usize = 48;

/// Writes a certificate as PEM.
#[must_use]
pub fn certificate_pem(der: &CertificateDer<'_>) -> String {
    pem("CERTIFICATE", der)
}

/// Writes a certificate request as PEM.
#[must_use]
pub fn request_pem(der: &CertificateSigningRequestDer<'_>) -> String {
    pem("CERTIFICATE REQUEST", der)
}

/// Writes a revocation list as PEM.
#[must_use]
pub fn revocation_list_pem(der: &CertificateRevocationListDer<'_>) -> String {
    pem("X509 CRL", der)
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in der.chunks(OCTETS_PER_LINE) {
        BASE64.encode_append(line, &mut text);
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_of_64_characters_and_the_last_is_shorter() {
        // Base64 of RFC 4648: `Zm9vYmFy` is `foobar`; 49 octets need a second line.
        let der = CertificateDer::from(
            b"foobar"
                .repeat(8)
                .into_iter()
                .chain(*b"f")
                .collect::<Vec<u8>>(),
        );
        let expected = format!(
            "-----BEGIN CERTIFICATE-----\n{}\nZg==\n-----END CERTIFICATE-----\n",
            "Zm9vYmFy".repeat(8)
        );
        assert_eq!(certificate_pem(&der), expected);
    }
}
