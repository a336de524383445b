//! Verdicts on certificates in words. The texts of the TLS library are for its users, not for an operator.

use rustls::{CertificateError as Verdict, Error};

/// A kind of verdict, and its words.
type Words = (fn(&Verdict) -> bool, &'static str);

/// Returns the reason for which a certificate does not hold, in words.
pub(super) fn verdict(error: &Error) -> &'static str {
    let Error::InvalidCertificate(verdict) = error else {
        return "it cannot be checked";
    };
    let verdicts: [Words; 10] = [
        (is_expired, "it has expired"),
        (is_not_valid_yet, "it is not valid yet; compare the clocks"),
        (
            |one| matches!(one, Verdict::Revoked),
            "its authority revoked it",
        ),
        (
            |one| matches!(one, Verdict::UnknownIssuer),
            "another CA signed it than the register names for the node",
        ),
        (
            |one| matches!(one, Verdict::UnknownRevocationStatus),
            "no revocation list tells of it",
        ),
        (
            is_expired_list,
            "the revocation list of its authority has ended",
        ),
        (
            |one| matches!(one, Verdict::BadSignature),
            "its signature is wrong",
        ),
        (is_for_another_name, "it is for another name"),
        (
            is_for_another_purpose,
            "it was not issued for connections of this kind",
        ),
        (
            |one| matches!(one, Verdict::BadEncoding),
            "it cannot be read",
        ),
    ];
    let found = verdicts.iter().find(|(holds, _)| holds(verdict));
    found.map_or("TLS does not take it", |(_, words)| words)
}

const fn is_expired(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Expired | Verdict::ExpiredContext { .. })
}

const fn is_not_valid_yet(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::NotValidYet | Verdict::NotValidYetContext { .. }
    )
}

const fn is_expired_list(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::ExpiredRevocationList | Verdict::ExpiredRevocationListContext { .. }
    )
}

const fn is_for_another_name(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::NotValidForName | Verdict::NotValidForNameContext { .. }
    )
}

const fn is_for_another_purpose(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::InvalidPurpose | Verdict::InvalidPurposeContext { .. }
    )
}
