//! The persons of an authority whose node runs in this process, acting by the command line.

use std::process::Output;

use portcullis_tests::federation::Running;

use crate::cli::User;

/// An authority's persons: `admin`, an administrator, and `anna`, a supervisor.
pub(crate) struct Office {
    user: User,
    home: String,
}

impl Office {
    /// Makes the persons' keys and enrols them at the node.
    pub(crate) fn open(node: &Running) -> Self {
        let user = User::new();
        user.file("pass", "four words are enough\n");
        let home = node.home.folder().display().to_string();
        let office = Self { user, home };
        for (id, role) in [("admin", "administrator"), ("anna", "supervisor")] {
            office.enrol(id, role);
        }
        office
    }

    /// Makes a person's key and enrols the person.
    pub(crate) fn enrol(&self, id: &str, role: &str) {
        let (key, public) = (format!("{id}.key"), format!("{id}.key.pub"));
        let pass = ["--passphrase-file", "pass"];
        self.user
            .good(&[&["person", "key", "--out", &key][..], &pass].concat());
        let whom = ["--name", id, "--role", role, "--public-key", &public];
        self.good("admin", &[&["person", "enrol", id][..], &whom].concat());
    }

    /// Runs a command that is signed by a person.
    pub(crate) fn signed(&self, by: &str, command: &[&str]) -> Output {
        let key = format!("{by}.key");
        let signing = ["--key", &key, "--passphrase-file", "pass"];
        self.run(&[command, &signing].concat())
    }

    /// Runs a command that is signed by a person and must succeed; returns its standard output.
    #[track_caller]
    pub(crate) fn good(&self, by: &str, command: &[&str]) -> String {
        told(command, &self.signed(by, command))
    }

    /// Runs a command that nobody signs.
    pub(crate) fn run(&self, command: &[&str]) -> Output {
        self.user
            .run(&[&["--home", &self.home][..], command].concat())
    }

    /// Runs a command that nobody signs and that must succeed; returns its JSON.
    #[track_caller]
    pub(crate) fn json(&self, command: &[&str]) -> serde_json::Value {
        let output = self.run(&[&["--json"][..], command].concat());
        serde_json::from_str(&told(command, &output)).unwrap()
    }

    /// Returns the user of the office, whose commands name no node.
    pub(crate) fn user(&self) -> &User {
        &self.user
    }

    /// Returns the office's folder.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.user.folder()
    }
}

#[track_caller]
fn told(command: &[&str], output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}
