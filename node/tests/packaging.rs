//! Whatever a package installs: the units, the backup script, and the places of `make install`. The package itself is tried in a
//! clean Debian by `scripts/test-deb`.

#![cfg(test)]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// Exposure, in tenths, that no unit exceeds: what `systemd-analyze security` says of it.
const EXPOSURE: u32 = 15;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn unit(name: &str) -> String {
    fs::read_to_string(root().join("packaging/systemd").join(name)).unwrap()
}

#[test]
fn the_unit_restarts_a_node_that_hangs_and_does_not_hide_the_callers_of_its_socket() {
    let unit = unit("portcullis.service");
    let says = |line: &str| unit.lines().any(|found| found == line);
    for line in [
        "Type=notify",
        "WatchdogSec=2min",
        "Restart=on-failure",
        "User=portcullis",
        "UMask=0077",
        "NoNewPrivileges=yes",
        "CapabilityBoundingSet=",
        "ProtectSystem=strict",
        "MemoryDenyWriteExecute=yes",
        "SystemCallFilter=@system-service",
    ] {
        assert!(says(line), "{line}");
    }
    // With it, every caller of the admin socket would be nobody.
    assert!(!unit.lines().any(|line| line.starts_with("PrivateUsers=")));
}

#[test]
fn no_service_is_exposed_more_than_the_bound_says() {
    for name in ["portcullis.service", "portcullis-backup.service"] {
        let file = root().join("packaging/systemd").join(name);
        let analysed = Command::new("systemd-analyze")
            .args([
                "security",
                "--offline=true",
                &format!("--threshold={EXPOSURE}"),
            ])
            .arg(file)
            .output();
        // Systems without systemd: the unit's lines are held by the test above.
        let Ok(analysed) = analysed else { return };
        let said = String::from_utf8_lossy(&analysed.stdout).into_owned();
        assert!(said.contains("Overall exposure level"), "{said}");
        assert!(analysed.status.success(), "{name}: {said}");
    }
}

/// A folder with a false `portcullis`, which makes the folders of a backup and fails at what `fails` names.
struct Site(tempfile::TempDir);

impl Site {
    fn new(fails: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        let program = format!(
            "#!/bin/sh\necho \"$@\" >>\"$SITE/called\"\ncase \"$*\" in {fails}) exit 1 ;; 'backup --to'*) mkdir -p \"$3\" \"$5\" ;; esac\n"
        );
        let path = site.path("portcullis");
        fs::write(&path, program).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        for kind in ["data", "keys"] {
            for old in ["2026-01-01T000000Z", "2026-01-02T000000Z", "by-hand"] {
                fs::create_dir_all(site.path(kind).join(old)).unwrap();
            }
        }
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn backup(&self, keys: &str, keep: &str) -> Output {
        Command::new(root().join("packaging/backup"))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.0.path().display()))
            .env("SITE", self.0.path())
            .env("DATA", self.path("data"))
            .env("KEYS", self.path(keys))
            .env("KEEP", keep)
            .env("KEY", "/k/anna.key")
            .output()
            .unwrap()
    }

    fn kept(&self, kind: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(kind)).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

#[test]
fn the_nightly_backup_keeps_the_newest_with_their_keys_and_what_others_put_there() {
    let site = Site::new("nothing");
    let ran = site.backup("keys", "2");
    assert!(ran.status.success(), "{ran:?}");
    for kind in ["data", "keys"] {
        let kept = site.kept(kind);
        assert_eq!(kept.len(), 3, "{kept:?}");
        assert_eq!(kept[0], "2026-01-02T000000Z");
        assert_eq!(kept[2], "by-hand");
    }
    let called = fs::read_to_string(site.path("called")).unwrap();
    assert!(called.contains("--key /k/anna.key"), "{called}");
    assert!(called.contains("backup verify"), "{called}");
}

#[test]
fn a_backup_that_fails_or_does_not_hold_removes_nothing() {
    for fails in ["'backup --to'*", "'backup verify'*"] {
        let site = Site::new(fails);
        assert!(!site.backup("keys", "1").status.success());
        assert!(site.kept("data").contains(&"2026-01-01T000000Z".to_owned()));
        assert!(site.kept("keys").contains(&"2026-01-01T000000Z".to_owned()));
    }
    for (keys, keep) in [("data", "2"), ("keys", "0"), ("keys", "many")] {
        let site = Site::new("nothing");
        let refused = site.backup(keys, keep);
        assert_eq!(refused.status.code(), Some(3), "{refused:?}");
        assert!(!site.path("called").exists());
    }
}

#[test]
fn an_installation_has_the_binary_its_pages_completions_units_and_documents() {
    let folder = tempfile::tempdir().unwrap();
    let installed = Command::new(root().join("scripts/install"))
        .env("DESTDIR", folder.path())
        .env("PREFIX", "/opt/portcullis")
        .env("BINARY", env!("CARGO_BIN_EXE_portcullis"))
        .env_remove("SBOM")
        .output()
        .unwrap();
    assert!(installed.status.success(), "{installed:?}");
    let at = |name: &str| folder.path().join("opt/portcullis").join(name);
    let commands = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let mut pages = 0;
    for line in commands.lines() {
        let Some((path, _)) = line
            .trim_start()
            .strip_prefix("- `")
            .and_then(|rest| rest.split_once('`'))
        else {
            continue;
        };
        let page = format!("share/man/man1/{}.1.gz", path.replace(' ', "-"));
        assert!(at(&page).is_file(), "{page}");
        pages += 1;
    }
    assert!(pages > 50, "only {pages} pages");
    for name in [
        "bin/portcullis",
        "lib/portcullis/backup",
        "lib/sysusers.d/portcullis.conf",
        "lib/tmpfiles.d/portcullis.conf",
        "share/man/man5/portcullis.toml.5.gz",
        "share/zsh/site-functions/_portcullis",
        "share/fish/vendor_completions.d/portcullis.fish",
        "share/doc/portcullis/operator.md",
        "share/doc/portcullis/runbooks.md",
        "share/doc/portcullis/copyright",
        "share/doc/portcullis/changelog.gz",
    ] {
        assert!(at(name).is_file(), "{name}");
    }
    let unit = fs::read_to_string(at("lib/systemd/system/portcullis.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/portcullis/bin/portcullis run"));
    let unit = fs::read_to_string(at("lib/systemd/system/portcullis-backup.service")).unwrap();
    assert!(unit.contains("ExecStart=/opt/portcullis/lib/portcullis/backup"));
    let settings = folder.path().join("etc/portcullis/backup.conf");
    let mode = fs::metadata(&settings).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    let completions = at("share/bash-completion/completions/portcullis");
    let parsed = Command::new("bash").arg("-n").arg(completions).status();
    assert!(parsed.unwrap().success());
}
