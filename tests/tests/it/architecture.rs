//! The dependencies between the crates, checked with `cargo metadata`.
//!
//! A pure crate's own code is kept from the clock by its `clippy.toml`. These tests keep out what it could reach
//! through a dependency, and the parts of `std` that touch the outside.

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::binary::{portcullis, portcullis_lab};

/// Pure crates: they decide, and may do nothing else.
const PURE: [&str; 3] = [
    "portcullis-protocol",
    "portcullis-policy",
    "portcullis-scoring",
];

/// Crates that open a socket, a file or a database, run tasks, or draw random numbers.
///
/// cedar-policy brings `chrono` for its date type, so a clock is linked into the policy crate; its `clippy.toml`
/// is what keeps it unused.
const IMPURE: [&str; 23] = [
    "async-std",
    "aws-lc-rs",
    "axum",
    "fastrand",
    "getrandom",
    "h2",
    "hyper",
    "libsqlite3-sys",
    "memmap2",
    "mio",
    "openssl",
    "rand",
    "rand_core",
    "rayon",
    "reqwest",
    "ring",
    "rusqlite",
    "rustls",
    "smol",
    "socket2",
    "tempfile",
    "tokio",
    "tonic",
];

/// Crates of this workspace that an authority never runs.
const NOT_SHIPPED: [&str; 3] = [
    "portcullis-certs-dev",
    "portcullis-lab",
    "portcullis-testbed",
];

/// Functions that the `clippy.toml` of a pure crate must ban.
const CLOCKS: [&str; 4] = [
    "std::time::SystemTime::now",
    "std::time::Instant::now",
    "jiff::Timestamp::now",
    "jiff::Zoned::now",
];

/// Modules of `std` that no shipped line of a pure crate may name.
const OUTSIDE: [&str; 5] = [
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "std::env",
];

/// Each crate, and the crates of this workspace that it may name. ARCHITECTURE.md says each in a sentence.
const ARROWS: [(&str, &[&str]); 19] = [
    ("protocol", &[]),
    ("policy", &["protocol"]),
    ("scoring", &["protocol"]),
    ("certs-dev", &[]),
    ("sheets", &[]),
    ("peering", &["protocol"]),
    ("home", &["peering", "protocol"]),
    ("store", &["protocol"]),
    ("store-sqlite", &["protocol", "store"]),
    (
        "kernel",
        &["home", "peering", "policy", "protocol", "store"],
    ),
    (
        "exchange",
        &["home", "kernel", "peering", "protocol", "store"],
    ),
    (
        "desk",
        &[
            "admin-api",
            "home",
            "kernel",
            "protocol",
            "scoring",
            "sheets",
            "store",
        ],
    ),
    ("admin-api", &["policy", "protocol"]),
    (
        "admin",
        &[
            "admin-api",
            "backup",
            "desk",
            "exchange",
            "home",
            "kernel",
            "peering",
            "policy",
            "protocol",
            "sheets",
            "store",
        ],
    ),
    ("backup", &["home", "protocol", "store", "store-sqlite"]),
    (
        "cli",
        &["admin-api", "home", "policy", "protocol", "sheets"],
    ),
    ("testbed", &["protocol"]),
    (
        "node",
        &[
            "admin",
            "admin-api",
            "backup",
            "cli",
            "desk",
            "exchange",
            "home",
            "kernel",
            "peering",
            "policy",
            "protocol",
            "store",
            "store-sqlite",
        ],
    ),
    (
        "lab",
        &[
            "admin",
            "admin-api",
            "backup",
            "certs-dev",
            "cli",
            "desk",
            "exchange",
            "home",
            "kernel",
            "node",
            "peering",
            "protocol",
            "scoring",
            "store",
            "store-sqlite",
        ],
    ),
];

#[test]
fn dependencies_between_the_crates_point_one_way() {
    let expected: BTreeMap<String, BTreeSet<String>> = ARROWS
        .iter()
        .map(|(name, uses)| {
            let full = |name: &&str| format!("portcullis-{name}");
            (full(name), uses.iter().map(full).collect())
        })
        .collect();
    let metadata = metadata();
    let actual: BTreeMap<String, BTreeSet<String>> = metadata
        .workspace_packages()
        .into_iter()
        .filter(|package| package.name.as_str() != "portcullis-tests")
        .map(|package| (package.name.to_string(), members_used_by(package)))
        .collect();
    assert_eq!(actual, expected);
}

#[test]
fn nothing_depends_on_the_tests_even_for_its_own_tests() {
    for package in metadata().workspace_packages() {
        assert!(
            !package
                .dependencies
                .iter()
                .any(|dependency| dependency.name == "portcullis-tests"),
            "`{}` depends on `portcullis-tests`",
            package.name
        );
    }
}

#[test]
fn pure_crates_reach_no_socket_no_database_and_no_random_source() {
    let metadata = metadata();
    for name in PURE {
        let reached: Vec<&str> = linked_into(&metadata, name)
            .into_iter()
            .filter(|dependency| IMPURE.contains(dependency))
            .collect();
        assert!(reached.is_empty(), "`{name}` links {reached:?}");
    }
}

#[test]
fn the_walk_over_dependencies_finds_what_the_node_is_known_to_link() {
    let metadata = metadata();
    let linked = linked_into(&metadata, "portcullis-node");
    for known in [
        "tokio",
        "mio",
        "rusqlite",
        "libsqlite3-sys",
        "rustls",
        "getrandom",
    ] {
        assert!(
            linked.contains(known),
            "the walk missed `{known}`, so it proves nothing of the pure crates"
        );
    }
}

#[test]
fn the_product_links_no_laboratory_and_no_development_pki() {
    let metadata = metadata();
    let linked = linked_into(&metadata, "portcullis-node");
    for kept_out in NOT_SHIPPED {
        assert!(
            !linked.contains(kept_out),
            "`portcullis` links `{kept_out}`"
        );
    }
    let laboratory = linked_into(&metadata, "portcullis-lab");
    assert!(
        laboratory.contains("portcullis-certs-dev"),
        "the walk sees nothing"
    );
}

/// Panics name the file that they are of, so that a binary names the files of what it links.
#[test]
fn the_shipped_binary_names_no_file_of_the_laboratory() {
    let product = std::fs::read(portcullis()).unwrap();
    let laboratory = std::fs::read(portcullis_lab()).unwrap();
    for file in [
        "node/lab/src/",
        "portcullis_lab::",
        "portcullis_certs_dev::",
        "worthless-ca",
    ] {
        assert!(!contains(&product, file), "`portcullis` has `{file}` in it");
    }
    for file in ["node/lab/src/", "portcullis_lab::"] {
        assert!(contains(&laboratory, file), "`{file}` would not be found");
    }
    assert!(
        contains(&product, "node/kernel/src/"),
        "the binary names no files"
    );
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes
        .windows(text.len())
        .any(|window| window == text.as_bytes())
}

#[test]
fn pure_crates_ban_every_clock_they_could_call() {
    for name in PURE {
        let path = folder_of(name).join("clippy.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        for clock in CLOCKS {
            assert!(
                text.contains(&format!("path = \"{clock}\"")),
                "`{}` does not ban `{clock}`",
                path.display()
            );
        }
    }
}

#[test]
fn pure_crates_name_no_part_of_std_that_touches_the_outside() {
    for name in PURE {
        for source in sources_of(&folder_of(name).join("src")) {
            let text = std::fs::read_to_string(&source).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap();
            for outside in OUTSIDE {
                assert!(
                    !shipped.contains(outside),
                    "`{}` names `{outside}`",
                    source.display()
                );
            }
        }
    }
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest = std::fs::read_to_string(&package.manifest_path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "`{}` does not inherit the workspace's lints",
            package.name
        );
    }
}

fn workspace_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn folder_of(name: &str) -> PathBuf {
    workspace_root().join(name.trim_start_matches("portcullis-"))
}

/// Returns the Rust files below `folder`, except those that contain only tests.
fn sources_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources_of(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs")
            && !path.ends_with("tests.rs")
        {
            found.push(path);
        }
    }
    found
}

/// Returns the dependency graph as this machine builds it. Crates for other targets need not be downloaded.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace_root().join("Cargo.toml"))
        .other_options([
            "--locked".to_owned(),
            "--filter-platform".to_owned(),
            host(),
        ])
        .exec()
        .unwrap()
}

fn host() -> String {
    let output = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .unwrap()
        .to_owned()
}

/// Returns the members of this workspace that `package` names, except development dependencies.
fn members_used_by(package: &Package) -> BTreeSet<String> {
    package
        .dependencies
        .iter()
        .filter(|dependency| {
            dependency.path.is_some() && dependency.kind != DependencyKind::Development
        })
        .map(|dependency| dependency.name.clone())
        .collect()
}

/// Returns the names of all crates reached from `root` over normal dependencies.
fn linked_into<'a>(metadata: &'a Metadata, root: &str) -> BTreeSet<&'a str> {
    let resolve = metadata.resolve.as_ref().unwrap();
    let uses: BTreeMap<&PackageId, Vec<&PackageId>> = resolve
        .nodes
        .iter()
        .map(|node| {
            let normal = node
                .deps
                .iter()
                .filter(|dep| {
                    dep.dep_kinds
                        .iter()
                        .any(|kind| kind.kind == DependencyKind::Normal)
                })
                .map(|dep| &dep.pkg)
                .collect();
            (&node.id, normal)
        })
        .collect();
    let root = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name.as_str() == root)
        .unwrap();
    let mut reached = BTreeSet::new();
    let mut pending = vec![&root.id];
    while let Some(id) = pending.pop() {
        if reached.insert(id) {
            pending.extend(&uses[id]);
        }
    }
    reached
        .into_iter()
        .map(|id| metadata[id].name.as_str())
        .collect()
}
