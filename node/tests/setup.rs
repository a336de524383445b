//! Tests of the whole set-up, from an empty folder to a running node, with the commands that a
//! newcomer types. Each possible wrong input on the way is tried: the message, the exit code, and
//! that nothing is left half done are checked.
//!
//! The tests are hermetic: each has a folder of its own, and no variable of the environment reaches
//! the program.

#![cfg(test)]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use portcullis_certs_dev::{DevelopmentAuthority, NodeNames, certificate_pem};
use rustls_pki_types::{CertificateSigningRequestDer, pem::PemObject as _};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder with a passphrase file in it, and the program.
struct Bench(tempfile::TempDir);

/// Exit status and output of a command.
struct Ran {
    status: i32,
    stdout: String,
    stderr: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let passphrase = folder.path().join("passphrase");
        fs::write(&passphrase, "four words in a row\n").unwrap();
        fs::set_permissions(&passphrase, fs::Permissions::from_mode(0o600)).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, line: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command
            .current_dir(self.0.path())
            .env_clear()
            .args(line.split_whitespace());
        command
    }

    fn run(&self, line: &str) -> Ran {
        let Output {
            status,
            stdout,
            stderr,
        } = self.command(line).stdin(Stdio::null()).output().unwrap();
        Ran {
            status: status.code().unwrap(),
            stdout: String::from_utf8(stdout).unwrap(),
            stderr: String::from_utf8(stderr).unwrap(),
        }
    }

    /// Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.status, 0, "{line}\n{}{}", ran.stdout, ran.stderr);
        ran.stdout
    }

    /// Runs a command that must end with this exit code and print each text of `says`.
    #[track_caller]
    fn refused(&self, line: &str, status: i32, says: &[&str]) {
        let ran = self.run(line);
        assert_eq!(ran.status, status, "{line}\n{}{}", ran.stdout, ran.stderr);
        for text in says {
            assert!(ran.stderr.contains(text), "{line}\n{}", ran.stderr);
        }
    }

    /// Runs a command with `--json`, and returns a value of its answer by name.
    #[track_caller]
    fn json(&self, line: &str, name: &str) -> String {
        let answer: serde_json::Value =
            serde_json::from_str(&self.done(&format!("--json {line}"))).unwrap();
        answer[name].as_str().unwrap().to_owned()
    }

    /// Makes a federation with two governance keys, both of which must sign, and returns its pin.
    fn federation(&self, kind: &str) -> String {
        for name in ["anna", "bert"] {
            self.done(&format!(
                "federation key --out {name}.key --passphrase-file passphrase"
            ));
        }
        let pin = self.json(
            &format!(
                "federation init --id ports --governance-key anna.key.pub \
                 --governance-key bert.key.pub --threshold 2 --out 1.register {kind}"
            ),
            "digest",
        );
        self.signed("1.register");
        pin
    }

    fn signed(&self, register: &str) {
        for name in ["anna", "bert"] {
            self.done(&format!(
                "federation sign {register} --key {name}.key --passphrase-file passphrase"
            ));
        }
    }

    fn init(&self, pin: &str) {
        self.done(&format!(
            "init --home home --federation ports --authority be-customs --id antwerp \
             --dns-name antwerp.example --listen 127.0.0.1:0 --metrics 127.0.0.1:0 --pin {pin} \
             --passphrase-file passphrase"
        ));
    }

    /// Has the authority's own CA sign the request, as an administrator would.
    fn certificate(&self) -> DevelopmentAuthority {
        let now = jiff::Timestamp::now();
        let authority = DevelopmentAuthority::new("belgium", now).unwrap();
        fs::write(self.path("ca.pem"), authority.certificate_pem()).unwrap();
        let request =
            CertificateSigningRequestDer::from_pem_file(self.path("home/tls/csr.pem")).unwrap();
        let names = NodeNames::new("ports", "antwerp", "antwerp.example").unwrap();
        let certificate = authority.sign_request(&request, &names, now).unwrap();
        fs::write(self.path("cert.pem"), certificate_pem(&certificate)).unwrap();
        authority
    }

    fn request(&self) {
        self.done(
            "--home home federation request --name Customs --kind customs --country BE \
             --group be-finance --regime led --community europe --endpoint antwerp.example:7443 \
             --ca ca.pem --out antwerp.request",
        );
    }

    /// Makes a node that the second epoch lists, and issues its certificate. Returns the pin.
    fn node(&self, kind: &str) -> String {
        let pin = self.federation(kind);
        self.init(&pin);
        self.certificate();
        self.request();
        self.done("federation admit antwerp.request --register 1.register --out 2.register");
        self.signed("2.register");
        self.done("--home home federation apply 1.register 2.register");
        pin
    }

    /// Starts the node and waits until it answers.
    fn start(&self) -> Running<'_> {
        let child = self
            .command("--home home run")
            .stdin(Stdio::null())
            .stderr(fs::File::create(self.path("log")).unwrap())
            .spawn()
            .unwrap();
        let mut running = Running { bench: self, child };
        let begun = Instant::now();
        while self.run("--home home status").status != 0 {
            let ended = running.child.try_wait().unwrap();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "{}",
                self.log()
            );
        }
        running
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

/// A running node, which is killed if the test fails before it is stopped.
struct Running<'b> {
    bench: &'b Bench,
    child: Child,
}

impl Running<'_> {
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let told = Command::new("kill").args([signal, &pid]).status();
        assert!(told.unwrap().success());
    }

    fn stop(mut self) {
        self.signal("-TERM");
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.bench.log());
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The process has ended already if it was stopped.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The socket of a service manager, which is told how it stands with the node.
struct Manager(UnixDatagram);

impl Manager {
    fn of(bench: &Bench) -> Self {
        let socket = UnixDatagram::bind(bench.path("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    /// Starts a node that this manager watches over, and has to hear of three times in 900 ms.
    fn start<'b>(&self, bench: &'b Bench) -> Running<'b> {
        let child = bench
            .command("--home home run")
            .env("NOTIFY_SOCKET", bench.path("notify"))
            .env("WATCHDOG_USEC", "900000")
            .stdin(Stdio::null())
            .stderr(fs::File::create(bench.path("log")).unwrap())
            .spawn()
            .unwrap();
        Running { bench, child }
    }

    /// Returns the lines that it is told until one begins so, that one included.
    #[track_caller]
    fn hears(&self, beginning: &str) -> Vec<String> {
        let mut heard = Vec::new();
        let mut message = [0; 4096];
        loop {
            let length = self.0.recv(&mut message).unwrap_or_else(|error| {
                panic!("`{beginning}` was not told ({error}), but {heard:#?}")
            });
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            heard.extend(text.lines().map(str::to_owned));
            if heard.iter().any(|line| line.starts_with(beginning)) {
                return heard;
            }
        }
    }
}

#[test]
fn a_service_manager_is_told_that_the_node_is_ready_works_reloads_and_stops() {
    let bench = Bench::new();
    bench.node("--development");
    bench.done("--home home tls install cert.pem");
    let manager = Manager::of(&bench);
    let running = manager.start(&bench);
    let heard = manager.hears("READY=1");
    assert!(heard[0].starts_with("STATUS=starting"), "{heard:?}");
    // Whoever is started after the node finds it at once.
    bench.done("--home home status");
    manager.hears("WATCHDOG=1");
    manager.hears("STATUS=ok");

    running.signal("-HUP");
    let heard = manager.hears("RELOADING=1");
    let is_time = |line: &String| line.starts_with("MONOTONIC_USEC=");
    assert!(heard.iter().any(is_time), "{heard:?}");
    manager.hears("READY=1");
    fs::write(bench.path("home/portcullis.toml"), "lisen = 1\n").unwrap();
    running.signal("-HUP");
    manager.hears("RELOADING=1");
    manager.hears("STATUS=nothing was reloaded: ");
    // The present state stays in force.
    manager.hears("WATCHDOG=1");

    running.stop();
    manager.hears("STOPPING=1");
}

#[test]
fn a_service_manager_is_told_why_a_node_does_not_start_and_never_that_it_is_ready() {
    let bench = Bench::new();
    bench.node("");
    let manager = Manager::of(&bench);
    let mut running = manager.start(&bench);
    assert!(!running.child.wait().unwrap().success());
    manager.hears("STATUS=starting");
    let heard = manager.hears("STATUS=");
    assert!(heard[0].contains("cert"), "{heard:?}");
    manager.0.set_nonblocking(true).unwrap();
    assert!(manager.0.recv(&mut [0]).is_err(), "that is all");
}

#[test]
fn five_steps_lead_from_nothing_to_a_node_that_starts_twice() {
    let bench = Bench::new();
    bench.node("--development");
    bench.done("--home home tls install cert.pem");
    let found = bench.done("--home home doctor");
    assert!(found.contains("epoch 2 lists this node"), "{found}");
    assert!(found.contains("the node does not run"), "{found}");

    let running = bench.start();
    assert!(bench.done("--home home doctor").contains("the node runs"));
    bench.done("person key --out anna-claes.key --passphrase-file passphrase");
    bench.done(
        "--home home person enrol anna --name Anna --role administrator \
         --public-key anna-claes.key.pub --key anna-claes.key --passphrase-file passphrase",
    );
    let persons = bench.done("--home home person list");
    assert!(persons.contains("anna"), "{persons}");
    running.stop();

    bench.start().stop();
}

#[test]
fn a_development_certificate_is_refused_by_run_outside_a_development_federation() {
    let bench = Bench::new();
    bench.node("");
    bench.refused("--home home tls install cert.pem", 3, &["development PKI"]);
    assert!(!bench.path("home/tls/cert.pem").exists());
    // A certificate put there by hand does not help either.
    fs::copy(bench.path("cert.pem"), bench.path("home/tls/cert.pem")).unwrap();
    let ran = bench.run("--home home run");
    assert_ne!(ran.status, 0);
    assert!(ran.stderr.contains("RG-09"), "{}", ran.stderr);
    let ran = bench.run("--home home doctor");
    assert_eq!(ran.status, 6, "{}", ran.stdout);
    assert!(ran.stdout.contains("RG-09"), "{}", ran.stdout);
}

#[test]
fn a_register_that_is_not_the_next_one_is_refused_by_its_rule_and_not_applied() {
    let bench = Bench::new();
    let pin = bench.node("");
    bench.done("federation admit antwerp.request --change --register 2.register --out 3.register");
    let apply = |file: &str| format!("--home home federation apply {file}");
    let held = || fs::read_dir(bench.path("home/register")).unwrap().count();
    // Too few signatures.
    bench.refused(&apply("3.register"), 3, &["RG-03", "0 of 2 signatures"]);
    bench.done("federation sign 3.register --key anna.key --passphrase-file passphrase");
    bench.refused(&apply("3.register"), 3, &["RG-03", "1 of 2 signatures"]);
    let shown = bench.done("federation show 3.register");
    assert!(
        shown.contains("1 of 2 keys have signed, 2 must: not yet enough"),
        "{shown}"
    );
    bench.signed("3.register");
    bench.done(&format!(
        "federation verify 3.register 1.register 2.register --pin {pin}"
    ));
    // An epoch that skips one.
    bench.done("federation admit antwerp.request --change --register 3.register --out 4.register");
    bench.signed("4.register");
    bench.refused(&apply("4.register"), 3, &["RG-04", "does not follow"]);
    // A fork at the second epoch, which is not newer than the newest one held, and then its
    // successor.
    bench.done("federation admit antwerp.request --register 1.register --out fork.register");
    bench.signed("fork.register");
    bench.refused(&apply("fork.register"), 3, &["RG-04"]);
    bench.done(
        "federation admit antwerp.request --change --register fork.register --out fork3.register",
    );
    bench.signed("fork3.register");
    bench.refused(&apply("fork3.register"), 3, &["RG-05", "fork"]);
    // The pin of another federation.
    let zeros = "0".repeat(64);
    bench.refused(
        &format!("federation verify 1.register --pin {zeros}"),
        3,
        &["RG-06"],
    );
    fs::write(bench.path("junk"), "junk").unwrap();
    bench.refused(&apply("junk"), 3, &["RG-01"]);
    bench.refused(&apply("nothing"), 3, &["`nothing` is not there"]);
    assert_eq!(held(), 2);
    bench.done(&apply("4.register 3.register"));
    assert_eq!(held(), 4);
}

#[test]
fn governance_mistakes_are_refused_before_a_file_is_written() {
    let bench = Bench::new();
    let pin = bench.federation("");
    let init = "federation init --id ports --governance-key anna.key.pub";
    bench.refused(
        &format!("{init} --threshold 2 --out x.register"),
        3,
        &["threshold"],
    );
    bench.refused(
        &format!("{init} --threshold 1 --out 1.register"),
        3,
        &["is there already"],
    );
    bench.refused(
        "federation init --id Ports --governance-key anna.key.pub --threshold 1 --out x.register",
        3,
        &["lower-case"],
    );
    bench.done("federation key --out carla.key --passphrase-file passphrase");
    bench.refused(
        "federation sign 1.register --key carla.key --passphrase-file passphrase",
        3,
        &["is not one of this epoch's governance"],
    );
    fs::write(bench.path("other"), "another passphrase\n").unwrap();
    bench.refused(
        "federation sign 1.register --key anna.key --passphrase-file other",
        3,
        &["can be read by others", "chmod 600"],
    );
    fs::set_permissions(bench.path("other"), fs::Permissions::from_mode(0o600)).unwrap();
    bench.refused(
        "federation sign 1.register --key anna.key --passphrase-file other",
        3,
        &["anna.key", "the passphrase does not open"],
    );
    // A request that the node's keys did not sign.
    bench.init(&pin);
    bench.certificate();
    bench.request();
    let mut request = fs::read(bench.path("antwerp.request")).unwrap();
    let last = request.len() - 1;
    request[last] ^= 1;
    fs::write(bench.path("touched.request"), request).unwrap();
    bench.refused(
        "federation admit touched.request --register 1.register --out x.register",
        3,
        &["RG-08"],
    );
    assert!(!bench.path("x.register").exists());
}

#[test]
fn a_node_is_made_once_and_says_what_is_wrong_with_it() {
    let bench = Bench::new();
    let pin = "ab".repeat(32);
    bench.refused("--home home status", 5, &["no node answers"]);
    bench.refused("--home home run", 3, &["portcullis init"]);
    bench.refused("--home home doctor", 6, &[]);
    bench.init(&pin);
    let line = format!(
        "init --home home --federation ports --authority be-customs --id antwerp \
         --dns-name antwerp.example --pin {pin} --passphrase-file passphrase"
    );
    bench.refused(&line, 3, &["is a node already"]);
    bench.refused(
        &line
            .replace("--home home", "--home other")
            .replace("antwerp.example", "Antwerp"),
        3,
        &["is not a DNS name"],
    );
    assert!(!bench.path("other").exists());

    let config = bench.path("home/portcullis.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("\nlisten =", "\nlisten_on =")).unwrap();
    bench.refused(
        "--home home run",
        3,
        &["unknown key `listen_on`", "portcullis.toml, line"],
    );
    fs::write(&config, &good).unwrap();
    bench.refused("--home home run", 1, &["no register"]);

    fs::set_permissions(
        bench.path("home/keys/node.keys"),
        fs::Permissions::from_mode(0o644),
    )
    .unwrap();
    bench.refused("--home home run", 1, &["chmod 600"]);
}

#[test]
fn the_certificate_of_another_authority_is_not_installed() {
    let bench = Bench::new();
    bench.node("--development");
    // The register lists the node's own CA; this is another one of the same name.
    bench.certificate();
    bench.refused("--home home tls install cert.pem", 3, &["does not hold"]);
    bench.refused("--home home tls install ca.pem", 3, &[]);
    bench.refused("--home home tls install 1.register", 3, &["no certificate"]);
    assert!(!Path::exists(&bench.path("home/tls/cert.pem")));
}
