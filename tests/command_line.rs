//! The command line beyond `run ROOTFS`: options before the verb, the log, what engines
//! ask a runtime about itself, and config.json files.

mod support;

use std::fs;
use std::io::Read;
use std::process::Stdio;

use serde_json::Value;
use support::{TempDir, minirun, rootfs, said, stderr};

fn stdout(args: &[&str]) -> String {
    let output = minirun(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", said(&output));
    String::from_utf8(output.stdout).unwrap()
}

fn json(args: &[&str]) -> Value {
    serde_json::from_str(&stdout(args)).unwrap()
}

/// A config.json of a bundle, changed by `change`, and what `plan` makes of it.
fn plan_of(name: &str, change: impl FnOnce(&mut Value)) -> std::process::Output {
    let dir = TempDir::new(name);
    let mut config = json(&["spec", "--print"]);
    change(&mut config);
    fs::write(dir.file("config.json"), config.to_string()).unwrap();
    minirun(&["plan", "--bundle", dir.path().to_str().unwrap()]).output().unwrap()
}

#[test]
fn the_version_is_what_docker_parses() {
    for option in ["--version", "-v", "-V", "-version"] {
        let text = stdout(&[option]);
        let lines: Vec<&str> = text.lines().collect();
        let version = format!("minirun version {}", env!("CARGO_PKG_VERSION"));
        assert_eq!(lines[0], version);
        assert!(lines[1].starts_with("commit: ") && lines[1].len() > 8, "{text}");
        assert_eq!(lines[2], "spec: 1.3.0");
    }
}

#[test]
fn a_failure_is_the_last_line_of_the_log_in_either_form() {
    let dir = TempDir::new("log");
    let log = dir.file("log");
    let bundle = dir.file("missing");
    for format in ["json", "text"] {
        let args = ["--log", &log, "--log-format", format, "spec", "--bundle", &bundle];
        let output = minirun(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        let told = stderr(&output);
        assert!(told.starts_with("minirun: error: write ") && told.contains("ENOENT"), "{told}");
        let text = fs::read_to_string(&log).unwrap();
        let line = text.lines().last().unwrap();
        let message = told.trim_start_matches("minirun: error: ").trim_end();
        if format == "text" {
            assert!(
                line.starts_with("time=\"20") && line.contains(" level=error msg=\""),
                "{line}"
            );
            assert!(line.contains(&message.replace('"', "\\\"")), "{line}");
        } else {
            let entry: Value = serde_json::from_str(line).unwrap();
            assert_eq!((&entry["level"], &entry["msg"]), (&"error".into(), &message.into()));
            let time = entry["time"].as_str().unwrap();
            assert!(time.len() == 20 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
        }
    }
    assert_eq!(fs::read_to_string(&log).unwrap().lines().count(), 2, "it is appended to");
}

#[test]
fn wrong_usage_of_an_engine_is_logged_too() {
    let dir = TempDir::new("log");
    let log = dir.file("log");
    let output = minirun(&["--log", &log, "--log-format=json", "spec", "--nonsense"]).output();
    assert_eq!(output.unwrap().status.code(), Some(1));
    let entry: Value = serde_json::from_str(&fs::read_to_string(&log).unwrap()).unwrap();
    assert!(entry["msg"].as_str().unwrap().contains("--nonsense"), "{entry}");
}

#[test]
fn json_without_a_file_goes_to_standard_error() {
    let output = minirun(&["--log-format", "json", "plan", "--bundle", "/nowhere"]).output();
    let output = output.unwrap();
    let entry: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(entry["level"], "error");
}

#[test]
fn a_log_that_cannot_be_written_is_an_error() {
    let output = minirun(&["--log", "/no/dir/log", "features"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("open the log /no/dir/log (--log): ENOENT"));
}

#[test]
fn options_that_callers_send_are_taken() {
    let all = ["--root", "/tmp/x", "--systemd-cgroup", "--rootless=auto", "--criu", "criu"];
    for extra in [&["--debug"][..], &["-debug=false"], &["--log-format", "text"]] {
        let output = minirun(&all).args(extra).arg("features").output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }
    let output = minirun(&["--rootless", "perhaps", "features"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("(--rootless): it is one of auto, true and false"));
}

#[test]
fn an_option_that_stands_before_the_verb_is_told_so() {
    let output = minirun(&["list", "--root", "/tmp/x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("--root stands before the verb"), "{}", said(&output));
}

#[test]
fn what_is_mistyped_is_answered_with_what_was_meant() {
    let root = rootfs();
    let root = root.to_str().unwrap();
    for (words, status, told) in [
        (&["rnu"][..], 125, "(rnu): there is no such verb; a similar verb exists: run\n"),
        (&["help", "lst"], 125, "a similar verb exists: list\n"),
        (&["nothing-of-the-kind"], 125, "it is one of run, exec, "),
        (&["--rot", "x", "list"], 125, "a similar one exists: --root\n"),
        (&["run", "--memroy", "1g", root], 125, "a similar argument exists: '--memory'"),
        (&["run", root, "--memroy=1g", "true"], 125, "run has no such option, but --memory\n"),
        (&["list", "--formt", "json"], 1, "a similar argument exists: '--format'"),
        (&["list", "--format", "tabel"], 1, "a similar value exists: 'table'"),
        (&["run", "--net", "hots", root], 125, "a similar value exists: 'host'"),
    ] {
        let output = minirun(words).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{words:?}: {}", said(&output));
        assert!(stderr(&output).contains(told), "{words:?}: {}", said(&output));
    }
}

#[test]
fn help_is_the_same_however_it_is_asked_for() {
    for verb in ["run", "ns", "list"] {
        let text = stdout(&[verb, "--help"]);
        assert!(text.contains("\nExamples:\n  minirun ") && text.ends_with('\n'), "{text}");
        assert_eq!(stdout(&[verb, "-h"]), text);
        assert_eq!(stdout(&["help", verb]), text);
    }
    assert_eq!(stdout(&["help"]), stdout(&["--help"]));
}

#[test]
fn a_reader_that_went_away_is_no_error() {
    for args in [&["features"][..], &["--help"], &["spec", "--print"], &["spec", "--help"]] {
        let mut child =
            minirun(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let status = child.wait().unwrap();
        let mut told = String::new();
        child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
        assert!(status.success() && told.is_empty(), "{args:?}: {status} {told}");
    }
}

#[test]
fn features_have_what_engines_read() {
    let features = json(&["features"]);
    assert_eq!(
        (&features["ociVersionMin"], &features["ociVersionMax"]),
        (&"1.0.0".into(), &"1.3.0".into())
    );
    let has = |list: &Value, word: &str| list.as_array().unwrap().contains(&word.into());
    assert!(has(&features["mountOptions"], "rro"));
    assert!(has(&features["linux"]["namespaces"], "user"));
    assert!(has(&features["linux"]["capabilities"], "CAP_SYS_ADMIN"));
    assert!(features["linux"]["mountExtensions"]["idmap"]["enabled"].is_boolean());
}

/// Whether a plan is made for a config.json with this in it; else it is refused by a path
/// that begins with `place`.
fn is_planned(place: &str, change: impl FnOnce(&mut Value)) -> bool {
    let output = plan_of("features", change);
    let refused = stderr(&output).contains(&format!("({place}"));
    assert!(output.status.success() || refused, "{place}: {}", said(&output));
    output.status.success()
}

fn words(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[test]
fn every_mount_option_hook_and_namespace_of_the_features_is_planned() {
    let features = json(&["features"]);
    for option in words(&features["mountOptions"]) {
        let mount = serde_json::json!({"destination": "/mnt", "type": "bind", "source": "/tmp",
            "options": ["bind", option]});
        let add = |config: &mut Value| config["mounts"].as_array_mut().unwrap().push(mount);
        // Two things that a bind of the host's can't have.
        let only_elsewhere = ["tmpcopyup", "idmap", "ridmap"].contains(&option);
        assert!(only_elsewhere || is_planned("mounts", add), "{option}");
    }
    for hook in words(&features["hooks"]) {
        let hooks = serde_json::json!({hook: [{"path": "/bin/true"}]});
        assert!(is_planned("hooks", |config| config["hooks"] = hooks), "{hook}");
    }
    for kind in words(&features["linux"]["namespaces"]) {
        let planned = is_planned("linux.namespaces", |config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
            namespaces.retain(|namespace| namespace["type"] != kind && namespace["type"] != "user");
            namespaces.push(serde_json::json!({"type": "user"}));
            if kind != "user" {
                namespaces.push(serde_json::json!({"type": kind}));
            }
            let map = serde_json::json!([{"containerID": 0, "hostID": 0, "size": 1}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        });
        assert!(planned, "{kind}");
    }
}

#[test]
fn every_word_of_seccomp_and_memory_policy_in_the_features_is_planned() {
    let features = json(&["features"]);
    let seccomp = &features["linux"]["seccomp"];
    let profile = |change: &dyn Fn(&mut Value)| {
        let mut profile = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "listenerPath": "/run/agent",
            "syscalls": [{"names": ["kill"], "action": "SCMP_ACT_ERRNO",
                "args": [{"index": 0, "value": 1, "valueTwo": 1, "op": "SCMP_CMP_EQ"}]}],
        });
        change(&mut profile);
        is_planned("linux.seccomp", |config| config["linux"]["seccomp"] = profile)
    };
    for action in words(&seccomp["actions"]) {
        assert!(profile(&|p| p["syscalls"][0]["action"] = action.into()), "{action}");
    }
    for operator in words(&seccomp["operators"]) {
        assert!(profile(&|p| p["syscalls"][0]["args"][0]["op"] = operator.into()), "{operator}");
    }
    for (list, field) in [("archs", "architectures"), ("knownFlags", "flags")] {
        for word in words(&seccomp[list]) {
            assert!(profile(&|p| p[field] = serde_json::json!([word])), "{word}");
        }
    }
    for mode in words(&features["linux"]["memoryPolicy"]["modes"]) {
        let needs_nodes = !["MPOL_DEFAULT", "MPOL_LOCAL"].contains(&mode);
        let nodes = if needs_nodes { "0" } else { "" };
        let policy = serde_json::json!({"mode": mode, "nodes": nodes});
        let set = |config: &mut Value| config["linux"]["memoryPolicy"] = policy;
        assert!(is_planned("linux.memoryPolicy", set), "{mode}");
    }
}

#[test]
fn what_the_features_deny_is_refused_and_what_they_grant_is_planned() {
    let linux = json(&["features"])["linux"].clone();
    let enabled = |value: &Value| value["enabled"].as_bool().unwrap();
    let rdt = |config: &mut Value| {
        config["linux"]["intelRdt"] = serde_json::json!({"closID": "x"});
    };
    assert_eq!(is_planned("linux.intelRdt", rdt), enabled(&linux["intelRdt"]));
    let devices = |config: &mut Value| {
        config["linux"]["netDevices"] = serde_json::json!({"eth9": {"name": "eth0"}});
    };
    // An ordinary user has no device to give away.
    let is_planned_or_not_ours = !support::is_root() || is_planned("linux.netDevices", devices);
    assert_eq!(is_planned_or_not_ours, enabled(&linux["netDevices"]));
    let idmap = |config: &mut Value| {
        let map = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
        let mount = serde_json::json!({"destination": "/mnt", "type": "bind", "source": "/tmp",
            "options": ["bind"], "uidMappings": map, "gidMappings": map});
        config["mounts"].as_array_mut().unwrap().push(mount);
    };
    assert_eq!(is_planned("mounts", idmap), enabled(&linux["mountExtensions"]["idmap"]));
    if support::is_root() {
        let rdma = |config: &mut Value| {
            config["linux"]["resources"] =
                serde_json::json!({"rdma": {"mlx5_1": {"hcaHandles": 3}}});
        };
        // A host without the controller can't do it whatever the runtime can.
        let output = plan_of("features", rdma);
        let lacking = stderr(&output).contains("controller");
        let says = linux["cgroup"]["rdma"].as_bool().unwrap();
        assert!(output.status.success() == says || lacking, "{}", said(&output));
    }
}

#[test]
fn a_starting_point_is_a_shell_at_a_terminal_in_rootfs() {
    let dir = TempDir::new("spec");
    let bundle = dir.path().to_str().unwrap();
    assert_eq!(stdout(&["spec", "--bundle", bundle]), "");
    let text = fs::read_to_string(dir.file("config.json")).unwrap();
    let config: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(config["process"]["args"], serde_json::json!(["sh"]));
    assert_eq!(config["process"]["terminal"], true);
    assert_eq!(config["root"], serde_json::json!({"path": "rootfs", "readonly": true}));
    let plan = stdout(&["plan", "--bundle", bundle]);
    assert!(plan.contains(&format!("{bundle}/rootfs")), "{plan}");

    let again = minirun(&["spec", "--bundle", bundle]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(stderr(&again).contains("EEXIST"), "{}", said(&again));
    assert_eq!(fs::read_to_string(dir.file("config.json")).unwrap(), text);
}

#[test]
fn a_starting_point_for_users_maps_one_id() {
    let config = json(&["spec", "--rootless", "--print"]);
    let uid = nix::unistd::geteuid().as_raw();
    let map = serde_json::json!([{"containerID": 0, "hostID": uid, "size": 1}]);
    assert_eq!(config["linux"]["uidMappings"], map);
    let namespaces = config["linux"]["namespaces"].as_array().unwrap();
    assert!(namespaces.contains(&serde_json::json!({"type": "user"})));
}

#[test]
fn the_config_of_a_run_has_the_steps_of_that_run() {
    let dir = TempDir::new("spec");
    let bundle = dir.path().to_str().unwrap();
    let limit: &[&str] = if support::is_root() { &["--memory", "64m"] } else { &[] };
    let options = "--name box --read-only --tmpfs /tmp:size=1m --cap-drop ALL -e A=b \
                   --ulimit nofile=64 --ephemeral";
    let words = |verb: &[&str]| {
        let mut command = minirun(verb);
        command.args(options.split_whitespace()).args(limit).arg(rootfs()).args(["ls", "-l"]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    words(&["spec", "--bundle", bundle]);
    let steps = |text: String| -> Vec<String> {
        let steps: Vec<Value> = serde_json::from_str(&text).unwrap();
        // An engine's container has a cgroup in every hierarchy, with all of its controllers,
        // which bears its bare id; one is entered by clone3. Its network namespace is made by a
        // thread, with lo up.
        let what = steps.iter().map(|step| step["what"].as_str().unwrap());
        let what = what.map(|what| what.replace("/minirun-box", "/box"));
        let is_other = |what: &str| {
            what.starts_with("clone3") || what.ends_with("subtree_control") || what == "bring up lo"
        };
        let alike = |what: &String| !is_other(what);
        what.filter(alike).collect()
    };
    let of_run = steps(words(&["plan", "--json"]));
    let mut of_bundle = steps(stdout(&["plan", "--json", "--bundle", bundle, "box"]));
    of_bundle.retain(|step| of_run.contains(step));
    assert_eq!(of_run, of_bundle);
}

#[test]
fn what_a_config_has_no_place_for_is_refused() {
    let root = rootfs();
    let root = root.to_str().unwrap();
    for option in ["--timeout", "--kill-after"] {
        let output = minirun(&["spec", "--print", option, "3s", root]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(&format!("({option})")), "{}", said(&output));
    }
    let output = minirun(&["spec", "--print", "--memory", "3m"]).output().unwrap();
    assert!(stderr(&output).contains("(ROOTFS)"), "{}", said(&output));
    let output = plan_of("annotation", |config| {
        config["annotations"] = serde_json::json!({"io.minirun.init": "perhaps"});
    });
    assert!(stderr(&output).contains("(annotations.io.minirun.init)"), "{}", said(&output));
}

#[test]
fn options_of_run_do_not_go_with_a_bundle() {
    let output = minirun(&["plan", "--bundle", "/nowhere", "--memory", "3m"]).output().unwrap();
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("cannot be used with"), "{}", said(&output));
}
