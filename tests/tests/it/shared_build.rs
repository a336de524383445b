//! The demo's build and the gate's build share what they compile: what both need is compiled once.
//!
//! Cargo compiles a crate again for each set of features, and all that depends on it; and the features depend on the
//! packages that are selected. The units of both builds are asked of cargo itself; that it prints them is not stable
//! yet.

use std::{collections::BTreeSet, process::Command};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Returns the arguments of the only `cargo build` of a script.
fn selection(script: &str) -> Vec<String> {
    let text = std::fs::read_to_string(format!("{ROOT}/scripts/{script}")).unwrap();
    let mut lines = text
        .lines()
        .filter_map(|line| line.split_once("cargo build "));
    let (_, arguments) = lines.next().expect("it builds");
    assert_eq!(lines.next(), None, "{script} builds once");
    arguments.split_whitespace().map(str::to_owned).collect()
}

/// Returns what a build compiles: the crate, its target, features, profile and mode.
fn compiled(selection: &[String]) -> BTreeSet<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .arg("build")
        .args(selection)
        .args(["--offline", "-Z", "unstable-options", "--unit-graph"])
        .env("RUSTC_BOOTSTRAP", "1")
        .current_dir(ROOT)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let graph: Value = serde_json::from_slice(&output.stdout).unwrap();
    let units = graph["units"].as_array().unwrap().iter();
    units
        .map(|unit| {
            [
                "pkg_id", "target", "features", "profile", "platform", "mode",
            ]
            .map(|part| unit[part].to_string())
            .join(" ")
        })
        .collect()
}

/// Newcomer C4: `make test` after `make demo` compiled dependencies again, and with them the whole workspace.
#[test]
fn the_gate_compiles_nothing_again_that_the_demo_compiled() {
    let demo = compiled(&selection("demo"));
    let gate = compiled(&selection("gate"));
    assert!(demo.len() > 300, "{} units", demo.len());
    let again: Vec<&String> = demo.difference(&gate).collect();
    assert!(again.is_empty(), "{again:#?}");
}

/// Returns the lines of a manifest's profile of releases, without what says nothing.
fn profile(manifest: &str) -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(format!("{ROOT}/{manifest}")).unwrap();
    let mut table = String::new();
    let mut lines = BTreeSet::new();
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            line.clone_into(&mut table);
        } else if table.starts_with("[profile.release")
            && !line.is_empty()
            && !line.starts_with('#')
        {
            lines.insert((table.clone(), line.to_owned()));
        }
    }
    lines
}

/// The benchmark of the parts measures the product as it is built, and compiles none of its dependencies again.
#[test]
fn the_benchmark_of_the_parts_has_the_profile_of_the_product() {
    let mut product = profile("Cargo.toml");
    assert!(product.len() > 20, "{product:?}");
    // It saves time where somebody changes the product, and changes nothing of what is compiled.
    product.retain(|(_, line)| line != "incremental = true");
    let mut parts = profile("benches/parts/Cargo.toml");
    parts.retain(|(_, line)| line != "incremental = true");
    assert_eq!(parts, product);
}
