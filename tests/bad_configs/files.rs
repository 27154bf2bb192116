//! What isn't a configuration at all.

use std::fs;

use minirun::Bundle;

use super::TempDir;

/// A file's content, and words that the error must have in it.
pub fn rows() -> Vec<(Vec<u8>, &'static str)> {
    let text = |text: &str, words| (text.as_bytes().to_vec(), words);
    let deep = format!("{{\"ociVersion\":\"1.0.0\",\"x\":{}", "[".repeat(100_000));
    vec![
        text("", "EOF"),
        text("{", "EOF"),
        text("[]", "config.json"),
        text("null", "config.json"),
        text("7", "config.json"),
        text("\"ociVersion\"", "config.json"),
        text("{} {}", "config.json"),
        text("{\"ociVersion\": \"1.0.0\"", "EOF"),
        text("{'ociVersion': '1.0.0'}", "line 1"),
        text("ociVersion: 1.0.0", "line 1"),
        text("{\"ociVersion\": \"1.0.0\",}", "line 1"),
        text("{\"ociVersion\": \"1.0.0\", \"ociVersion\": \"1.0.0\"}", "duplicate"),
        text("{\"ociVersion\": \"\\ud800\"}", "line 1"),
        (b"{\"ociVersion\": \"\xff\xfe\"}".to_vec(), "config.json"),
        (vec![0; 4096], "config.json"),
        (deep.into_bytes(), "line 1"),
    ]
}

#[test]
fn files_that_are_no_configuration_say_so() {
    let bundle = TempDir::new("bad-file");
    for (content, words) in rows() {
        fs::write(bundle.file("config.json"), &content).expect("write config.json");
        let error = Bundle::load(bundle.path()).expect_err(words).to_string();
        let start = String::from_utf8_lossy(&content[..content.len().min(40)]).into_owned();
        assert!(error.contains(words), "{start}: {error}");
        assert!(!error.contains('\n') && error.len() < 1000, "{start}: {error}");
    }
}

#[test]
fn a_bundle_that_is_not_there_says_so() {
    let bundle = TempDir::new("no-bundle");
    let error = Bundle::load(bundle.path()).unwrap_err().to_string();
    assert!(error.contains("config.json") && error.contains("ENOENT"), "{error}");
    let error = Bundle::load(bundle.path().join("x")).unwrap_err().to_string();
    assert!(error.contains("ENOENT"), "{error}");
    fs::create_dir(bundle.file("config.json")).unwrap();
    let error = Bundle::load(bundle.path()).unwrap_err().to_string();
    assert!(error.contains("EISDIR"), "{error}");
    fs::remove_dir(bundle.file("config.json")).unwrap();
    std::os::unix::fs::symlink("config.json", bundle.file("config.json")).unwrap();
    let error = Bundle::load(bundle.path()).unwrap_err().to_string();
    assert!(error.contains("ELOOP"), "{error}");
}

#[test]
fn ten_megabytes_of_arguments_are_read_and_planned() {
    let bundle = TempDir::new("big-config");
    let mut config = super::good();
    config["process"]["args"] = serde_json::json!(["/bin/true", "x".repeat(10 << 20)]);
    fs::write(bundle.file("config.json"), config.to_string()).unwrap();
    // That execve refuses so much is for the kernel to say.
    assert!(Bundle::load(bundle.path()).and_then(|bundle| bundle.plan("big")).is_ok());
}
