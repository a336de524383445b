//! Table of all keys of the configuration: the name of each, an example, and the line that
//! documents it.
//!
//! The same table serves to refuse unknown keys, to name missing ones, and to write the file that
//! `portcullis init` leaves behind.

use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::{ConfigError, Source};

/// A key of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key {
    /// Name with its section, for instance `log.level`.
    pub name: &'static str,
    /// Default value in TOML, or an example if the key has no default.
    pub example: &'static str,
    /// Line that documents the key.
    pub doc: &'static str,
}

/// Declares the table.
macro_rules! keys {
    ($( $name:literal = $example:literal, $doc:literal; )+) => {
        /// Every key, in the order in which the file has them.
        pub const KEYS: &[Key] = &[ $( Key { name: $name, example: $example, doc: $doc }, )+ ];
    };
}

keys! {
    "federation" = r#""eu-ports""#, "the id of the federation";
    "authority" = r#""be-customs""#, "the id of the authority whose node this is";
    "node" = r#""antwerp""#, "the id of the node, unique in the federation";
    "dns_name" = r#""antwerp.customs.example""#, "the one DNS name of the node's certificate";
    "listen" = r#""0.0.0.0:7443""#, "the address and port where peers connect";
    "register_pin" = r#""0000000000000000000000000000000000000000000000000000000000000000""#,
        "the digest of the register's first epoch, received from its governance by another way";
    "exercises" = "false", "whether records that are marked as an exercise are admitted and sent";
    "admin_access" = r#""owner""#,
        "who may open the admin socket: `owner`, or `group`, which must then pass through the home (`chmod 710`)";
    "key.passphrase_file" = r#""/etc/portcullis/passphrase""#,
        "the file with the passphrase of the node's keys; keep it on another disk than `data/`";
    "key.systemd_credential" = r#""portcullis""#,
        "in its place: the name of a credential that systemd gives (`LoadCredentialEncrypted=`)";
    "metrics.listen" = r#""127.0.0.1:9464""#, "where `/metrics` and `/health` are served; loopback only";
    "log.format" = r#""human""#, "how log lines look: `human` or `json`";
    "log.level" = r#""info""#, "what is logged: `error`, `warn`, `info`, `debug` or `trace`";
    "freshness.key" = r#""/etc/portcullis/online.key""#,
        "a freshness key of the federation with which this node says that the register is the newest; given to few nodes";
    "freshness.passphrase_file" = r#""/etc/portcullis/online.passphrase""#, "the file with the passphrase of that key";
    "freshness.every" = r#""12h""#, "how often the node says so, at most `24h`";
    "exchange.handshakes" = "256", "how many handshakes may be under way at once";
    "exchange.handshakes_per_address" = "64", "how many of these from one address";
    "exchange.handshake_timeout" = r#""10s""#, "how long a handshake may take";
    "exchange.connections_per_peer" = "16", "how many connections one peer may have open";
    "exchange.connection_lifetime" = r#""1h""#, "how long a connection lasts before the peer is judged anew, at most `1h`";
    "exchange.waiting" = "64", "how many judged connections may wait to be served";
    "exchange.proxy_protocol_from" = r#"[]"#,
        "the addresses of proxies that say for whom they call (PROXY protocol 1 or 2), as in `[\"10.0.0.5\"]`; each must say so";
    "exchange.connect_timeout" = r#""10s""#, "how long looking up a peer's name and connecting may take";
    "dispatch.retry_first" = r#""1s""#, "the pause before a peer that failed is tried again, doubled at each failure";
    "dispatch.retry_longest" = r#""15m""#, "the longest such pause";
    "disk.reserve" = r#""512 MiB""#, "how much of the store's disk should be free; when less is, bulk is refused for now, and `status`, `/health` and `doctor` tell";
    "disk.daily_bytes_per_origin" = r#""4 GiB""#, "how much one authority may add to the store in a day, whoever delivers it; more is refused for now";
}

/// Returns the line that documents a key; empty if the key is unknown.
#[must_use]
pub(crate) fn doc(name: &str) -> &'static str {
    KEYS.iter()
        .find(|key| key.name == name)
        .map_or("", |key| key.doc)
}

/// Writes a configuration in which the `given` keys have these values (in TOML). Every other key
/// stands as a comment with its default value.
#[must_use]
pub fn render(given: &[(&str, String)]) -> String {
    let mut text = String::from(
        "# The configuration of a Portcullis node. `portcullis doctor` checks it.\n\
         # Lines that begin with `#` show the value that holds if nothing is said.\n",
    );
    let mut present = "";
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        if section != present {
            present = section;
            // Writing to a String cannot fail.
            _ = write!(text, "\n[{section}]");
        }
        let value = given.iter().find(|(given, _)| *given == key.name);
        _ = match value {
            Some((_, value)) => write!(text, "\n# {}\n{name} = {value}\n", key.doc),
            None => write!(text, "\n# {}\n# {name} = {}\n", key.doc, key.example),
        };
    }
    text
}

/// Refuses the first key of the file that is not in the table.
pub(super) fn refuse_unknown(source: &Source<'_>) -> Result<(), ConfigError> {
    let table = DeTable::parse(source.text()).map_err(|error| source.toml(&error))?;
    let mut found = Vec::new();
    for (name, value) in table.get_ref() {
        match value.get_ref() {
            DeValue::Table(section) if is_section(name.get_ref()) => {
                for key in section.keys() {
                    found.push((key.span(), format!("{}.{}", name.get_ref(), key.get_ref())));
                }
            }
            DeValue::Table(_)
            | DeValue::Array(_)
            | DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => found.push((name.span(), name.get_ref().to_string())),
        }
    }
    found.sort_by_key(|(span, _)| span.start);
    let known = |name: &str| is_section(name) || KEYS.iter().any(|key| key.name == name);
    match found.into_iter().find(|(_, name)| !known(name)) {
        None => Ok(()),
        Some((span, key)) => Err(ConfigError::UnknownKey {
            place: source.place(&span),
            advice: advice(&key),
            key,
        }),
    }
}

fn is_section(name: &str) -> bool {
    KEYS.iter()
        .filter_map(|key| key.name.split_once('.'))
        .any(|(section, _)| section == name)
}

/// Names the keys that the unknown one may have been meant to be; if none resembles it, names all
/// keys.
fn advice(unknown: &str) -> String {
    let nearest = KEYS
        .iter()
        .map(|key| key.name)
        .filter(|name| resembles(unknown, name))
        .map(|name| format!("`{name}`"))
        .collect::<Vec<_>>();
    if !nearest.is_empty() {
        return format!("did you mean {}?", nearest.join(" or "));
    }
    let all: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    format!("the keys are {}", all.join(", "))
}

/// Returns true if the names are at most two edits apart, or are the same name in another section.
fn resembles(unknown: &str, known: &str) -> bool {
    let last = |name: &str| name.rsplit('.').next().map(str::to_owned);
    last(unknown) == last(known) || distance(unknown, known) <= 2
}

/// Returns the Levenshtein distance: the number of single characters inserted, removed or replaced.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, character) in a.chars().enumerate() {
        let mut left = above.saturating_add(1);
        let mut next = vec![left];
        for (pair, other) in row.windows(2).zip(&b) {
            let [diagonal, up] = pair else { continue };
            let replaced = diagonal.saturating_add(usize::from(character != *other));
            left = replaced
                .min(up.saturating_add(1))
                .min(left.saturating_add(1));
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_those_of_levenshtein() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("listen", "listen"), 0);
        assert_eq!(distance("lisen", "listen"), 1);
    }
}
