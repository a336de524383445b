//! Keys, the register and access to the federation, by the command line.

use super::*;

/// The node keeps its hop key until the fourth epoch lists the new one.
pub(super) fn rotates_a_key(user: &User) {
    let rotate = [
        "--json",
        "keys",
        "rotate",
        "--use",
        "hop",
        "--out",
        "hop.request",
    ];
    let made = json(&user.good(&joined(&[CUSTOMS, &rotate])));
    let new = text(&made, "/new").to_owned();
    assert_eq!(new.len(), 64);
    let wrong = ["keys", "rotate", "--use", "governance", "--out", "x"];
    assert_eq!(user.run(&joined(&[CUSTOMS, &wrong])).status.code(), Some(3));
    // The doctor names a key that waits to be listed, and takes it for no error. Newcomer B16.
    let waits = |user: &User| {
        let found = user.run(&joined(&[CUSTOMS, &["--json", "doctor"]]));
        let found = json(&String::from_utf8_lossy(&found.stdout));
        let findings = found.pointer("/findings").unwrap().as_array().unwrap();
        let says = |one: &&Value| text(one, "/what").ends_with("list them: hop");
        let found = findings.iter().find(says);
        found.map(|one| text(one, "/severity").to_owned())
    };
    assert_eq!(waits(user).as_deref(), Some("warning"));
    let healthy = |user: &User| {
        let found = user.run(&joined(&[CUSTOMS, &["--json", "doctor"]]));
        let found = json(&String::from_utf8_lossy(&found.stdout));
        let findings = found.pointer("/findings").unwrap().as_array().unwrap();
        let register = findings
            .iter()
            .find(|one| text(one, "/about") == "register");
        text(register.unwrap(), "/severity").to_owned()
    };
    assert_eq!(healthy(user), "good");
    let admit = [
        "federation",
        "admit",
        "hop.request",
        "--register",
        "3.register",
        "--out",
        "4.register",
    ];
    assert!(!user.run(&admit).status.success(), "a change is asked for");
    user.good(&joined(&[&admit, &["--change", "--overlap", "2d"]]));
    let sign = ["federation", "sign", "4.register", "--key", "gov.key"];
    user.good(&joined(&[&sign, &["--passphrase-file", "pass"]]));
    let applied = json(&user.good(&joined(&[
        CUSTOMS,
        &["--json", "federation", "apply", "4.register"],
    ])));
    assert_eq!(applied.pointer("/in_force"), Some(&Value::from(4)));
    let now = status(user);
    assert_eq!(now.pointer("/problems"), Some(&Value::Array(Vec::new())));
    assert_eq!(healthy(user), "good");
    assert_eq!(waits(user), None);
    let keys = now.pointer("/keys").unwrap().as_array().unwrap();
    let hop = keys.iter().find(|key| text(key, "/use") == "hop").unwrap();
    assert_eq!(text(hop, "/in_use"), new);
    // The next request makes another key, because this one is listed.
    let again = [
        "--json",
        "keys",
        "rotate",
        "--use",
        "hop",
        "--out",
        "next.request",
    ];
    let next = json(&user.good(&joined(&[CUSTOMS, &again])));
    assert_ne!(text(&next, "/new"), new);
}

/// Simulates outages with the doctor, while the terminal's authority is suspended and the register
/// is fresh.
pub(super) fn asks_the_doctor(user: &User) {
    let ask = |outage: &'static str| {
        let asked = user.run(&joined(&[
            CUSTOMS,
            &["--json", "doctor", "--simulate-outage", outage],
        ]));
        json(&String::from_utf8_lossy(&asked.stdout))
    };
    let found = ask("72h");
    let findings = found.pointer("/findings").unwrap().as_array().unwrap();
    let about = |name: &str| findings.iter().find(|one| text(one, "/about") == name);
    let suspended = "suspended, nothing goes to or comes from: `maasvlakte`";
    let mut told = findings.iter().map(|one| text(one, "/what"));
    assert!(told.any(|what| what == suspended), "{findings:?}");
    assert_eq!(text(about("freshness").unwrap(), "/severity"), "good");
    let ends = found.pointer("/ends").unwrap().as_array().unwrap();
    let kinds: Vec<_> = ends.iter().map(|one| text(one, "/kind")).collect();
    for kind in ["certificate", "trust-anchor", "freshness", "bulk-release"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let stops = |found: &Value| -> Vec<String> {
        let stops = found.pointer("/outage/stops").unwrap().as_array().unwrap();
        stops
            .iter()
            .map(|one| text(one, "/what").to_owned())
            .collect()
    };
    assert_eq!(stops(&found), ["the freshness of the register"]);
    assert_eq!(
        found.pointer("/outage/stops/0/after_hours"),
        Some(&Value::from(47))
    );
    assert!(stops(&ask("2h")).is_empty());
}

/// A broken policy changes nothing, and the command names the file.
pub(super) fn reloads_all_or_nothing(user: &User) {
    let reload = || user.run(&joined(&[CUSTOMS, &["reload"], ADMIN]));
    let policy = |user: &User| text(&status(user), "/policy").to_owned();
    let before = policy(user);
    let path = "customs/policy/own.cedar";
    user.file(path, "permit (nonsense");
    let refused = reload();
    assert_eq!(refused.status.code(), Some(3));
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(complaint.contains("own.cedar"), "{complaint}");
    assert_eq!(policy(user), before);
    std::fs::remove_file(user.folder().join(path)).unwrap();
    assert!(reload().status.success());
}

pub(super) fn status(user: &User) -> Value {
    json(&user.good(&joined(&[CUSTOMS, &["--json", "status"]])))
}

/// The third epoch lists a freshness key. It is in force at once, and a statement signed with the
/// key is accepted.
pub(super) fn says_that_the_register_is_fresh(user: &User) {
    let pass = &["--passphrase-file", "pass"];
    let key = [
        "federation",
        "key",
        "--use",
        "freshness",
        "--out",
        "online.key",
    ];
    user.good(&joined(&[&key, pass]));
    let amend = [
        "federation",
        "amend",
        "--register",
        "2.register",
        "--out",
        "3.register",
        "--freshness-key",
        "online.key.pub",
        "--freshness-threshold",
        "1",
    ];
    user.good(&amend);
    let sign = ["federation", "sign", "3.register", "--key", "gov.key"];
    user.good(&joined(&[&sign, pass]));
    let applied = json(&user.good(&joined(&[
        CUSTOMS,
        &["--json", "federation", "apply", "3.register"],
    ])));
    assert_eq!(applied.pointer("/in_force"), Some(&Value::from(3)));
    assert_eq!(
        status(user).pointer("/register_epoch"),
        Some(&Value::from(3))
    );
    let freshness = ["--json", "federation", "freshness", "--key", "online.key"];
    let said = json(&user.good(&joined(&[CUSTOMS, &freshness, pass, &["--out", "fresh"]])));
    assert_eq!(said.pointer("/taken"), Some(&Value::from(true)));
    let now = status(user);
    assert_eq!(text(&now, "/freshness"), "fresh");
    assert_eq!(text(&now, "/fresh_until"), text(&said, "/until"));
    let carried = json(&user.good(&joined(&[
        CUSTOMS,
        &["--json", "federation", "carry", "fresh"],
    ])));
    assert_eq!(carried.pointer("/taken"), Some(&Value::from(false)));
}

/// Gates that an administrator and the governance close, and acts that a role may not perform.
pub(super) fn closes_gates_and_opens_them(user: &User) {
    let closed = |user: &User| status(user).pointer("/peers/0/closed").cloned();
    assert_eq!(closed(user), Some(Value::Null));
    let act =
        |what: &[&'static str], who: &[&'static str]| user.run(&joined(&[CUSTOMS, what, who]));
    let block = ["peer", "block", "maasvlakte", "--reason", "a drill"];
    assert_eq!(act(&block, ANALYST).status.code(), Some(2));
    assert!(act(&block, ADMIN).status.success());
    assert_eq!(closed(user), Some("blocked here".into()));
    assert!(
        act(&["peer", "unblock", "maasvlakte"], ADMIN)
            .status
            .success()
    );
    assert_eq!(
        act(&["peer", "block", "nowhere"], ADMIN).status.code(),
        Some(3)
    );
    assert!(act(&["release", "stop", "all"], ADMIN).status.success());
    let stopped = user.run(&joined(&[CUSTOMS, &["--json", "status"]]));
    assert_eq!(stopped.status.code(), Some(6), "nothing leaves the node");
    let stopped: Value = serde_json::from_slice(&stopped.stdout).unwrap();
    assert_eq!(
        stopped.pointer("/release_stopped"),
        Some(&Value::from(true))
    );
    assert_eq!(
        stopped.pointer("/peers/0/closed"),
        Some(&Value::from("release stopped here"))
    );
    assert!(act(&["release", "resume", "all"], ADMIN).status.success());
    assert_eq!(closed(user), Some(Value::Null));
    let suspend = |hours: &'static str| {
        let suspend = ["federation", "suspend", "nl-terminal", "--for", hours];
        let key = ["--key", "gov.key", "--passphrase-file", "pass"];
        user.run(&joined(&[CUSTOMS, &suspend, &key]))
    };
    assert_eq!(suspend("73h").status.code(), Some(3), "72 hours at most");
    assert!(suspend("24h").status.success());
    let shown = closed(user).unwrap().to_string();
    assert!(shown.contains("suspended until"), "{shown}");
    let again = suspend("48h");
    assert_eq!(again.status.code(), Some(2), "once in an epoch");
    let complaint = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(complaint.contains("SU-05"), "{complaint}");
}
