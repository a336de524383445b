//! The number of files and sockets that this process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors with which a node of a large federation gets along: its handshakes, 16 connections for each of 200 peers
/// one way and one the other way, and its files.
const ENOUGH: u64 = 4_096;

/// Raises the soft limit of open descriptors to the hard one, and warns if that is little.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        tracing::warn!(%error, "the limit of open files stays what it was; set `LimitNOFILE`");
    }
    let now = getrlimit(Resource::Nofile).current;
    if let Some(now) = now.filter(|now| *now < ENOUGH) {
        tracing::warn!(
            now,
            "few files and sockets may be open at once; set `LimitNOFILE={ENOUGH}` or more"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Attack H6: under the soft limit of 1,024 a local user closed every port.
    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let hard = getrlimit(Resource::Nofile).maximum;
        let low = Rlimit {
            current: Some(512),
            maximum: hard,
        };
        setrlimit(Resource::Nofile, low).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, hard);
    }
}
