//! Errors in making worthless certificates.

/// Error in making a certificate, request or revocation list.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A certificate cannot carry this name.
    #[error(
        "name `{name}` cannot stand in a certificate; use ASCII letters, digits, `-`, `.` and `_`"
    )]
    Name {
        /// The name as given.
        name: String,
    },
    /// The certificate request asks for names other than those of the node it is for.
    #[error(
        "the certificate request names {requested:?} and not {expected:?}; make the request for this node again"
    )]
    OtherNames {
        /// Alternative names found in the request.
        requested: Vec<String>,
        /// Alternative names of the node.
        expected: Vec<String>,
    },
    /// A time before 1970 or a period that ends before it starts.
    #[error("the period ends before it starts or lies before 1970; check the clock")]
    Period,
    /// The operating system gave no random bytes.
    #[error("no random bytes from the operating system")]
    Random(#[source] getrandom::Error),
    /// The certificate library refused.
    #[error("the certificate library refused")]
    Certificate(#[from] rcgen::Error),
}
