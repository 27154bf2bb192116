//! The views of the plan: all of them show the one list that is executed.

mod support;

use std::fs;

use support::{TempDir, minirun, rootfs, run, said, stderr};

/// What `minirun plan --json` says for a run with these options.
fn planned(options: &[&str]) -> Vec<String> {
    let output = minirun(&["plan", "--json", "--name", "box"])
        .args(options)
        .arg(rootfs())
        .arg("true")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    json.as_array().unwrap().iter().map(|step| step["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_text_and_the_json_of_a_plan_are_the_same_list() {
    let text =
        minirun(&["plan", "--name", "box"]).arg(rootfs()).arg("true").output().unwrap().stdout;
    let text = String::from_utf8(text).unwrap();
    let steps = planned(&[]);
    assert_eq!(text.lines().count(), steps.len());
    for (line, step) in text.lines().zip(steps) {
        assert!(line.contains(&step), "{line} is not {step}");
    }
}

#[test]
fn a_trace_holds_every_planned_step_with_its_time() {
    let dir = TempDir::new("trace");
    let file = dir.file("trace.json");
    let output = run(&["--name", "box", "--trace", &file], &["true"]);
    assert!(output.status.success(), "{}", said(&output));
    let trace: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let complete: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
    let names: Vec<_> = complete.iter().map(|event| event["name"].as_str().unwrap()).collect();
    assert_eq!(names, planned(&[]));
    for event in complete {
        let (start, duration) = (event["ts"].as_f64().unwrap(), event["dur"].as_f64().unwrap());
        assert!(start > 0.0 && duration > 0.0 && duration < 5e6, "{event}");
    }
}

#[test]
fn the_narration_tells_every_step_before_the_target_speaks() {
    let output = run(&["--name", "box", "--explain"], &["sh", "-c", "echo spoken >&2"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = stderr(&output);
    for step in planned(&[]).iter().filter(|step| !step.starts_with("execute")) {
        assert!(text.contains(step.as_str()), "{step} is missing in:\n{text}");
    }
    assert!(text.ends_with("spoken\n"), "the target came too early:\n{text}");
    assert!(text.contains(" µs  pivot_root"), "{text}");
}

#[test]
fn the_narration_of_a_failure_ends_at_the_failed_step() {
    let output = run(&["--explain", "--tmpfs", "/mnt:nonsense=1"], &["true"]);
    assert_eq!(output.status.code(), Some(125));
    let text = stderr(&output);
    let narrated = text.lines().rev().nth(1).unwrap();
    assert!(narrated.trim() == "failed: EINVAL (invalid argument)", "{text}");
    assert!(!text.contains("execute true"), "{text}");
}

#[test]
fn a_plan_needs_neither_the_rootfs_nor_a_kernel_that_would_do_it() {
    let output = minirun(&["plan", "/nowhere"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("execute /bin/sh"));
}
