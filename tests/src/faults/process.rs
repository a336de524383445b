//! A node as a process of its own, which can be started, killed, frozen and started again.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use portcullis_admin_api::{client::Client, v1::status::StatusView};
use portcullis_home::Home;

use super::shim::Control;

/// Longest time that a node may take to start or to stop on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Parameters for starting a node's process.
#[derive(Debug, Clone, Default)]
pub struct Launch {
    /// Path of the `portcullis` binary.
    pub binary: PathBuf,
    /// Shim between the process and its disk and clock, if any.
    pub shim: Option<Control>,
    /// Network namespace in which it runs, if not the default one.
    pub namespace: Option<String>,
    /// Most bytes of address space that it may take, if there is a limit.
    pub memory: Option<u64>,
    /// Most descriptors that it may have open, if there is a limit.
    pub descriptors: Option<u64>,
}

/// A node's process. It is killed on drop.
#[derive(Debug)]
pub struct Process {
    /// Home directory of the node.
    pub home: Home,
    /// Client of the node's local interface.
    pub client: Client,
    launch: Launch,
    child: Option<Child>,
}

impl Process {
    /// Returns the handle of a node that is not running.
    #[must_use]
    pub fn new(home: Home, launch: Launch) -> Self {
        Self {
            client: Client::new(home.socket()),
            home,
            launch,
            child: None,
        }
    }

    /// Starts the process, which may not answer yet.
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

    /// Starts the process and waits until it answers.
    pub async fn up(&mut self) {
        self.start();
        self.ready().await;
    }

    /// Waits until the process answers.
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

    /// Kills the process at once, as a loss of power would, and reaps it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            child.wait().unwrap();
        }
    }

    /// Asks the process to stop and waits until it has.
    pub async fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait().await
    }

    /// Suspends the process; all its files and sockets stay open.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Resumes a suspended process.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    /// Waits until the process ends by itself.
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

    /// Returns the exit status if the process has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child
            .as_mut()
            .and_then(|child| child.try_wait().unwrap())
    }

    /// Returns the peak resident memory of the process, in KiB, as the kernel reports it.
    #[must_use]
    pub fn peak_memory_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Returns the resident memory of the process, in KiB, from which its peak counts anew. Only root
    /// may have the peak of a node counted anew; for others it is the peak so far.
    #[must_use]
    pub fn memory_at_rest_kib(&self) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let anew = std::fs::write(format!("/proc/{id}/clear_refs"), "5");
        self.memory_kib(if anew.is_ok() { "VmRSS:" } else { "VmHWM:" })
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let id = self.child.as_ref().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1));
        number.unwrap().parse().unwrap()
    }

    /// Returns the text that the process has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.home.folder().join("node.log")
    }

    /// Sends a signal through `kill`: the standard library can send no other signal than SIGKILL.
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
        for (name, limit) in [("as", self.memory), ("nofile", self.descriptors)] {
            if let Some(limit) = limit {
                words.extend(["prlimit".into(), format!("--{name}={limit}").into()]);
            }
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
