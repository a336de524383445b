//! `portcullis.toml`: the settings that an administrator makes for one node.
//!
//! The file is read once and checked as a whole before anything is bound or opened. `raw` parses
//! the TOML, and this module turns it into checked types. [`keys`] is the one table of all keys,
//! with the line that documents each. A key that is not in it is refused, with the nearest known
//! keys. The file never holds a secret, only the place where each is found. Durations carry units.

pub mod dns_name;
pub mod duration;
pub mod keys;
mod raw;
pub mod size;

use crate::{
    Home,
    files::{self, FileError},
    secret::KeySource,
};
use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use portcullis_protocol::{
    digest::Digest,
    identifiers::{AuthorityId, FederationId, NodeId},
};
use toml::Spanned;

use self::{
    dns_name::DnsName,
    duration::parse_duration,
    raw::{RawConfig, RawDispatch, RawExchange, RawFreshness, RawKey, RawLog},
    size::parse_size,
};
use portcullis_peering::{connector::ConnectorLimits, listener::ListenerLimits};

/// Free space on the disk of the store, in bytes, below which bulk is refused for now if nothing is
/// said: room for alerts, acts and the log, and for a checkpoint of the write-ahead log.
pub(crate) const DISK_RESERVE: u64 = 512 << 20;

/// Pauses before a peer is tried again, if nothing is said: the first and the longest.
pub(crate) const RETRY_FIRST: Duration = Duration::from_secs(1);
pub(crate) const RETRY_LONGEST: Duration = Duration::from_secs(15 * 60);

/// Bytes that one authority may add in a day through one peer, if nothing is said: a backfill of a
/// million records of 4 KiB.
pub(crate) const DAILY_BYTES_PER_ORIGIN: u64 = 4 << 30;

/// Settings that an administrator gives a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Id of the federation.
    pub federation: FederationId,
    /// Id of the authority whose node this is.
    pub authority: AuthorityId,
    /// Id of the node.
    pub node: NodeId,
    /// The one DNS name of the node's certificate.
    pub dns_name: DnsName,
    /// Address on which the node listens for peers.
    pub listen: SocketAddr,
    /// Digest of the register's first epoch.
    pub register_pin: Digest,
    /// Treatment of records that are marked as an exercise.
    pub exercises: Exercises,
    /// Permission to open the admin socket.
    pub admin_access: SocketAccess,
    /// Source of the passphrase of the node's keys.
    pub key: KeySource,
    /// Address on which metrics and health are served; a loopback address.
    pub metrics: SocketAddr,
    /// Format and level of the log.
    pub log: LogSettings,
    /// Settings with which this node renews the freshness statement, if it is trusted to do so.
    pub freshness: Option<RenewalSettings>,
    /// Limits on connections that peers make.
    pub listener: ListenerLimits,
    /// Limits on connections to peers.
    pub connector: ConnectorLimits,
    /// Pauses before dispatch tries a peer again.
    pub retry: RetryBounds,
    /// Free space on the disk of the store, in bytes, below which bulk is refused for now and health
    /// tells of it.
    pub disk_reserve: u64,
    /// Bytes that one authority may add to the store in a day, through each peer.
    pub daily_bytes_per_origin: u64,
}

/// Treatment of records that are marked as an exercise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exercises {
    /// Such records are refused.
    Refused,
    /// Such records are handled like any other, and stay marked.
    Admitted,
}

/// Users who may open the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketAccess {
    /// The node's own user.
    Owner,
    /// The node's user and its group.
    Group,
}

impl FromStr for SocketAccess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "owner" => Ok(Self::Owner),
            "group" => Ok(Self::Group),
            other => Err(format!(
                "`{other}` is no access to a socket; write `owner` or `group`"
            )),
        }
    }
}

impl SocketAccess {
    /// The mode of the socket's file.
    #[must_use]
    pub const fn mode(self) -> u32 {
        match self {
            Self::Owner => 0o600,
            Self::Group => 0o660,
        }
    }
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people at a terminal or in the journal.
    Human,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            other => Err(format!(
                "`{other}` is not a log format; write `human` or `json`"
            )),
        }
    }
}

/// Format and level of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Format of the lines.
    pub format: LogFormat,
    /// Least important level that is written.
    pub level: tracing::Level,
}

/// Settings for a node that renews the freshness statement by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenewalSettings {
    /// File of the freshness key.
    pub key: PathBuf,
    /// File with the passphrase of the key.
    pub passphrase_file: PathBuf,
    /// Interval between renewals.
    pub every: Duration,
}

/// Pauses between attempts: the first is doubled at each failure, up to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBounds {
    /// Pause after the first failure.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
}

impl RetryBounds {
    /// The pause after the first failure, in milliseconds.
    #[must_use]
    pub fn first_ms(self) -> i64 {
        millis(self.first)
    }

    /// The longest pause, in milliseconds.
    #[must_use]
    pub fn longest_ms(self) -> i64 {
        millis(self.longest)
    }

    /// The pause after so many failures in a row, in milliseconds.
    #[must_use]
    pub fn after_ms(self, failures: u32) -> i64 {
        let doubled = 1_i64.checked_shl(failures.saturating_sub(1).min(32));
        self.first_ms()
            .saturating_mul(doubled.unwrap_or(i64::MAX))
            .min(self.longest_ms())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Error of a configuration that is not used. It is the operator's to correct.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There is no configuration.
    #[error("there is no configuration at `{}`; run `portcullis init`, or name the node's home with `--home`", .0.display())]
    Missing(PathBuf),
    /// An `init` was stopped halfway: this is no node yet.
    #[error("`portcullis init` was stopped halfway in `{}`; run it again, it starts anew", .0.display())]
    Unfinished(PathBuf),
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file is not TOML, or a value has another type.
    #[error("{place}: {message}")]
    Toml {
        /// Location of the error.
        place: Location,
        /// The parser's message, on one line.
        message: String,
    },
    /// A key that no node reads.
    #[error("{place}: unknown key `{key}`; {advice}")]
    UnknownKey {
        /// Location of the key.
        place: Location,
        /// Key with its section.
        key: String,
        /// Advice that names the keys it may have been meant to be.
        advice: String,
    },
    /// A key is missing that every node needs.
    #[error("{}: `{key}` is missing; {doc}", path.display())]
    MissingKey {
        /// Configuration file.
        path: PathBuf,
        /// Key with its section.
        key: &'static str,
        /// Line that documents the key.
        doc: &'static str,
    },
    /// A value is not valid.
    #[error("{place}: `{key}`: {reason}")]
    Value {
        /// Location of the value.
        place: Location,
        /// Key with its section.
        key: &'static str,
        /// Description of the fault and of a valid value.
        reason: String,
    },
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// Certificate file.
    pub path: PathBuf,
    /// Number of the line, from 1.
    pub line: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, line {}", self.path.display(), self.line)
    }
}

impl Config {
    /// The configuration of the node in a home that was made whole.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unfinished`] if `init` was stopped halfway, and what is wrong with the file.
    pub fn of(home: &Home) -> Result<Self, ConfigError> {
        if home.unfinished().exists() {
            return Err(ConfigError::Unfinished(home.folder().to_owned()));
        }
        Self::load(&home.config())
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line and the key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        match files::read_text(path) {
            Ok(text) => Self::parse(path, &text),
            Err(FileError::Missing { path }) => Err(ConfigError::Missing(path)),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks the text of a configuration. Errors name `path`, and a relative path in the text
    /// starts from the folder of `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the file, the line and the key.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let source = Source { path, text };
        keys::refuse_unknown(&source)?;
        let raw: RawConfig = toml::from_str(text).map_err(|error| source.toml(&error))?;
        source.config(raw)
    }
}

impl Config {
    /// Returns the keys and sections that differ in `new` and take effect only after a restart.
    #[must_use]
    pub fn needs_restart(&self, new: &Self) -> Vec<&'static str> {
        let Self {
            federation,
            authority,
            node,
            dns_name,
            listen,
            register_pin,
            exercises: _,
            admin_access,
            key,
            metrics,
            log,
            freshness,
            listener,
            connector: _,
            retry,
            disk_reserve,
            daily_bytes_per_origin,
        } = self;
        let differs = [
            ("federation", *federation != new.federation),
            ("authority", *authority != new.authority),
            ("node", *node != new.node),
            ("dns_name", *dns_name != new.dns_name),
            ("listen", *listen != new.listen),
            ("register_pin", *register_pin != new.register_pin),
            ("admin_access", *admin_access != new.admin_access),
            ("key", *key != new.key),
            ("metrics", *metrics != new.metrics),
            ("log.format", log.format != new.log.format),
            ("freshness", *freshness != new.freshness),
            ("exchange", *listener != new.listener),
            ("dispatch", *retry != new.retry),
            (
                "disk",
                (*disk_reserve, *daily_bytes_per_origin)
                    != (new.disk_reserve, new.daily_bytes_per_origin),
            ),
        ];
        differs
            .into_iter()
            .filter_map(|(key, differs)| differs.then_some(key))
            .collect()
    }
}

/// A file being read, whose path and lines its errors name.
pub(crate) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Source<'_> {
    pub(crate) const fn text(&self) -> &str {
        self.text
    }

    pub(crate) fn place(&self, span: &Range<usize>) -> Location {
        let before = self.text.as_bytes().iter().take(span.start);
        let ends = before.filter(|byte| **byte == b'\n').count();
        Location {
            path: self.path.to_owned(),
            line: ends.saturating_add(1),
        }
    }

    pub(crate) fn toml(&self, error: &toml::de::Error) -> ConfigError {
        ConfigError::Toml {
            place: self.place(&error.span().unwrap_or_default()),
            message: error.message().replace('\n', "; "),
        }
    }

    fn config(&self, raw: RawConfig) -> Result<Config, ConfigError> {
        let RawConfig {
            federation,
            authority,
            node,
            dns_name,
            listen,
            register_pin,
            exercises,
            admin_access,
            key,
            metrics,
            log,
            freshness,
            exchange,
            dispatch,
            disk,
        } = raw;
        let (listener, connector) = self.limits(exchange)?;
        Ok(Config {
            federation: self.required("federation", federation)?,
            authority: self.required("authority", authority)?,
            node: self.required("node", node)?,
            dns_name: self.required("dns_name", dns_name)?,
            listen: self.required("listen", listen)?,
            register_pin: self.required("register_pin", register_pin)?,
            exercises: match exercises {
                Some(true) => Exercises::Admitted,
                Some(false) | None => Exercises::Refused,
            },
            admin_access: self
                .optional("admin_access", admin_access)?
                .unwrap_or(SocketAccess::Owner),
            key: self.key(key)?,
            metrics: self.metrics(metrics.listen)?,
            log: self.log(log)?,
            freshness: self.freshness(freshness)?,
            listener,
            connector,
            retry: self.retry(dispatch)?,
            disk_reserve: self.size("disk.reserve", disk.reserve, DISK_RESERVE)?,
            daily_bytes_per_origin: self.size(
                "disk.daily_bytes_per_origin",
                disk.daily_bytes_per_origin,
                DAILY_BYTES_PER_ORIGIN,
            )?,
        })
    }

    fn key(&self, raw: RawKey) -> Result<KeySource, ConfigError> {
        let RawKey {
            passphrase_file,
            systemd_credential,
        } = raw;
        match (passphrase_file, systemd_credential) {
            (Some(file), None) => {
                let folder = self.path.parent().unwrap_or(Path::new(""));
                Ok(KeySource::PassphraseFile(folder.join(file.get_ref())))
            }
            (None, Some(name)) => self.credential(&name),
            (Some(_), Some(both)) => Err(self.value(
                "key.systemd_credential",
                &both.span(),
                "the passphrase has one source; remove this key or `passphrase_file`",
            )),
            (None, None) => Err(self.missing("key.passphrase_file")),
        }
    }

    /// Reads the name of a credential. systemd's own names of credentials are file names.
    fn credential(&self, name: &Spanned<String>) -> Result<KeySource, ConfigError> {
        let text = name.get_ref();
        if text.is_empty() || text.contains('/') || text.starts_with('.') {
            let reason = "write the name of a credential, as in `LoadCredentialEncrypted=`";
            return Err(self.value("key.systemd_credential", &name.span(), reason));
        }
        Ok(KeySource::SystemdCredential(text.clone()))
    }

    fn metrics(&self, listen: Option<Spanned<String>>) -> Result<SocketAddr, ConfigError> {
        const KEY: &str = "metrics.listen";
        let Some(listen) = listen else {
            return Ok(SocketAddr::from(([127, 0, 0, 1], 9464)));
        };
        let address: SocketAddr = self.parsed(KEY, &listen)?;
        if !address.ip().is_loopback() {
            let reason = format!(
                "`{address}` can be reached from outside; write a loopback address such as `127.0.0.1:9464`"
            );
            return Err(self.value(KEY, &listen.span(), reason));
        }
        Ok(address)
    }

    fn log(&self, raw: RawLog) -> Result<LogSettings, ConfigError> {
        let RawLog { format, level } = raw;
        let level = level.map_or(Ok(tracing::Level::INFO), |level| {
            level.get_ref().parse().map_err(|_| {
                let reason = format!(
                    "`{}` is not a level; write `error`, `warn`, `info`, `debug` or `trace`",
                    level.get_ref()
                );
                self.value("log.level", &level.span(), reason)
            })
        })?;
        Ok(LogSettings {
            format: self
                .optional("log.format", format)?
                .unwrap_or(LogFormat::Human),
            level,
        })
    }

    fn freshness(&self, raw: RawFreshness) -> Result<Option<RenewalSettings>, ConfigError> {
        const EVERY: &str = "freshness.every";
        let RawFreshness {
            key,
            passphrase_file,
            every,
        } = raw;
        let span = every.as_ref().map(Spanned::span).unwrap_or_default();
        let every = self.duration(EVERY, every, Duration::from_secs(12 * 3600))?;
        if every > Duration::from_secs(24 * 3600) {
            let reason = "members warn a day before the end; write `24h` or less";
            return Err(self.value(EVERY, &span, reason));
        }
        let folder = self.path.parent().unwrap_or(Path::new(""));
        match (key, passphrase_file) {
            (None, None) => Ok(None),
            (Some(key), Some(passphrase)) => Ok(Some(RenewalSettings {
                key: folder.join(key.get_ref()),
                passphrase_file: folder.join(passphrase.get_ref()),
                every,
            })),
            (Some(_), None) => Err(self.missing("freshness.passphrase_file")),
            (None, Some(_)) => Err(self.missing("freshness.key")),
        }
    }

    fn limits(&self, raw: RawExchange) -> Result<(ListenerLimits, ConnectorLimits), ConfigError> {
        let RawExchange {
            handshakes,
            handshakes_per_address,
            handshake_timeout,
            connections_per_peer,
            connection_lifetime,
            waiting,
            proxy_protocol_from,
            connect_timeout,
        } = raw;
        let (inward, outward) = (ListenerLimits::default(), ConnectorLimits::default());
        let handshake_timeout = self.duration(
            "exchange.handshake_timeout",
            handshake_timeout,
            inward.handshake_timeout,
        )?;
        let connection_lifetime = self.lifetime(connection_lifetime, inward.connection_lifetime)?;
        let listener = ListenerLimits {
            handshakes: self.count("exchange.handshakes", handshakes, inward.handshakes)?,
            handshakes_per_address: self.count(
                "exchange.handshakes_per_address",
                handshakes_per_address,
                inward.handshakes_per_address,
            )?,
            handshake_timeout,
            connections_per_peer: self.count(
                "exchange.connections_per_peer",
                connections_per_peer,
                inward.connections_per_peer,
            )?,
            connection_lifetime,
            waiting: self.count("exchange.waiting", waiting, inward.waiting)?,
            proxies: self.proxies(proxy_protocol_from.unwrap_or_default())?,
        };
        let connector = ConnectorLimits {
            connect_timeout: self.duration(
                "exchange.connect_timeout",
                connect_timeout,
                outward.connect_timeout,
            )?,
            handshake_timeout,
            connection_lifetime,
        };
        Ok((listener, connector))
    }

    fn proxies(&self, given: Vec<Spanned<String>>) -> Result<BTreeSet<IpAddr>, ConfigError> {
        let address = |text: &Spanned<String>| {
            let read: Result<IpAddr, _> = text.get_ref().parse();
            read.map(|address| address.to_canonical()).map_err(|_| {
                let reason = format!(
                    "`{}` is no IP address; write the address from which the proxy calls",
                    text.get_ref()
                );
                self.value("exchange.proxy_protocol_from", &text.span(), reason)
            })
        };
        given.iter().map(address).collect()
    }

    /// Reads the lifetime of a connection. A peer is judged anew at least every hour (docs/design.md, Exchange).
    fn lifetime(
        &self,
        given: Option<Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        const KEY: &str = "exchange.connection_lifetime";
        let span = given.as_ref().map(Spanned::span).unwrap_or_default();
        let lifetime = self.duration(KEY, given, default)?;
        if lifetime > Duration::from_secs(3600) {
            let reason = "peers are judged anew at least every hour; write `1h` or less";
            return Err(self.value(KEY, &span, reason));
        }
        Ok(lifetime)
    }

    fn retry(&self, raw: RawDispatch) -> Result<RetryBounds, ConfigError> {
        let RawDispatch {
            retry_first,
            retry_longest,
        } = raw;
        let span = retry_longest
            .as_ref()
            .map(Spanned::span)
            .unwrap_or_default();
        let first = self.duration("dispatch.retry_first", retry_first, RETRY_FIRST)?;
        let longest = self.duration("dispatch.retry_longest", retry_longest, RETRY_LONGEST)?;
        if longest < first {
            let reason = "it is shorter than `retry_first`; write a longer one";
            return Err(self.value("dispatch.retry_longest", &span, reason));
        }
        Ok(RetryBounds { first, longest })
    }

    fn required<T>(
        &self,
        key: &'static str,
        value: Option<Spanned<String>>,
    ) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        self.optional(key, value)?.ok_or_else(|| self.missing(key))
    }

    fn optional<T>(
        &self,
        key: &'static str,
        value: Option<Spanned<String>>,
    ) -> Result<Option<T>, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        value.map(|value| self.parsed(key, &value)).transpose()
    }

    fn parsed<T>(&self, key: &'static str, value: &Spanned<String>) -> Result<T, ConfigError>
    where
        T: FromStr<Err: fmt::Display>,
    {
        value
            .get_ref()
            .parse()
            .map_err(|error: T::Err| self.value(key, &value.span(), error.to_string()))
    }

    fn duration(
        &self,
        key: &'static str,
        value: Option<Spanned<String>>,
        default: Duration,
    ) -> Result<Duration, ConfigError> {
        value.map_or(Ok(default), |value| {
            parse_duration(value.get_ref())
                .map_err(|error| self.value(key, &value.span(), error.to_string()))
        })
    }

    fn size(
        &self,
        key: &'static str,
        value: Option<Spanned<String>>,
        default: u64,
    ) -> Result<u64, ConfigError> {
        value.map_or(Ok(default), |value| {
            parse_size(value.get_ref())
                .map_err(|error| self.value(key, &value.span(), error.to_string()))
        })
    }

    fn count(
        &self,
        key: &'static str,
        value: Option<Spanned<u32>>,
        default: usize,
    ) -> Result<usize, ConfigError> {
        let Some(value) = value else {
            return Ok(default);
        };
        match usize::try_from(*value.get_ref()) {
            Ok(count) if (1..=65_536).contains(&count) => Ok(count),
            Ok(_) | Err(_) => Err(self.value(key, &value.span(), "write a number from 1 to 65536")),
        }
    }

    fn value(
        &self,
        key: &'static str,
        span: &Range<usize>,
        reason: impl Into<String>,
    ) -> ConfigError {
        ConfigError::Value {
            place: self.place(span),
            key,
            reason: reason.into(),
        }
    }

    fn missing(&self, key: &'static str) -> ConfigError {
        ConfigError::MissingKey {
            path: self.path.to_owned(),
            key,
            doc: keys::doc(key),
        }
    }
}

#[cfg(test)]
mod tests;
