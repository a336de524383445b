//! Trust settings: what of a home's files decides whom the node believes and what leaves it.
//!
//! The values in use are compared with those that lie sealed with the keys, so that who can only
//! write to the disk changes none of them. Settings of the machine (paths, addresses, the log) are
//! not among them. A value that is the default is left out: a key that a later version adds changes
//! nothing by itself.
//!
//! The digest is over each name and value in the order of the names, each with its length before
//! it. It is what a person signs.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use portcullis_peering::{connector::ConnectorLimits, listener::ListenerLimits};
use portcullis_protocol::digest::Digest;
use serde::{Deserialize, Serialize};

use crate::{
    Home,
    config::{
        Config, DAILY_BYTES_PER_ORIGIN, DISK_RESERVE, Exercises, RETRY_FIRST, RETRY_LONGEST,
        RetryBounds, SocketAccess,
    },
    files::{self, FileError},
};

/// Settings that say which node this is, of which federation. The sealed ones count, whatever the
/// file says.
pub const IDENTITY: [&str; 4] = ["federation", "authority", "node", "register_pin"];

/// Trust settings by name, each as text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TrustSettings(BTreeMap<String, String>);

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    /// Name of the setting, as in the configuration, or the file that decides.
    pub name: String,
    /// Accepted value; `None` for the default, or no such file.
    pub old: Option<String>,
    /// Value found; `None` for the default, or no such file.
    pub new: Option<String>,
}

impl std::fmt::Display for SettingChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, old, new } = self;
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "default".to_owned());
        write!(f, "{name}: {} -> {}", shown(old), shown(new))
    }
}

impl TrustSettings {
    /// Returns the trust settings of a configuration, with the deciding files by their names in the
    /// home.
    #[must_use]
    pub fn of(config: &Config, deciding: &BTreeMap<String, Vec<u8>>) -> Self {
        let mut settings = Self::default();
        settings.configured(config);
        for (name, content) in deciding {
            let digest = Digest::labelled("portcullis deciding file v1", &[content]);
            settings.set(name, digest);
        }
        settings
    }

    /// Returns the trust settings of a configuration and the deciding files in `home`.
    ///
    /// # Errors
    ///
    /// [`FileError`] if a deciding file cannot be read.
    pub fn found(home: &Home, config: &Config) -> Result<Self, FileError> {
        Ok(Self::of(config, &deciding_files(home)?))
    }

    fn configured(&mut self, config: &Config) {
        let Config {
            federation,
            authority,
            node,
            register_pin,
            exercises,
            admin_access,
            freshness,
            listener,
            connector,
            retry: RetryBounds { first, longest },
            disk_reserve,
            daily_bytes_per_origin,
            // Settings of the machine.
            dns_name: _,
            listen: _,
            key: _,
            metrics: _,
            log: _,
        } = config;
        self.set("federation", federation);
        self.set("authority", authority);
        self.set("node", node);
        self.set("register_pin", register_pin);
        if *exercises != Exercises::Refused {
            self.set("exercises", true);
        }
        if *admin_access != SocketAccess::Owner {
            self.set("admin_access", "group");
        }
        if let Some(renewal) = freshness {
            self.set("freshness.every", text_of(renewal.every));
        }
        self.limits(listener, connector);
        self.unless("dispatch.retry_first", *first, RETRY_FIRST, text_of);
        self.unless("dispatch.retry_longest", *longest, RETRY_LONGEST, text_of);
        self.unless("disk.reserve", *disk_reserve, DISK_RESERVE, |bytes| bytes);
        self.unless(
            "disk.daily_bytes_per_origin",
            *daily_bytes_per_origin,
            DAILY_BYTES_PER_ORIGIN,
            |bytes| bytes,
        );
    }

    fn limits(&mut self, listener: &ListenerLimits, connector: &ConnectorLimits) {
        let ListenerLimits {
            handshakes,
            handshakes_per_address,
            handshake_timeout,
            connections_per_peer,
            connection_lifetime,
            waiting,
            proxies,
        } = listener;
        let usual = ListenerLimits::default();
        for (name, count, default) in [
            ("handshakes", *handshakes, usual.handshakes),
            (
                "handshakes_per_address",
                *handshakes_per_address,
                usual.handshakes_per_address,
            ),
            (
                "connections_per_peer",
                *connections_per_peer,
                usual.connections_per_peer,
            ),
            ("waiting", *waiting, usual.waiting),
        ] {
            self.unless(&format!("exchange.{name}"), count, default, |count| count);
        }
        // The connector has the listener's time limits, and one of its own.
        let connect = connector.connect_timeout;
        let default = ConnectorLimits::default().connect_timeout;
        self.unless("exchange.connect_timeout", connect, default, text_of);
        self.unless(
            "exchange.handshake_timeout",
            *handshake_timeout,
            usual.handshake_timeout,
            text_of,
        );
        self.unless(
            "exchange.connection_lifetime",
            *connection_lifetime,
            usual.connection_lifetime,
            text_of,
        );
        if *proxies != usual.proxies {
            let proxies: Vec<String> = proxies.iter().map(ToString::to_string).collect();
            self.set("exchange.proxy_protocol_from", proxies.join(" "));
        }
    }

    fn unless<T: PartialEq, V: ToString>(
        &mut self,
        name: &str,
        value: T,
        default: T,
        text: impl FnOnce(T) -> V,
    ) {
        if value != default {
            self.set(name, text(value));
        }
    }

    fn set(&mut self, name: &str, value: impl ToString) {
        self.0.insert(name.to_owned(), value.to_string());
    }

    /// Returns the digest of all settings.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut parts: Vec<Vec<u8>> = Vec::with_capacity(self.0.len().saturating_mul(2));
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            parts.push([&(text.len() as u64).to_be_bytes(), text.as_bytes()].concat());
        }
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        Digest::labelled("portcullis trust settings v1", &parts)
    }

    /// Lists what differs in `found`, by name.
    #[must_use]
    pub fn changes(&self, found: &Self) -> Vec<SettingChange> {
        let names: BTreeSet<&String> = self.0.keys().chain(found.0.keys()).collect();
        names
            .into_iter()
            .map(|name| SettingChange {
                name: name.clone(),
                old: self.0.get(name).cloned(),
                new: found.0.get(name).cloned(),
            })
            .filter(|change| change.old != change.new)
            .collect()
    }

    /// Puts the sealed identity in place of the configured one, and the closer access to the admin
    /// socket in place of a wider one. Returns false if a sealed value cannot be read.
    #[must_use]
    pub fn bind(&self, config: &mut Config) -> bool {
        let value = |name| self.0.get(name).map_or("", String::as_str);
        let [federation, authority, node, pin] = IDENTITY.map(value);
        let read = (
            federation.parse(),
            authority.parse(),
            node.parse(),
            pin.parse(),
        );
        let (Ok(federation), Ok(authority), Ok(node), Ok(pin)) = read else {
            return false;
        };
        config.federation = federation;
        config.authority = authority;
        config.node = node;
        config.register_pin = pin;
        if !self.0.contains_key("admin_access") {
            config.admin_access = SocketAccess::Owner;
        }
        true
    }

    /// Lists the settings with their values.
    pub fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self.0.iter();
        all.map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

fn text_of(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// Reads the files of a home that decide: the policies, and the schema of consignments.
fn deciding_files(home: &Home) -> Result<BTreeMap<String, Vec<u8>>, FileError> {
    let mut deciding = BTreeMap::new();
    for path in files::list_all(&home.policy())? {
        if path.extension().is_some_and(|found| found == "cedar") {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            deciding.insert(format!("policy/{name}"), files::read(&path)?);
        }
    }
    match files::read(&home.folder().join(Home::SCHEMA)) {
        Ok(schema) => drop(deciding.insert(Home::SCHEMA.to_owned(), schema)),
        Err(FileError::Missing { .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(deciding)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "federation = \"test\"\nauthority = \"antwerp\"\nnode = \"antwerp-1\"\n\
        dns_name = \"antwerp.example\"\nlisten = \"127.0.0.1:7443\"\n";
    const KEY: &str = "[key]\npassphrase_file = \"/p\"\n";

    fn settings(top: &str, tables: &str) -> TrustSettings {
        let pin = "01".repeat(32);
        let text = format!("{LEAST}register_pin = \"{pin}\"\n{top}\n{KEY}{tables}");
        let config = Config::parse("portcullis.toml".as_ref(), &text).unwrap();
        TrustSettings::of(&config, &BTreeMap::new())
    }

    fn changed(top: &str, tables: &str) -> Vec<String> {
        let changes = settings("", "").changes(&settings(top, tables));
        changes.iter().map(SettingChange::to_string).collect()
    }

    #[test]
    fn settings_of_the_machine_are_none_of_them() {
        let tables = "[log]\nlevel = \"error\"\n[metrics]\nlisten = \"127.0.0.1:1\"\n";
        assert_eq!(changed("", tables), Vec::<String>::new());
        assert_eq!(settings("", "").digest(), settings("", tables).digest());
    }

    /// Attack H1: group socket, exercises and limits were changed in the file, and nobody was told.
    #[test]
    fn each_setting_that_opens_or_hinders_is_one_of_them() {
        for (top, tables, said) in [
            ("exercises = true", "", "exercises: default -> true"),
            (
                "admin_access = \"group\"",
                "",
                "admin_access: default -> group",
            ),
            (
                "",
                "[dispatch]\nretry_longest = \"9d\"",
                "dispatch.retry_longest: default -> 777600000ms",
            ),
            (
                "",
                "[dispatch]\nretry_first = \"2s\"",
                "dispatch.retry_first: default -> 2000ms",
            ),
            (
                "",
                "[exchange]\nhandshakes = 1",
                "exchange.handshakes: default -> 1",
            ),
            (
                "",
                "[exchange]\nhandshakes_per_address = 1",
                "exchange.handshakes_per_address: default -> 1",
            ),
            (
                "",
                "[exchange]\nconnections_per_peer = 1",
                "exchange.connections_per_peer: default -> 1",
            ),
            (
                "",
                "[exchange]\nwaiting = 1",
                "exchange.waiting: default -> 1",
            ),
            (
                "",
                "[exchange]\nconnect_timeout = \"1ms\"",
                "exchange.connect_timeout: default -> 1ms",
            ),
            (
                "",
                "[exchange]\nhandshake_timeout = \"1ms\"",
                "exchange.handshake_timeout: default -> 1ms",
            ),
            (
                "",
                "[exchange]\nconnection_lifetime = \"1s\"",
                "exchange.connection_lifetime: default -> 1000ms",
            ),
            (
                "",
                "[exchange]\nproxy_protocol_from = [\"10.0.0.1\"]",
                "exchange.proxy_protocol_from: default -> 10.0.0.1",
            ),
            (
                "",
                "[disk]\nreserve = \"1 MiB\"",
                "disk.reserve: default -> ",
            ),
            (
                "",
                "[disk]\ndaily_bytes_per_origin = \"1 MiB\"",
                "disk.daily_bytes_per_origin: default -> ",
            ),
            (
                "",
                "[freshness]\nkey = \"/k\"\npassphrase_file = \"/q\"",
                "freshness.every: default -> 43200000ms",
            ),
        ] {
            let found = changed(top, tables);
            assert!(
                found.len() == 1 && found[0].starts_with(said),
                "{said}: {found:?}"
            );
        }
    }

    #[test]
    fn a_policy_is_one_of_them_by_its_name_and_text() {
        let config = Config::parse(
            "portcullis.toml".as_ref(),
            &format!("{LEAST}register_pin = \"{}\"\n{KEY}", "01".repeat(32)),
        )
        .unwrap();
        let with = |name: &str, text: &str| {
            let files = BTreeMap::from([(name.to_owned(), text.as_bytes().to_vec())]);
            TrustSettings::of(&config, &files)
        };
        let own = with("policy/own.cedar", "a");
        for other in [
            with("policy/own.cedar", "b"),
            with("policy/other.cedar", "a"),
            TrustSettings::of(&config, &BTreeMap::new()),
        ] {
            assert!(!own.changes(&other).is_empty());
            assert_ne!(own.digest(), other.digest());
        }
    }

    #[test]
    fn the_digest_tells_names_from_values() {
        let pair = |name: &str, value: &str| {
            TrustSettings(BTreeMap::from([(name.to_owned(), value.to_owned())])).digest()
        };
        assert_ne!(pair("ab", "c"), pair("a", "bc"));
    }

    #[test]
    fn the_sealed_identity_counts_and_no_wider_socket() {
        let sealed = settings("", "");
        let text = format!(
            "{}register_pin = \"{}\"\nadmin_access = \"group\"\n{KEY}",
            LEAST
                .replace("antwerp", "other")
                .replace("\"test\"", "\"forged\""),
            "02".repeat(32)
        );
        let mut config = Config::parse("portcullis.toml".as_ref(), &text).unwrap();
        assert!(sealed.bind(&mut config));
        assert_eq!(config.node.as_str(), "antwerp-1");
        assert_eq!(config.authority.as_ref(), "antwerp");
        assert_eq!(config.federation.as_ref(), "test");
        assert_eq!(config.register_pin.to_string(), "01".repeat(32));
        assert_eq!(config.admin_access, SocketAccess::Owner);
        assert!(!TrustSettings::default().bind(&mut config));
    }
}
