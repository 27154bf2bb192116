//! The rooms of the house: imports go downward only, and `unsafe` lives in `sys`.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Source files of a room, with their text; tests aside.
fn room(name: &str) -> Vec<(PathBuf, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    sources(&src.join(name))
        .into_iter()
        .filter(|path| !path.ends_with("tests.rs"))
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect()
}

#[test]
fn rooms_use_only_what_lies_below_them() {
    // A room, and which of ours it must not name.
    let rules: &[(&str, &[&str])] = &[
        ("sys", &["crate::", "minirun::"]),
        (
            "plan",
            &[
                "crate::sys",
                "crate::launch",
                "crate::command",
                "crate::cgroup",
                "systemd::Systemd",
                "systemd::Unit",
                "std::fs",
                "std::process",
            ],
        ),
        (
            "seccomp",
            &["crate::plan", "crate::launch", "crate::command", "crate::sys", "crate::container"],
        ),
        (
            "oci",
            &["crate::container", "crate::plan", "crate::launch", "crate::command", "crate::sys"],
        ),
        (
            "systemd",
            &["crate::plan", "crate::launch", "crate::cgroup", "crate::container", "crate::host"],
        ),
        (
            "audit",
            &["crate::container", "crate::plan", "crate::launch", "crate::command", "crate::sys"],
        ),
        (
            "proc",
            &["crate::container", "crate::audit", "crate::plan", "crate::launch", "crate::sys"],
        ),
        ("container", &["crate::trace", "crate::background", "crate::protection"]),
        (
            "cgroup",
            &[
                "crate::container",
                "crate::launch",
                "crate::command",
                "crate::plan",
                "crate::attach",
            ],
        ),
        ("init", &["crate::container", "crate::command", "crate::plan", "crate::attach"]),
        (
            "launch",
            &["crate::container", "crate::command", "crate::attach", "crate::trace", "crate::oci"],
        ),
        ("attach", &["crate::container", "crate::command", "crate::plan", "crate::launch"]),
    ];
    for (name, forbidden) in rules {
        let files = room(name);
        assert!(!files.is_empty(), "there is no room {name}");
        for (path, text) in files {
            for word in *forbidden {
                assert!(!names(&text, word), "{} must not use {word}", path.display());
            }
        }
    }
}

/// Whether a text has this word: crate::systemd is not crate::sys.
fn names(text: &str, word: &str) -> bool {
    let goes_on = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word)
        .any(|(at, _)| !word.ends_with(goes_on) || !text[at + word.len()..].starts_with(goes_on))
}

#[test]
fn unsafe_code_is_in_one_room() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for path in sources(&src).iter().filter(|path| !path.starts_with(src.join("sys"))) {
        let text = fs::read_to_string(path).unwrap();
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            let mentions = line.contains("unsafe ") || line.contains("libc::syscall");
            assert!(!mentions, "{}: {line}", path.display());
        }
    }
}

#[test]
fn every_unsafe_block_argues_why_it_is_safe() {
    for (path, text) in room("sys") {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            if line.trim_start().starts_with("//")
                || !(line.contains("unsafe {") || line.contains("unsafe impl"))
            {
                continue;
            }
            let before = &lines[number.saturating_sub(6)..number];
            assert!(
                before.iter().any(|line| line.contains("SAFETY")),
                "{}:{} has no safety comment",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn every_lab_is_in_the_table_of_labs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = root.join("src/bin/minirun-lab/table.rs");
    let rows = fs::read_to_string(&table).unwrap();
    for entry in fs::read_dir(root.join("examples")).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let row = format!("\"../../../examples/{file}\"");
        assert!(
            !file.ends_with(".rs") || rows.contains(&row),
            "add examples/{file} to its chapter in {}",
            table.display()
        );
    }
}
