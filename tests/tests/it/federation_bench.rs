//! `portcullis bench exchange`, tiny: whole processes, a report with every figure, nothing lost and
//! nothing left behind.

use std::{fs, path::Path, process::Command};

use serde_json::Value;

use crate::binary::portcullis;

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(portcullis());
    command
        .args(["bench", "exchange", "--allow-memory", "--json", "--dir"])
        .arg(folder)
        .env_clear();
    command
}

#[track_caller]
fn is_positive(report: &Value, path: &str) {
    let found = report.pointer(path).and_then(Value::as_f64);
    assert!(
        found.is_some_and(|number| number > 0.0),
        "{path}: {found:?}"
    );
}

#[test]
fn a_tiny_bench_loses_nothing_reports_every_figure_and_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("report.json");
    let output = bench(folder.path())
        .args(["--records", "40", "--alerts", "3", "--catch-up", "50"])
        .arg("--report")
        .arg(&file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!(report["lost"], 0);
    assert_eq!(report["records"], 40);
    assert_eq!(report["catch_up_records"], 50);
    for figure in [
        "/records_per_s",
        "/unchecked_records_per_s",
        "/alert_idle_ms/p50",
        "/alert_idle_ms/p99",
        "/alert_idle_ms/p999",
        "/alert_loaded_ms/p50",
        "/alert_loaded_ms/p99",
        "/alert_loaded_ms/p999",
        "/fdatasync_ms/p50",
        "/fdatasync_ms/p99",
        "/fdatasync_per_s",
        "/verify_strict_per_s",
        "/catch_up_s",
        "/peak_rss_mb",
        "/record_bytes/content",
        "/record_bytes/in_frame",
        "/record_bytes/on_disk/receiver",
        "/machine/cores",
        "/seconds",
    ] {
        is_positive(&report, figure);
    }
    for end in ["sender", "receiver"] {
        assert!(report["cpu_s_per_1000"][end].is_number(), "{end}");
    }
    for target in report["targets"].as_array().unwrap() {
        assert!(target["held"].is_boolean(), "{target}");
    }
    let mut shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["schema"], "portcullis/bench-exchange/v1");
    shown.as_object_mut().unwrap().remove("schema");
    assert_eq!(shown, report);
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "only the report is left: {left:?}");
}

#[test]
fn figures_of_a_folder_in_memory_are_refused() {
    let shared = Path::new("/dev/shm");
    let in_memory = fs::read_to_string("/proc/self/mountinfo")
        .is_ok_and(|mounts| mounts.contains(" /dev/shm ") && mounts.contains("- tmpfs"));
    let output = Command::new(portcullis())
        .args(["bench", "exchange", "--records", "1", "--dir"])
        .arg(if in_memory {
            shared
        } else {
            Path::new("/proc")
        })
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if in_memory {
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("name a folder on a disk"), "{said}");
    } else {
        assert_eq!(output.status.code(), Some(1), "{said}");
    }
}
