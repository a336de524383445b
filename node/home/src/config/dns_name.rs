//! DNS name of a node, as it stands in the register and in the node's certificate.

use std::{fmt, str::FromStr};

/// A DNS name in lower case (RFC 1123 §2.1), without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsName(String);

/// Error of a text that is not a DNS name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a DNS name; write lower-case letters, digits, hyphens and dots, such as `antwerp.customs.example`"
)]
pub struct DnsNameError(String);

impl FromStr for DnsName {
    type Err = DnsNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || DnsNameError(text.to_owned());
        let address = text.parse::<std::net::IpAddr>().is_ok();
        if address || !(1..=253).contains(&text.len()) || !text.split('.').all(is_label) {
            return Err(wrong());
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_label(label: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&label.len())
        && label.bytes().all(allowed)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

impl DnsName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_labels_of_letters_digits_and_hyphens() {
        for good in [
            "a",
            "antwerp.customs.example",
            "node-1.example",
            "localhost",
        ] {
            assert_eq!(good.parse::<DnsName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            ".",
            "a.",
            "A.example",
            "a..b",
            "-a.example",
            "a_b.example",
            "192.0.2.1",
            "a:443",
        ] {
            assert!(bad.parse::<DnsName>().is_err(), "{bad}");
        }
    }
}
