//! `portcullis-lab bench`, tiny: whole processes, a report with every figure, nothing lost and nothing
//! left behind, neither at the end nor after an interrupt.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::binary::portcullis_lab;

fn bench(folder: &Path) -> Command {
    let mut command = Command::new(portcullis_lab());
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
        "/machine/cores",
        "/seconds",
    ] {
        is_positive(&report, figure);
    }
    for end in ["sender", "receiver"] {
        // So few bytes are hidden by a checkpoint that makes the log of the store smaller.
        assert!(report["record_bytes"]["on_disk"][end].is_number(), "{end}");
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
    let output = Command::new(portcullis_lab())
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

#[test]
fn a_tiny_bench_of_the_store_reports_every_figure_and_finds_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(portcullis_lab())
        .args(["bench", "store", "--allow-memory", "--json", "--records"])
        .args(["200", "--dir"])
        .arg(folder.path())
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["schema"], "portcullis/bench-store/v1");
    assert_eq!(report["records"], 200);
    assert_eq!(report["lost"], 0);
    assert_eq!(report["comparison"]["differences"], 10);
    for figure in [
        "/publish_s",
        "/backup/store_mb",
        "/backup/data_mb",
        "/backup/keys_mb",
        "/backup/take_s",
        "/backup/verify_s",
        "/backup/restore_s",
        "/backfill/seconds",
        "/backfill/records_per_s",
        "/comparison/seconds",
        "/comparison/questions",
        "/seconds",
    ] {
        is_positive(&report, figure);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// Returns the command lines of the processes that name this folder.
fn processes_of(folder: &Path) -> Vec<String> {
    let name = folder.to_str().unwrap();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some(String::from_utf8_lossy(&line).replace('\0', " "))
    });
    lines.filter(|line| line.contains(name)).collect()
}

/// Sends a signal to a process that was started here.
fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([name, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

/// Interrupts a bench while its workers stream; returns its exit code and its error output.
#[track_caller]
fn interrupted(folder: &Path, name: &str) -> (Option<i32>, String) {
    let mut child = bench(folder)
        .args(["--records", "100000000"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut lines = String::new();
    // Progress that is reported in lines names a step when it begins.
    while !lines.contains("Streaming records") {
        assert!(said.read_line(&mut lines).unwrap() > 0, "{lines}");
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while processes_of(folder).len() < 3 {
        assert!(Instant::now() < deadline, "{:?}", processes_of(folder));
        std::thread::yield_now();
    }
    signal(&child, name);
    said.read_to_string(&mut lines).unwrap();
    let code = child.wait().unwrap().code();
    (code, lines)
}

#[test]
fn an_interrupted_bench_ends_its_workers_and_removes_their_folder() {
    for name in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        let (code, said) = interrupted(folder.path(), name);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("interrupted"), "{said}");
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
        // The workers have ended before the folder is removed.
        let running = processes_of(folder.path());
        assert!(running.is_empty(), "{name}: {running:?}");
    }
}
