//! The binaries under test: those of this build, built if a test run has not built them.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// Returns the path of the `portcullis` binary beside this test binary.
pub(crate) fn portcullis() -> PathBuf {
    built("portcullis")
}

/// The `portcullis-lab` binary beside it: the demo, the benches, and nodes that can be looked into.
pub(crate) fn portcullis_lab() -> PathBuf {
    built("portcullis-lab")
}

fn built(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(build).join(name)
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace is built with its tests, as the test runner builds it. Any other
    // selection unifies features again and compiles half of the dependencies again.
    let built = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--offline",
            "--workspace",
            "--bins",
            "--tests",
            "--quiet",
        ])
        .status()
        .unwrap();
    assert!(built.success(), "the binary was not built");
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().nth(2).unwrap();
    folder.to_owned()
}
