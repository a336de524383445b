//! A new authority from nothing to its first records, by the command line alone. Two members are
//! admitted to a development federation, one node runs, persons are enrolled, and each of an
//! analyst's tasks is done once. The certificate comes from the authority's own CA.

mod trust;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use portcullis_certs_dev::{DevelopmentAuthority, NodeNames, certificate_pem, revocation_list_pem};
use rustls::pki_types::{CertificateSigningRequestDer, pem::PemObject as _};
use serde_json::Value;

use self::trust::{
    asks_the_doctor, closes_gates_and_opens_them, reloads_all_or_nothing, rotates_a_key,
    says_that_the_register_is_fresh,
};
use crate::cli::User;

const PATIENCE: Duration = Duration::from_secs(60);
const CUSTOMS: &[&str] = &["--home", "customs"];
const ADMIN: &[&str] = &["--key", "admin.key", "--passphrase-file", "pass"];
const ANALYST: &[&str] = &["--key", "anna.key", "--passphrase-file", "pass"];

/// A node process that is killed on drop.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

struct Member {
    home: &'static str,
    authority: &'static str,
    kind: &'static str,
    node: &'static str,
    /// Endpoint in the register. Nobody listens there, and the register accepts no address twice.
    endpoint: &'static str,
}

const MEMBERS: [Member; 2] = [
    Member {
        home: "customs",
        authority: "nl-customs",
        kind: "customs",
        node: "rotterdam",
        endpoint: "127.0.0.1:1",
    },
    Member {
        home: "terminal",
        authority: "nl-terminal",
        kind: "private-operator",
        node: "maasvlakte",
        endpoint: "127.0.0.1:2",
    },
];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no `{pointer}` in {value}"))
}

fn joined<'a>(parts: &[&[&'a str]]) -> Vec<&'a str> {
    parts.concat()
}

/// Founds a federation, makes and admits both members, and applies its two epochs at the customs.
fn set_up(user: &User) {
    user.file("pass", "four words are enough\n");
    user.good(&[
        "federation",
        "key",
        "--out",
        "gov.key",
        "--passphrase-file",
        "pass",
    ]);
    let founded = json(&user.good(&[
        "--json",
        "federation",
        "init",
        "--id",
        "test-ports",
        "--governance-key",
        "gov.key.pub",
        "--threshold",
        "1",
        "--development",
        "--out",
        "1.register",
    ]));
    let sign = |register: &str, before: &[&str]| {
        let sign = [
            "federation",
            "sign",
            register,
            "--key",
            "gov.key",
            "--passphrase-file",
            "pass",
        ];
        user.good(&joined(&[&sign, before]));
    };
    sign("1.register", &[]);
    for member in &MEMBERS {
        join(user, member, text(&founded, "/digest"));
    }
    user.good(&[
        "federation",
        "admit",
        "customs.request",
        "terminal.request",
        "--register",
        "1.register",
        "--out",
        "2.register",
    ]);
    sign("2.register", &["--before", "1.register"]);
    user.good(&joined(&[
        CUSTOMS,
        &["federation", "apply", "1.register", "2.register"],
    ]));
    user.good(&joined(&[CUSTOMS, &["tls", "install", "customs.pem"]]));
}

/// Makes a member's node, has its own CA certify it, and writes its request.
fn join(user: &User, member: &Member, pin: &str) {
    let home: &[&str] = &["--home", member.home];
    let dns = format!("{}.example", member.node);
    user.good(&joined(&[
        home,
        &[
            "init",
            "--federation",
            "test-ports",
            "--authority",
            member.authority,
            "--id",
            member.node,
            "--dns-name",
            &dns,
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
            "--pin",
            pin,
            "--passphrase-file",
            "pass",
        ],
    ]));
    let now = jiff::Timestamp::now();
    let ca = DevelopmentAuthority::new(member.authority, now).unwrap();
    let folder = user.folder();
    let csr = std::fs::read(folder.join(member.home).join("tls/csr.pem")).unwrap();
    let csr = CertificateSigningRequestDer::from_pem_slice(&csr).unwrap();
    let names = NodeNames::new("test-ports", member.node, &dns).unwrap();
    let certificate = ca.sign_request(&csr, &names, now).unwrap();
    let list = revocation_list_pem(&ca.revocation_list(1, &[], now).unwrap());
    user.file(
        &format!("{}.pem", member.home),
        &certificate_pem(&certificate),
    );
    user.file(&format!("{}-ca.pem", member.home), &ca.certificate_pem());
    user.file(&format!("customs/crl/{}.crl", member.home), &list);
    let (ca, out) = (
        format!("{}-ca.pem", member.home),
        format!("{}.request", member.home),
    );
    user.good(&joined(&[
        home,
        &[
            "federation",
            "request",
            "--name",
            member.authority,
            "--kind",
            member.kind,
            "--country",
            "NL",
            "--group",
            member.authority,
            "--regime",
            "led",
            "--endpoint",
            member.endpoint,
            "--ca",
            &ca,
            "--out",
            &out,
        ],
    ]));
}

/// Starts the node and waits until its socket answers.
fn run(user: &User) -> Running {
    let mut child = user
        .command(&joined(&[CUSTOMS, &["run"]]))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let log = child.stderr.take().unwrap();
    let log = std::thread::spawn(move || {
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        lines.collect::<Vec<_>>()
    });
    let mut running = Running(child);
    let until = Instant::now() + PATIENCE;
    while !user.run(&joined(&[CUSTOMS, &["status"]])).status.success() {
        if let Some(status) = running.0.try_wait().unwrap() {
            panic!("the node ended with {status}: {:#?}", log.join());
        }
        assert!(Instant::now() < until, "the node does not answer");
        std::thread::yield_now();
    }
    running
}

fn enrol(user: &User) {
    for name in ["admin", "anna"] {
        let out = format!("{name}.key");
        user.good(&["person", "key", "--out", &out, "--passphrase-file", "pass"]);
    }
    let early = user.run(&joined(&[
        CUSTOMS,
        &["alert", "raise", "--imo", "9074729"],
        ANALYST,
    ]));
    assert_eq!(early.status.code(), Some(2), "nobody is enrolled yet");
    for (id, role) in [("admin", "administrator"), ("anna", "analyst")] {
        let public = format!("{id}.key.pub");
        user.good(&joined(&[
            CUSTOMS,
            &[
                "person",
                "enrol",
                id,
                "--name",
                id,
                "--role",
                role,
                "--public-key",
                &public,
            ],
            ADMIN,
        ]));
    }
}

#[test]
fn an_authority_begins_with_the_command_line_alone() {
    let user = User::new();
    set_up(&user);
    let _running = run(&user);
    enrol(&user);
    publishes_what_policy_allows(&user);
    shows_what_is_held(&user);
    refuses_what_a_role_may_not(&user);
    imports_and_scores(&user);
    says_that_the_register_is_fresh(&user);
    closes_gates_and_opens_them(&user);
    asks_the_doctor(&user);
    reloads_all_or_nothing(&user);
    rotates_a_key(&user);
}

const BOX: &[&str] = &[
    "--container",
    "CSQU3054383",
    "--from",
    "2021-01-01",
    "--until",
    "2021-12-31",
    "--threat",
    "narcotics",
    "--evaluation",
    "B2",
    "--source",
    "a port worker",
    "--narrative",
    "a long story",
];

fn publishes_what_policy_allows(user: &User) {
    let preview = json(&user.good(&joined(&[CUSTOMS, &["--json", "policy", "preview"], BOX])));
    assert_eq!(text(&preview, "/members/0/authority"), "nl-terminal");
    let withheld = preview.pointer("/members/0/withheld").unwrap().to_string();
    assert!(withheld.contains("source"), "{preview}");
    let published = json(&user.good(&joined(&[
        CUSTOMS,
        &["--json", "indicator", "publish"],
        BOX,
        ANALYST,
    ])));
    let id = text(&published, "/records/0");
    let shown = json(&user.good(&joined(&[
        CUSTOMS,
        &["--json", "show", id.get(..8).unwrap()],
    ])));
    assert_eq!(text(&shown, "/id"), id);
    assert_eq!(text(&shown, "/header/origin"), "nl-customs");
    assert_eq!(
        text(&shown, "/sections/0/content/subject/selectors/0/value"),
        "CSQU3054383"
    );
    assert_eq!(text(&shown, "/chain/standing"), "in force");
    let file = "container,from,until\nMSKU0000080,2021-01-01,2021-12-31\nMWCU6059784,2021-01-01,2021-12-31\n";
    user.file("boxes.csv", file);
    user.good(&joined(&[
        CUSTOMS,
        &["indicator", "import", "boxes.csv"],
        ANALYST,
    ]));
    user.good(&joined(&[
        CUSTOMS,
        &["alert", "raise", "--imo", "9074729"],
        ANALYST,
    ]));
    user.good(&joined(&[
        CUSTOMS,
        &[
            "advisory",
            "publish",
            "--threat",
            "pin-code-fraud",
            "--text",
            "beware",
        ],
        ANALYST,
    ]));
}

fn shows_what_is_held(user: &User) {
    let held = json(&user.good(&joined(&[CUSTOMS, &["--json", "list"]])));
    let kinds: Vec<&str> = held
        .pointer("/items")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|line| text(line, "/kind"))
        .collect();
    for (kind, count) in [("indicator", 3), ("alert", 1), ("advisory", 1)] {
        assert_eq!(
            kinds.iter().filter(|one| **one == kind).count(),
            count,
            "{kinds:?}"
        );
    }
    let table = user.good(&joined(&[CUSTOMS, &["list", "--kind", "indicator"]]));
    assert!(table.starts_with("ID "), "{table}");
    assert!(table.contains("container CSQU3054383"), "{table}");
    let about =
        |text: &str| json(&user.good(&joined(&[CUSTOMS, &["--json", "list", "--about", text]])));
    assert_eq!(text(&about("csqu 305438 3"), "/items/0/kind"), "indicator");
    assert_eq!(text(&about("9074729"), "/items/0/kind"), "alert");
    assert_eq!(about("MSCU0000007").pointer("/items/0"), None);
    let persons = user.good(&joined(&[CUSTOMS, &["person", "list"]]));
    assert!(
        persons.contains("administrator") && persons.contains("anna"),
        "{persons}"
    );
    for (prefix, status) in [("zz", 3), ("00000000000", 4)] {
        let shown = user.run(&joined(&[CUSTOMS, &["show", prefix]]));
        assert_eq!(shown.status.code(), Some(status), "{prefix}");
    }
}

fn refuses_what_a_role_may_not(user: &User) {
    for (command, key, status) in [
        (&["alert", "raise", "--imo", "9074767"][..], ADMIN, 2),
        (&["reload"][..], ANALYST, 2),
        (&["reload"][..], ADMIN, 0),
    ] {
        let output = user.run(&joined(&[CUSTOMS, command, key]));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{command:?}: {errors}");
    }
    user.file(
        "customs/policy/wrong.cedar",
        "forbid (principal, action, resource\n",
    );
    let reload = user.run(&joined(&[CUSTOMS, &["reload"], ADMIN]));
    assert_eq!(reload.status.code(), Some(3));
    std::fs::remove_file(user.folder().join("customs/policy/wrong.cedar")).unwrap();
}

const HEADER: &str = "Declaration ID,Date,Office ID,Process Type,Import Type,Import Use,Payment Type,Mode of Transport,Declarant ID,Importer ID,Seller ID,Courier ID,HS6 Code,Country of Departure,Country of Origin,Tax Rate,Tax Type,Country of Origin Indicator,Net Mass,Item Price,Fraud,Critical Fraud";
const ROW: &str =
    "2021-01-01,40,B,11,11,11,10,76NV527,SHHZGSL,249LO7A,,760711,CN,CN,7.2,FCN1,E,901.2,415092.72";

fn imports_and_scores(user: &User) {
    let rows = |from: u32, outcome: &dyn Fn(u32) -> &'static str| -> String {
        (from..from + 20)
            .map(|n| format!("{n},{ROW},{}\n", outcome(n)))
            .collect()
    };
    let history = rows(1000, &|n| if n % 2 == 0 { "1,1" } else { "0,0" });
    user.file("history.csv", &format!("{HEADER}\n{history}"));
    user.file(
        "today.csv",
        &format!("{HEADER}\n{}", rows(2000, &|_| "0,0")),
    );
    user.file("short.csv", &format!("{HEADER}\n3000,2021-01-01\n"));
    let import = |file: &str, more: &[&str]| {
        user.run(&joined(&[
            CUSTOMS,
            &["consignment", "import", file],
            more,
            ANALYST,
        ]))
    };
    assert_eq!(import("short.csv", &[]).status.code(), Some(3));
    for (file, more) in [
        ("history.csv", &["--history"][..]),
        ("today.csv", &["--generate", "7"]),
    ] {
        let output = import(file, more);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{file}: {errors}");
    }
    let profile = user.good(&joined(&[CUSTOMS, &["profile", "publish"], ANALYST]));
    assert!(profile.contains("PERIOD"), "{profile}");
    let score = json(&user.good(&joined(&[CUSTOMS, &["--json", "score", "2000"]])));
    let sum: f64 = score
        .pointer("/contributions")
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .filter_map(|one| one.pointer("/log_odds").and_then(Value::as_f64))
        .sum();
    let total = score.pointer("/log_odds").and_then(Value::as_f64).unwrap();
    assert!((sum - total).abs() < 1e-9, "{score}");
    let unknown = user.run(&joined(&[CUSTOMS, &["score", "no-such"]]));
    assert_eq!(unknown.status.code(), Some(4));
}
