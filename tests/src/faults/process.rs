//! A node as a process of its own: started, killed, frozen, started again.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use portcullis_admin_api::{client::Client, v1::status::StatusView};
use portcullis_home::Home;

use super::shim::Control;

/// How long a node may take to start or to stop on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How a node's process is started.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// The binary.
    pub binary: PathBuf,
    /// What stands between the process and its disk and clock.
    pub shim: Option<Control>,
    /// The network namespace it runs in.
    pub namespace: Option<String>,
}

/// A node's process. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    /// Its folder.
    pub home: Home,
    /// Speaks to it.
    pub client: Client,
    launch: Launch,
    child: Option<Child>,
}

impl Process {
    /// A node that is not running.
    #[must_use]
    pub fn new(home: Home, launch: Launch) -> Self {
        Self {
            client: Client::new(home.socket()),
            home,
            launch,
            child: None,
        }
    }

    /// Starts it; it may not answer yet.
    pub fn start(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let child = self
            .launch
            .command()
            .arg("--home")
            .arg(self.home.folder())
            .arg("run")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Starts it and waits until it answers.
    pub async fn up(&mut self) {
        self.start();
        self.ready().await;
    }

    /// Waits until it answers.
    pub async fn ready(&mut self) {
        let begun = Instant::now();
        while self.client.get::<StatusView>("/v1/status").await.is_err() {
            let ended = self.ended();
            assert!(
                ended.is_none() && begun.elapsed() < PATIENCE,
                "the node does not answer ({ended:?}): {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it at once, as a loss of power would, and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Stops its execution; everything it holds stays open.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Waits until it ends by itself.
    pub async fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.ended() {
                self.child = None;
                return status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "the node goes on: {}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().unwrap())
    }

    /// The most memory it has had resident, in KiB, as the kernel says.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.unwrap().parse().unwrap()
    }

    /// What it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.home.folder().join("node.log")
    }

    /// The standard library has no call for other signals than SIGKILL.
    fn signal(&self, name: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        let sent = Command::new("kill").args(["-s", name, &id]).status();
        assert!(sent.unwrap().success(), "{name}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Launch {
    fn command(&self) -> Command {
        let mut words: Vec<PathBuf> = Vec::new();
        if let Some(namespace) = &self.namespace {
            words.extend(["ip", "netns", "exec", namespace].map(PathBuf::from));
        }
        if has_setpriv() {
            words.extend(["setpriv", "--pdeathsig", "KILL"].map(PathBuf::from));
        }
        words.push(self.binary.clone());
        let mut words = words.into_iter();
        let mut command = Command::new(words.next().unwrap());
        command.args(words);
        if let Some(control) = &self.shim {
            control.set(&mut command);
        }
        command
    }
}

fn has_setpriv() -> bool {
    ["/usr/bin/setpriv", "/bin/setpriv"]
        .iter()
        .any(|path| Path::new(path).exists())
}
