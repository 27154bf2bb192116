//! Limits are tested by their effect; and what a run reports of them.

mod support;

use std::fs;

use support::{TempDir, is_root, run, said, skipped, stderr};

fn report(options: &[&str], words: &[&str]) -> (i32, serde_json::Value) {
    let dir = TempDir::new("report");
    let file = dir.file("report");
    let output = run(&[options, &["--report", &file]].concat(), words);
    let text = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", said(&output)));
    (output.status.code().unwrap(), serde_json::from_str(&text).unwrap())
}

fn without_cgroups() -> Option<&'static str> {
    (!is_root()).then_some("only root can make cgroups here")
}

#[test]
fn a_memory_hog_is_killed_and_reported() {
    if skipped(without_cgroups()) {
        return;
    }
    let (code, report) = report(
        &["--memory", "16m", "--tmpfs", "/mnt"],
        &["dd", "if=/dev/zero", "of=/mnt/x", "bs=1M", "count=64"],
    );
    assert_eq!(code, 137, "{report:#}");
    assert_eq!(report["oom_kills"], 1, "{report:#}");
    assert_eq!(report["limits_hit"], serde_json::json!(["memory"]));
    let peak = report["peak_memory_bytes"].as_u64().unwrap();
    assert!((8 << 20..=16 << 20).contains(&peak), "{report:#}");
}

#[test]
fn a_fork_bomb_stops_at_the_limit() {
    if skipped(without_cgroups()) {
        return;
    }
    let script = "i=0; while [ $i -lt 40 ]; do sleep 0.5 & i=$((i+1)); done 2>/dev/null; wait";
    let (_, report) = report(&["--pids", "12"], &["sh", "-c", script]);
    assert_eq!(report["limits_hit"], serde_json::json!(["pids"]), "{report:#}");
}

#[test]
fn a_busy_loop_gets_its_share_of_the_processor() {
    if skipped(without_cgroups()) {
        return;
    }
    let (_, report) =
        report(&["--cpus", "0.2", "--timeout", "2s"], &["sh", "-c", "while :; do :; done"]);
    let used =
        report["user_seconds"].as_f64().unwrap() + report["system_seconds"].as_f64().unwrap();
    let share = used / report["wall_seconds"].as_f64().unwrap();
    assert!((0.1..0.3).contains(&share), "share {share}: {report:#}");
    assert_eq!(report["limits_hit"], serde_json::json!(["cpus", "timeout"]));
}

#[test]
fn a_report_without_limits_tells_times_memory_and_processes() {
    let script =
        "(true &); head -c 30000000 /dev/zero | tail -c 30000000 | wc -c; sleep 0.1; exit 3";
    let (code, report) = report(&[], &["sh", "-c", script]);
    assert_eq!((code, report["exit_code"].as_i64()), (3, Some(3)));
    assert_eq!(report["signal"], serde_json::Value::Null);
    assert_eq!(report["limits_hit"], serde_json::json!([]));
    assert_eq!(report["oom_kills"], serde_json::Value::Null, "nothing counted them");
    assert!(
        report["processes_reaped"].as_u64().unwrap() >= 2,
        "the target and its orphan: {report:#}"
    );
    assert!(report["peak_memory_bytes"].as_u64().unwrap() > 25 << 20, "{report:#}");
    assert!(report["wall_seconds"].as_f64().unwrap() >= 0.1);
}

#[test]
fn a_killed_target_is_reported_with_its_signal() {
    let (code, report) = report(&[], &["sh", "-c", "kill -15 $$"]);
    assert_eq!((code, report["signal"].as_i64()), (143, Some(15)));
    let (code, report) = self::report(&[], &["sh", "-c", "exit 143"]);
    assert_eq!((code, report["signal"].as_i64()), (143, None), "no signal, the same code");
}

#[test]
fn limits_that_this_user_cannot_set_are_refused_in_words() {
    if skipped(is_root().then_some("root can set them")) {
        return;
    }
    let output = run(&["--memory", "10m"], &["true"]);
    assert_eq!(output.status.code(), Some(125), "{}", said(&output));
    let text = stderr(&output);
    assert!(text.contains("--memory") && text.contains("delegated"), "{text}");
}
