//! JSON into typed values, with the path of what doesn't fit.
//!
//! serde_json tells the place of an error by line and column. The path is found from there
//! once an error has happened, rather than kept while everything fits: that would double
//! both the time of reading a config.json and the code for its types.

use serde::de::{DeserializeOwned, IgnoredAny};

/// Why a text doesn't fit a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// Where, as `linux.namespaces[0].type`; empty when it is about all of the text.
    pub path: String,
    /// What is wrong there, with line and column.
    pub reason: String,
}

/// Reads all of `text`.
///
/// # Errors
/// When it isn't JSON, or doesn't fit the type.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Misfit> {
    // In one piece: bytes that may be anything serde_json would look at string by string.
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => return Err(not_unicode(text, error.valid_up_to())),
    };
    serde_json::from_str(text).map_err(|error| {
        let reason = error.to_string();
        // What isn't JSON at all has no path. (A number in the place of a word is told as
        // wrong syntax.)
        let is_json = error.is_data() || serde_json::from_str::<IgnoredAny>(text).is_ok();
        let before: usize = text.split_inclusive('\n').take(error.line() - 1).map(str::len).sum();
        let seen = &text.as_bytes()[..(before + error.column()).min(text.len())];
        let path = if is_json { path(seen, &reason) } else { String::new() };
        Misfit { path, reason }
    })
}

/// About the byte behind the first `valid` ones.
fn not_unicode(text: &[u8], valid: usize) -> Misfit {
    let lines = || text[..valid].split(|byte| *byte == b'\n');
    let (line, column) = (lines().count(), lines().next_back().map_or(0, <[u8]>::len) + 1);
    let reason = format!("invalid unicode code point at line {line} column {column}");
    Misfit { path: path(&text[..=valid], &reason), reason }
}

/// An object or array that the scan is in: the member it has come to.
enum Place {
    Key(String),
    Index(usize),
}

/// The path of what `reason` is about, at the end of the text that was `seen`.
fn path(seen: &[u8], reason: &str) -> String {
    let (mut places, mut closed) = (Vec::new(), None);
    let mut rest = seen;
    while let [first, tail @ ..] = rest {
        let mut end = 1;
        if !first.is_ascii_whitespace() {
            closed = None;
        }
        match first {
            b'{' => places.push(Place::Key(String::new())),
            b'[' => places.push(Place::Index(0)),
            b'}' | b']' => closed = places.pop(),
            b',' => {
                if let Some(Place::Index(index)) = places.last_mut() {
                    *index += 1;
                }
            }
            b'"' => {
                end = string_end(rest);
                let is_key = tail[end - 1..].trim_ascii_start().first() == Some(&b':');
                if let (true, Some(Place::Key(key))) = (is_key, places.last_mut()) {
                    *key = serde_json::from_slice(&rest[..end]).unwrap_or_default();
                }
            }
            _ => {}
        }
        rest = &rest[end..];
    }
    // Behind an object it is about a member that isn't there, or about the last one; behind
    // a comma about what follows, or about a word before it that nobody knows.
    let is_about = |words: &str| reason.starts_with(words);
    if !is_about("missing field") && !is_about("invalid length") {
        places.extend(closed);
    }
    if let (Some(b','), Some(Place::Index(index))) = (seen.last(), places.last_mut())
        && !is_about("invalid type")
    {
        *index -= 1;
    }
    let mut path = String::new();
    for place in places {
        match place {
            Place::Key(key) if path.is_empty() => path = key,
            Place::Key(key) => path = format!("{path}.{key}"),
            Place::Index(index) => path = format!("{path}[{index}]"),
        }
    }
    path
}

/// The length of the string literal that `text` begins with.
fn string_end(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().skip(1).position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::config::Spec;

    fn misfit(text: &str) -> Misfit {
        parse::<Spec>(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn every_kind_of_misfit_has_its_path() {
        for (text, path) in [
            (r#"{"ociVersion":7}"#, "ociVersion"),
            (
                "{\n \"ociVersion\": \"1\",\n \"mounts\": [{\"destination\": \"/a\"},\n {\"destination\": 7}]}",
                "mounts[1].destination",
            ),
            (r#"{"process":{"user":{"uid":"x"}}}"#, "process.user.uid"),
            (r#"{"process":{"user":{"uid":-1}}}"#, "process.user.uid"),
            (r#"{"process":{"user":{"uid":1.5 }}}"#, "process.user.uid"),
            (r#"{"process":{"user":{"uid":true}}}"#, "process.user.uid"),
            (r#"{"process":{"user":{"uid":[1]}}}"#, "process.user.uid"),
            (r#"{"process":{"user":{"uid":{"a":1}}}}"#, "process.user.uid"),
            (r#"{"process":{"args":["a","b",{"\"}":1}]}}"#, "process.args[2]"),
            (r#"{"process":{"args":["\\\",{["," :",3]}}"#, "process.args[2]"),
            (r#"{"process":{"args":[["a"]]}}"#, "process.args[0]"),
            (r#"{"process":{"args":["a",["b"]]}}"#, "process.args[1]"),
            (r#"{"linux":{"namespaces":[{"type":1}]}}"#, "linux.namespaces[0].type"),
            (
                r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"nonsense"}]}}"#,
                "linux.namespaces[1].type",
            ),
            (r#"{"linux":{"namespaces":[{"path":"/x"}]}}"#, "linux.namespaces[0]"),
            (
                r#"{"process":{"capabilities":{"bounding":["CAP_KILL","CAP_X"]}}}"#,
                "process.capabilities.bounding[1]",
            ),
            (
                r#"{"process":{"capabilities":{"bounding":["CAP_X","CAP_KILL"]}}}"#,
                "process.capabilities.bounding[0]",
            ),
            (
                r#"{"process":{"scheduler":{"flags":["SCHED_FLAG_RECLAIM","x"]}}}"#,
                "process.scheduler.flags[1]",
            ),
        ] {
            assert_eq!(misfit(text).path, path, "{text}: {}", misfit(text).reason);
        }
    }

    #[test]
    fn what_is_not_unicode_has_its_place() {
        let wrong = parse::<Spec>(b"{\n\"process\": {\"args\": [\"a\", \"b\xff\"]}}").unwrap_err();
        assert_eq!(wrong.path, "process.args[1]");
        assert_eq!(wrong.reason, "invalid unicode code point at line 2 column 29");
        assert_eq!(parse::<Spec>(b"\xff").unwrap_err().path, "");
    }

    #[test]
    fn what_is_not_json_has_no_path() {
        for text in ["", "{", r#"{"root": {"#, "{}}", r#"{"root": nonsense}"#] {
            assert_eq!(misfit(text).path, "", "{text}");
        }
    }
}
