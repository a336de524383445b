//! The configuration as TOML holds it: values with their places, none of them checked.

use serde::Deserialize;
use toml::Spanned;

type Text = Option<Spanned<String>>;
type Count = Option<Spanned<u32>>;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConfig {
    pub(super) federation: Text,
    pub(super) authority: Text,
    pub(super) node: Text,
    pub(super) dns_name: Text,
    pub(super) listen: Text,
    pub(super) register_pin: Text,
    pub(super) exercises: Option<bool>,
    pub(super) admin_access: Text,
    #[serde(default)]
    pub(super) key: RawKey,
    #[serde(default)]
    pub(super) metrics: RawMetrics,
    #[serde(default)]
    pub(super) log: RawLog,
    #[serde(default)]
    pub(super) freshness: RawFreshness,
    #[serde(default)]
    pub(super) exchange: RawExchange,
    #[serde(default)]
    pub(super) dispatch: RawDispatch,
    #[serde(default)]
    pub(super) disk: RawDisk,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDisk {
    pub(super) reserve: Text,
    pub(super) daily_bytes_per_origin: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawKey {
    pub(super) passphrase_file: Text,
    pub(super) systemd_credential: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMetrics {
    pub(super) listen: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawLog {
    pub(super) format: Text,
    pub(super) level: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFreshness {
    pub(super) key: Text,
    pub(super) passphrase_file: Text,
    pub(super) every: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawExchange {
    pub(super) handshakes: Count,
    pub(super) handshakes_per_address: Count,
    pub(super) handshake_timeout: Text,
    pub(super) connections_per_peer: Count,
    pub(super) connection_lifetime: Text,
    pub(super) waiting: Count,
    pub(super) proxy_protocol_from: Option<Vec<Spanned<String>>>,
    pub(super) connect_timeout: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDispatch {
    pub(super) retry_first: Text,
    pub(super) retry_longest: Text,
}
