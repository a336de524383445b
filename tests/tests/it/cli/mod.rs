//! The command line as a user meets it: the built binary, its standard output, its standard error
//! and its exit status, compared with snapshots.
//!
//! The tests are hermetic: an environment of their own, a temporary home folder, no network.

mod exits;
mod offline;
mod operations;
mod schema;

use std::{
    fmt::Write as _,
    path::Path,
    process::{Command, Output},
};

use crate::{binary::portcullis, json_fit};

/// A user with a folder and nothing else.
pub(crate) struct User {
    folder: tempfile::TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Returns the user's folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file into the user's folder, readable by its owner alone.
    pub(crate) fn file(&self, name: &str, content: &str) {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.folder().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }

    /// Makes a command that runs in the user's folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(portcullis());
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("HOME", self.folder())
            .env("PORTCULLIS_HOME", self.folder().join("node"));
        command
    }

    /// Runs a command. If it is asked for JSON, that must be what the manual says.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        let output = self.command(arguments).output().unwrap();
        if arguments.contains(&"--json") {
            json_fit::check(arguments, &output);
        }
        output
    }

    /// Runs a command that must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn good(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs commands and returns a transcript of them, with the user's folder as `~`.
    pub(crate) fn session(&self, commands: &[&[&str]]) -> String {
        let mut told = String::new();
        for arguments in commands {
            let output = self.run(arguments);
            told.push_str(&transcript(arguments, &output));
        }
        told.replace(&self.folder().display().to_string(), "~")
    }
}

/// Returns a command with its output and its exit status.
pub(crate) fn transcript(arguments: &[&str], output: &Output) -> String {
    let mut told = format!("$ portcullis {}\n", arguments.join(" "));
    let status = output.status.code();
    writeln!(told, "[status {}]", status.unwrap_or(-1)).unwrap();
    for (stream, bytes) in [("out", &output.stdout), ("err", &output.stderr)] {
        for line in String::from_utf8_lossy(bytes).lines() {
            writeln!(told, "{}", format!("{stream}| {line}").trim_end()).unwrap();
        }
    }
    told.push('\n');
    told
}
