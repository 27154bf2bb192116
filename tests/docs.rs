//! What the documents say holds: each command in a ```console block of README.md,
//! README.ko.md and docs/ is run, and what the block shows is looked for in what it printed.
//!
//! The commands of one document run in one directory, one after the other, with `./rootfs`
//! there. `…` stands for anything, numbers for any number (but for a line of digits alone,
//! such as an exit status). A command may fail if its block shows `minirun: …` for it. What a
//! reader needn't see but the commands need stands between blocks, as `<!-- run: COMMAND -->`.

mod support;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::fcntl::{Flock, FlockArg};
use serde_json::Value;
use support::{TempDir, binary, minirun, rootfs, run, said, skipped, without_root};

/// A command of a document, and the lines that are shown for it.
struct Shown {
    line: usize,
    command: String,
    output: Vec<String>,
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents() -> Vec<PathBuf> {
    let names = ["README.md", "README.ko.md"].map(|name| repository().join(name));
    let mut found: Vec<PathBuf> = names.into_iter().filter(|path| path.exists()).collect();
    let mut directories = vec![repository().join("docs")];
    while let Some(directory) = directories.pop() {
        for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The commands of a document, in its order.
fn commands(text: &str) -> Vec<Shown> {
    let mut commands: Vec<Shown> = Vec::new();
    let (mut fence, mut continued) = (None, false);
    for (line, content) in (1..).zip(text.lines()) {
        let new = |command: &str| Shown { line, command: command.to_owned(), output: vec![] };
        if let Some(language) = content.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(language) };
        } else if let Some(command) = content.strip_prefix("<!-- run: ") {
            commands.push(new(command.strip_suffix(" -->").expect("one line")));
        } else if fence != Some("console") {
            continue;
        } else if continued && let Some(last) = commands.last_mut() {
            last.command.push('\n');
            last.command.push_str(content.strip_prefix("> ").unwrap_or(content));
        } else if let Some(command) = content.strip_prefix("$ ") {
            commands.push(new(command));
        } else if let Some(last) = commands.last_mut() {
            last.output.push(content.to_owned());
            continue;
        }
        continued = content.ends_with('\\');
    }
    commands
}

/// A line without what differs from run to run: the width of columns, numbers and units.
fn shape(line: &str) -> String {
    if !line.is_empty() && line.bytes().all(|byte| byte.is_ascii_digit()) {
        return line.to_owned();
    }
    let mut shape = String::new();
    for char in line.trim().chars() {
        match char {
            '0'..='9' | '.' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            ' ' if shape.ends_with(' ') => {}
            '-' if shape.ends_with("---") => {}
            char => shape.push(char),
        }
    }
    for unit in ["KiB", "MiB", "GiB", "B", "%", " µs", " ms", " s"] {
        shape = shape.replace(&format!("#{unit}"), "#");
    }
    // A value that this machine doesn't count is a dash.
    let words = shape.split(' ').map(|word| if word == "-" { "#" } else { word });
    words.collect::<Vec<_>>().join(" ").replace("# / #", "#")
}

/// Whether a line is as the document has it.
fn is_like(shown: &str, real: &str) -> bool {
    let (shown, real) = (shape(shown), shape(real));
    let pieces: Vec<&str> = shown.split('…').map(str::trim).collect();
    let [first, .., last] = pieces[..] else {
        return shown == real;
    };
    let Some(mut rest) = real.strip_prefix(first) else {
        return false;
    };
    for piece in &pieces[1..pieces.len() - 1] {
        let Some(at) = rest.find(piece) else {
            return false;
        };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(last)
}

/// The first line of the document that isn't in the output, after those before it.
fn missing<'a>(shown: &'a [String], real: &str) -> Option<&'a str> {
    let mut rest = real.lines();
    let shown = shown.iter().map(String::as_str).filter(|line| !line.is_empty() && *line != "…");
    shown.into_iter().find(|&line| !rest.any(|real| is_like(line, real)))
}

#[test]
fn lines_are_compared_by_what_stays() {
    assert!(is_like(" 53  container   84 µs  pivot_root", "  7  container  1.5 ms  pivot_root"));
    assert!(is_like("minirun: open …: ENOENT…", "minirun: open /x: ENOENT (no such file)"));
    assert!(is_like("web-1  640KiB / 64MiB  0.1", "web-1  1.2MiB / 64MiB    -"));
    assert!(!is_like("137", "124"));
    assert!(!is_like("UTS own", "UTS shared"));
    assert!(!is_like("minirun: open …", "minirun: close it"));
    let shown = ["b".to_owned(), "…".to_owned(), "a".to_owned()];
    assert_eq!(missing(&shown, "a\nb\nx\na\n"), None);
    assert_eq!(missing(&shown, "a\nb\n"), Some("a"));
}

#[test]
fn a_block_is_read_as_commands_and_what_they_print() {
    let text = "<!-- run: setup -->\n```console\n$ one \\\n> two\n1\n\n$ three\n```\n$ no\n```sh\n$ no\n```\n";
    let commands = commands(text);
    let words: Vec<&str> = commands.iter().map(|shown| shown.command.as_str()).collect();
    assert_eq!(words, ["setup", "one \\\ntwo", "three"]);
    assert_eq!((commands[1].line, &commands[1].output[..]), (3, &["1".into(), String::new()][..]));
}

/// Runs a document's commands; says what didn't go as it says.
fn wrong(document: &Path) -> Vec<String> {
    let dir = TempDir::new("docs");
    let path = |name: &str| dir.path().join(name);
    // A copy, since commands may change it.
    let copied = Command::new("cp").arg("-a").arg(rootfs()).arg(path("rootfs")).status();
    assert!(copied.unwrap().success());
    fs::create_dir(path(".bin")).unwrap();
    symlink(binary(), path(".bin/minirun")).unwrap();
    // The containers of the document are kept apart from the machine's.
    let state = path(".state");
    let apart = format!("minirun() {{ command minirun --root '{}' \"$@\"; }}", state.display());
    let search = format!("{}:{}", path(".bin").display(), std::env::var("PATH").unwrap());

    let name = document.strip_prefix(repository()).unwrap().display();
    let mut wrong = Vec::new();
    for shown in commands(&fs::read_to_string(document).unwrap()) {
        // A file, since what goes on in the background would keep a pipe open.
        let log = path(".output");
        let output = File::create(&log).unwrap();
        // The machine of the documents is called vm.
        let mut command = Command::new("timeout");
        command.args(["--kill-after=5", "60", "unshare", "--uts", "sh", "-c"]);
        command.arg(format!("echo vm >/proc/sys/kernel/hostname; {apart}\n{}", shown.command));
        command.current_dir(dir.path()).env("PATH", &search).env("HOME", dir.path());
        command
            .env("BUSYBOX", rootfs().join("bin/busybox"))
            .env_remove("XDG_RUNTIME_DIR")
            .stdin(Stdio::null());
        command.stderr(output.try_clone().unwrap()).stdout(output);
        let status = command.status().expect("start timeout");
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        let place = format!("{name}:{}: $ {}", shown.line, shown.command);
        let may_fail = shown.output.iter().any(|line| line.starts_with("minirun: "));
        if !(status.success() || may_fail && status.code() != Some(124)) {
            wrong.push(format!("{place}\nended with {status}:\n{text}"));
        }
        let text = text.replace(dir.path().to_str().unwrap(), "/srv");
        if let Some(line) = missing(&shown.output, &text) {
            wrong.push(format!("{place}\nhasn't printed, in this order:\n{line}\nbut:\n{text}"));
        }
    }
    for entry in fs::read_dir(&state).into_iter().flatten().flatten() {
        let id = entry.file_name().into_string().unwrap();
        let _ = minirun(&["--root", state.to_str().unwrap(), "delete", "--force", &id]).output();
    }
    wrong
}

#[test]
fn every_command_does_what_its_document_shows() {
    if skipped(without_root()) {
        return;
    }
    // An id is a cgroup's name too, and a machine has one of each.
    let turn = File::open(std::env::temp_dir()).unwrap();
    let _turn = Flock::lock(turn, FlockArg::LockExclusive).unwrap();
    let documents = documents();
    assert!(documents.len() > 5, "{documents:?}");
    let wrong: Vec<String> = documents.iter().flat_map(|document| wrong(document)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn links_lead_somewhere_and_the_summary_has_every_page() {
    let mut linked = BTreeSet::new();
    for document in documents() {
        let text = fs::read_to_string(&document).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
        for (link, _) in links.filter(|(link, _)| !link.contains(':') && !link.starts_with('#')) {
            let path = link.split('#').next().unwrap_or_default();
            let target = document.parent().unwrap().join(path);
            assert!(target.exists(), "{}: {link}", document.display());
            if document.ends_with("docs/SUMMARY.md") {
                linked.insert(target);
            }
        }
    }
    let docs = repository().join("docs");
    let pages = documents().into_iter().filter(|path| path.starts_with(&docs));
    let pages = pages.filter(|path| !path.ends_with("SUMMARY.md"));
    assert_eq!(pages.collect::<BTreeSet<_>>(), linked);
}

#[test]
fn the_tutorials_numbers_are_those_of_the_plan() {
    if skipped(without_root()) {
        return;
    }
    for name in ["docs/tutorial/container.md", "docs/ko/tutorial.md"] {
        let text = fs::read_to_string(repository().join(name)).unwrap();
        let mut steps = 0;
        for shown in commands(&text) {
            let Some(words) = shown.command.strip_prefix("minirun plan ./rootfs") else {
                continue;
            };
            let mut command = minirun(&["plan"]);
            command.arg(rootfs()).args(words.split_whitespace());
            let plan = String::from_utf8(command.output().unwrap().stdout).unwrap();
            steps = plan.lines().count();
            for line in shown.output.iter().filter(|line| *line != "…") {
                assert!(plan.lines().any(|step| step == line), "{name}: {line}\n{plan}");
            }
        }
        // Its headings, such as `Steps 2 to 4: …`, leave no step out.
        let headings = text.lines().filter_map(|line| line.strip_prefix("## ")?.split_once(':'));
        let mut next = 1;
        for (heading, _) in headings {
            let numbers = heading.split(|char: char| !char.is_ascii_digit());
            let numbers: Vec<usize> = numbers.filter_map(|number| number.parse().ok()).collect();
            assert_eq!(numbers.first(), Some(&next), "{name}: {heading}");
            next = numbers.last().unwrap() + 1;
        }
        assert_eq!(next - 1, steps, "{name}");
    }
}

#[test]
fn translations_show_the_same_commands() {
    let of = |name: &str| {
        let text = fs::read_to_string(repository().join(name)).unwrap();
        let commands = commands(&text).into_iter().map(|shown| (shown.command, shown.output));
        commands.collect::<Vec<_>>()
    };
    assert_eq!(of("README.ko.md"), of("README.md"));
    assert_eq!(of("docs/ko/tutorial.md"), of("docs/tutorial/container.md"));
}

#[test]
fn the_reference_has_every_verb_of_the_help() {
    let help = minirun(&["--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let verbs = help.lines().filter_map(|line| line.strip_prefix("  "));
    let verbs = verbs.filter(|line| line.starts_with(|char: char| char.is_ascii_lowercase()));
    let verbs: BTreeSet<&str> = verbs.filter_map(|line| line.split(' ').next()).collect();
    assert!(verbs.contains("run") && verbs.len() > 15, "{verbs:?}");
    let text = fs::read_to_string(repository().join("docs/reference/cli.md")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let words = rows.flat_map(|(first, _)| first.split(['`', ',', ' ']));
    let told: BTreeSet<&str> = words.filter(|word| !word.is_empty()).collect();
    assert_eq!(told, verbs);
}

/// Whether a value is of the types, and among the words, that its schema allows.
fn fits(value: &Value, schema: &Value) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is = |allowed: &Value| allowed == kind || (allowed == "number" && kind == "integer");
    let typed = match &schema["type"] {
        Value::Array(types) => types.iter().any(is),
        Value::Null => true,
        one => is(one),
    };
    let among = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    let within = |limit: &str, holds: fn(f64, f64) -> bool| {
        let limit = schema[limit].as_f64();
        limit.zip(value.as_f64()).is_none_or(|(limit, value)| holds(value, limit))
    };
    let items = value.as_array().into_iter().flatten().all(|item| fits(item, &schema["items"]));
    typed && among && items && within("minimum", |v, l| v >= l) && within("maximum", |v, l| v <= l)
}

#[test]
fn the_reports_schema_is_that_of_real_reports() {
    let text = fs::read_to_string(repository().join("docs/reference/report.schema.json")).unwrap();
    let schema: Value = serde_json::from_str(&text).unwrap();
    let page = fs::read_to_string(repository().join("docs/reference/report.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let rows: Vec<&str> = rows.map(|(field, _)| field).collect();
    let fields = schema["properties"].as_object().unwrap();
    let required = schema["required"].as_array().unwrap();
    assert_eq!(rows, fields.keys().collect::<Vec<_>>(), "of the page and of the schema");
    assert_eq!(rows, required.iter().map(|field| field.as_str().unwrap()).collect::<Vec<_>>());
    assert_eq!(schema["additionalProperties"], false);

    let dir = TempDir::new("report");
    let file = dir.file("report.json");
    let killed = ["sh", "-c", "kill -9 $$"];
    let limited: &[&str] = if support::is_root() { &["--memory", "64m"] } else { &[] };
    for (options, words) in [
        (&[][..], &["true"][..]),
        (limited, &killed),
        (&["--no-init"], &["true"]),
        (&["--timeout", "100ms"], &["sleep", "60"]),
    ] {
        let output = run(&[options, &["--report", &file]].concat(), words);
        let report = fs::read_to_string(&file).unwrap_or_else(|_| panic!("{}", said(&output)));
        let report: Value = serde_json::from_str(&report).unwrap();
        let report = report.as_object().unwrap();
        assert_eq!(rows, report.keys().collect::<Vec<_>>());
        for (field, value) in report {
            assert!(fits(value, &fields[field]), "{field}: {value} isn't {}", fields[field]);
        }
    }
    assert!(!fits(&Value::Null, &fields["exit_code"]) && !fits(&256.into(), &fields["exit_code"]));
    assert!(!fits(&serde_json::json!(["disk"]), &fields["limits_hit"]));
}
