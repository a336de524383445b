//! Tests of the configuration: required keys, defaults, unknown keys, and refused values.

use std::collections::BTreeSet;

use super::{keys::KEYS, *};

const PATH: &str = "/srv/node/portcullis.toml";

const LEAST: &str = r#"
federation = "eu-ports"
authority = "be-customs"
node = "antwerp"
dns_name = "antwerp.customs.example"
listen = "0.0.0.0:7443"
register_pin = "abababababababababababababababababababababababababababababababab"

[key]
passphrase_file = "passphrase"
"#;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new(PATH), text)
}

#[track_caller]
fn check(text: &str, message: &str) {
    assert_eq!(parse(text).unwrap_err().to_string(), message);
}

/// Returns the least configuration with `line` at its beginning, or at its end if `line` opens a
/// section.
fn with(line: &str) -> String {
    if line.starts_with('[') {
        format!("{LEAST}{line}\n")
    } else {
        format!("{line}{LEAST}")
    }
}

#[test]
fn the_least_configuration_has_the_documented_values() {
    let config = parse(LEAST).unwrap();
    assert_eq!(config.federation.to_string(), "eu-ports");
    assert_eq!(config.authority.to_string(), "be-customs");
    assert_eq!(config.node.to_string(), "antwerp");
    assert_eq!(config.dns_name.as_str(), "antwerp.customs.example");
    assert_eq!(config.listen, "0.0.0.0:7443".parse().unwrap());
    assert_eq!(config.register_pin.to_string(), "ab".repeat(32));
    assert_eq!(config.exercises, Exercises::Refused);
    assert_eq!(config.admin_access, SocketAccess::Owner);
    assert_eq!(
        config.key,
        KeySource::PassphraseFile("/srv/node/passphrase".into())
    );
    assert_eq!(config.metrics, "127.0.0.1:9464".parse().unwrap());
    assert_eq!(config.log.format, LogFormat::Human);
    assert_eq!(config.log.level, tracing::Level::INFO);
    assert_eq!(config.listener, ListenerLimits::default());
    assert_eq!(config.connector, ConnectorLimits::default());
    assert_eq!(config.retry.first, Duration::from_secs(1));
    assert_eq!(config.retry.longest, Duration::from_secs(900));
}

/// Reads the configuration with one more key and checks the result with `what`.
#[track_caller]
fn holds(line: &str, what: impl Fn(&Config) -> bool) {
    let config = parse(&with(line)).unwrap();
    assert!(what(&config), "{line}: {config:?}");
}

#[test]
fn every_optional_key_has_its_effect() {
    let seconds = Duration::from_secs;
    holds("exercises = true", |c| c.exercises == Exercises::Admitted);
    holds("admin_access = 'group'", |c| {
        c.admin_access == SocketAccess::Group
    });
    holds("[metrics]\nlisten = '[::1]:1'", |c| c.metrics.port() == 1);
    holds("[log]\nformat = 'json'", |c| {
        c.log.format == LogFormat::Json
    });
    holds("[log]\nlevel = 'debug'", |c| {
        c.log.level == tracing::Level::DEBUG
    });
    holds("[exchange]\nhandshakes = 7", |c| c.listener.handshakes == 7);
    holds("[exchange]\nhandshakes_per_address = 7", |c| {
        c.listener.handshakes_per_address == 7
    });
    holds("[exchange]\nhandshake_timeout = '7s'", |c| {
        c.listener.handshake_timeout == seconds(7) && c.connector.handshake_timeout == seconds(7)
    });
    holds("[exchange]\nconnections_per_peer = 7", |c| {
        c.listener.connections_per_peer == 7
    });
    holds("[exchange]\nconnection_lifetime = '7m'", |c| {
        c.listener.connection_lifetime == seconds(420)
            && c.connector.connection_lifetime == seconds(420)
    });
    holds("[exchange]\nwaiting = 7", |c| c.listener.waiting == 7);
    holds("[exchange]\nproxy_protocol_from = ['10.0.0.5']", |c| {
        c.listener.proxies == ["10.0.0.5".parse().unwrap()].into()
    });
    assert!(parse(&with("[exchange]\nproxy_protocol_from = ['proxy']")).is_err());
    holds("[exchange]\nconnect_timeout = '7s'", |c| {
        c.connector.connect_timeout == seconds(7)
    });
    holds("[dispatch]\nretry_first = '7s'", |c| {
        c.retry.first == seconds(7)
    });
    holds("[dispatch]\nretry_longest = '7h'", |c| {
        c.retry.longest == seconds(7 * 3600)
    });
    holds("[disk]\nreserve = '7 GiB'", |c| c.disk_reserve == 7 << 30);
    holds("[disk]\ndaily_bytes_per_origin = '7 GiB'", |c| {
        c.daily_bytes_per_origin == 7 << 30
    });
    let online = "[freshness]\nkey = 'k'\npassphrase_file = 'p'\nevery = '7h'";
    holds(online, |c| {
        let renewal = c.freshness.as_ref().unwrap();
        renewal.key == Path::new("/srv/node/k")
            && renewal.passphrase_file == Path::new("/srv/node/p")
            && renewal.every == seconds(7 * 3600)
    });
    assert!(parse(&with("[freshness]\nkey = 'k'")).is_err());
    assert!(parse(&with("[freshness]\nevery = '25h'")).is_err());
    let credential = LEAST.replace("passphrase_file", "systemd_credential");
    assert_eq!(
        parse(&credential).unwrap().key,
        KeySource::SystemdCredential("passphrase".into())
    );
}

#[test]
fn every_key_of_the_table_is_read_and_no_other_is() {
    // Each key alone with its example: the parser must know it.
    for key in KEYS {
        let (section, name) = key.name.split_once('.').unwrap_or(("", key.name));
        let line = format!("{name} = {}\n", key.example);
        let text = if section.is_empty() {
            line
        } else {
            format!("[{section}]\n{line}")
        };
        let read = toml::from_str::<RawConfig>(&text);
        assert!(read.is_ok(), "{}: {read:?}", key.name);
        assert!(
            !key.doc.is_empty() && !key.doc.ends_with('.'),
            "{}",
            key.name
        );
    }
    // When serde meets an unknown field, its error lists the fields that it knows.
    let listed = |text: &str| -> BTreeSet<String> {
        let message = toml::from_str::<RawConfig>(text).unwrap_err();
        let names = message.message().split('`').skip(3).step_by(2);
        names.map(str::to_owned).collect()
    };
    let sections = [
        "key",
        "metrics",
        "log",
        "freshness",
        "exchange",
        "dispatch",
        "disk",
    ];
    let mut fields = listed("zzz = 1");
    for section in sections {
        assert!(fields.remove(section), "{section}");
        let inner = listed(&format!("[{section}]\nzzz = 1"));
        fields.extend(inner.into_iter().map(|name| format!("{section}.{name}")));
    }
    let table: BTreeSet<_> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    assert_eq!(fields, table);
}

#[test]
fn an_unknown_key_is_named_with_its_line_and_the_nearest() {
    check(
        &LEAST.replace("listen", "lisen"),
        "/srv/node/portcullis.toml, line 6: unknown key `lisen`; did you mean `listen`?",
    );
    check(
        &with("[log]\nformatt = 'json'"),
        "/srv/node/portcullis.toml, line 12: unknown key `log.formatt`; did you mean `log.format`?",
    );
    check(
        &with("handshake_timeout = '10s'"),
        "/srv/node/portcullis.toml, line 1: unknown key `handshake_timeout`; did you mean `exchange.handshake_timeout`?",
    );
    let unlike = parse(&with("telemetry = true")).unwrap_err().to_string();
    assert!(unlike.contains("the keys are federation, authority"));
    let section = parse(&with("[telemetry]\non = true")).unwrap_err();
    assert!(matches!(section, ConfigError::UnknownKey { key, .. } if key == "telemetry"));
}

#[test]
fn a_value_of_another_type_is_named_with_its_line() {
    check(
        &with("[exchange]\nhandshakes = 'many'"),
        "/srv/node/portcullis.toml, line 12: invalid type: string \"many\", expected u32",
    );
    let broken = parse("federation = ").unwrap_err();
    assert!(matches!(broken, ConfigError::Toml { place, .. } if place.line == 1));
}

#[test]
fn a_missing_key_says_what_it_would_say() {
    check(
        &LEAST.replace("node = \"antwerp\"", ""),
        "/srv/node/portcullis.toml: `node` is missing; the id of the node, unique in the federation",
    );
    check(
        &LEAST.replace("passphrase_file = \"passphrase\"", ""),
        "/srv/node/portcullis.toml: `key.passphrase_file` is missing; the file with the passphrase of the node's keys; keep it on another disk than `data/`",
    );
}

#[test]
fn values_that_cannot_be_are_refused() {
    check(
        &with("[exchange]\nhandshake_timeout = '10'"),
        "/srv/node/portcullis.toml, line 12: `exchange.handshake_timeout`: `10` is not a duration; write a whole number above zero with `ms`, `s`, `m`, `h` or `d`, such as `10s`",
    );
    check(
        &with("[exchange]\nconnection_lifetime = '2h'"),
        "/srv/node/portcullis.toml, line 12: `exchange.connection_lifetime`: peers are judged anew at least every hour; write `1h` or less",
    );
    check(
        &with("[metrics]\nlisten = '0.0.0.0:9464'"),
        "/srv/node/portcullis.toml, line 12: `metrics.listen`: `0.0.0.0:9464` can be reached from outside; write a loopback address such as `127.0.0.1:9464`",
    );
    check(
        &with("[log]\nlevel = 'loud'"),
        "/srv/node/portcullis.toml, line 12: `log.level`: `loud` is not a level; write `error`, `warn`, `info`, `debug` or `trace`",
    );
    check(
        &with("[dispatch]\nretry_first = '1h'\nretry_longest = '1s'"),
        "/srv/node/portcullis.toml, line 13: `dispatch.retry_longest`: it is shorter than `retry_first`; write a longer one",
    );
    check(
        &LEAST.replace("antwerp.customs", "Antwerp.customs"),
        "/srv/node/portcullis.toml, line 5: `dns_name`: `Antwerp.customs.example` is not a DNS name; write lower-case letters, digits, hyphens and dots, such as `antwerp.customs.example`",
    );
    for (line, key) in [
        ("[exchange]\nhandshakes = 0", "exchange.handshakes"),
        ("[exchange]\nwaiting = 70000", "exchange.waiting"),
    ] {
        let refused = parse(&with(line)).unwrap_err();
        assert!(matches!(refused, ConfigError::Value { key: found, .. } if found == key));
    }
}

#[test]
fn two_sources_of_the_passphrase_are_one_too_many() {
    let both = format!("{LEAST}systemd_credential = 'x'\n");
    let refused = parse(&both).unwrap_err();
    assert!(matches!(
        refused,
        ConfigError::Value {
            key: "key.systemd_credential",
            ..
        }
    ));
    let nested = LEAST.replace(
        "passphrase_file = \"passphrase\"",
        "systemd_credential = '../x'",
    );
    assert!(matches!(parse(&nested), Err(ConfigError::Value { .. })));
}

#[test]
fn a_missing_file_says_to_run_init() {
    let missing = Config::load(Path::new("/nowhere/portcullis.toml")).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "there is no configuration at `/nowhere/portcullis.toml`; run `portcullis init`, or name the node's home with `--home`"
    );
}

#[test]
fn the_file_that_init_writes_is_a_configuration() {
    let given = [
        "federation",
        "authority",
        "node",
        "dns_name",
        "listen",
        "register_pin",
        "key.passphrase_file",
    ];
    let values: Vec<_> = KEYS
        .iter()
        .filter(|key| given.contains(&key.name))
        .map(|key| (key.name, key.example.to_owned()))
        .collect();
    let written = keys::render(&values);
    let config = parse(&written).unwrap();
    assert_eq!(config.authority.to_string(), "be-customs");
    // The values that stand in comments are the defaults.
    let uncommented = written
        .replace("\n# systemd_credential", "\n## systemd_credential")
        // A node that is not given a freshness key has none.
        .replace("\n# key", "\n## key")
        .replace("\n# passphrase_file", "\n## passphrase_file")
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting)
                if setting
                    .split_once(" = ")
                    .is_some_and(|(name, _)| !name.contains(' ')) =>
            {
                setting
            }
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    assert_eq!(parse(&uncommented).unwrap(), config);
}

#[test]
fn a_change_that_a_running_node_does_not_take_up_is_named() {
    let given = |name: &str| {
        [
            "federation",
            "authority",
            "node",
            "dns_name",
            "listen",
            "register_pin",
        ]
        .contains(&name)
            || name == "key.passphrase_file"
    };
    let values: Vec<_> = KEYS
        .iter()
        .filter(|key| given(key.name))
        .map(|key| (key.name, key.example.to_owned()))
        .collect();
    let present = parse(&keys::render(&values)).unwrap();
    assert!(present.needs_restart(&present).is_empty());
    let live = Config {
        exercises: Exercises::Admitted,
        log: LogSettings {
            level: tracing::Level::TRACE,
            ..present.log
        },
        ..present.clone()
    };
    assert!(present.needs_restart(&live).is_empty());
    let moved = Config {
        node: "other".parse().unwrap(),
        listen: "127.0.0.1:1".parse().unwrap(),
        ..live
    };
    assert_eq!(present.needs_restart(&moved), ["node", "listen"]);
}
