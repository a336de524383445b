//! The binary under test: the one of this build, built if a test run has not built it.

use std::{path::PathBuf, process::Command, sync::OnceLock};

/// The `portcullis` binary beside this test binary.
pub(crate) fn portcullis() -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // The whole workspace with its tests, as the test runner builds it: any other selection unifies
    // features anew, and compiles half of the dependencies again.
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
    folder.join("portcullis")
}
