//! Reading a bundle: a directory with a config.json and usually a root filesystem
//! (runtime-spec, "Filesystem Bundle").

use std::path::Path;

use oci_spec::runtime::{Mount, Process, Spec};

use super::config;
use crate::error::{Error, Result};
use crate::json;

/// The runtime-spec versions that are understood: 1.0.0 up to this minor version.
const NEWEST_MINOR: u64 = 3;

/// Reads `bundle`/config.json. A relative `root.path`, and the source of a bind mount, are
/// taken from the bundle.
///
/// Unknown properties are ignored, as the runtime-spec demands ("Extensibility"); a known
/// one of the wrong type is an error that names its path.
///
/// # Errors
/// When the file can't be read, isn't JSON, or doesn't fit the specification.
pub(crate) fn load(bundle: &Path) -> Result<Spec> {
    let bundle = std::path::absolute(bundle)
        .map_err(|error| Error::io("find the working directory", &error))?;
    interpret(&read(&bundle)?, &bundle)
}

/// The bytes of a bundle's config.json.
///
/// # Errors
/// When the file can't be read.
pub(crate) fn read(bundle: &Path) -> Result<Vec<u8>> {
    let file = bundle.join("config.json");
    std::fs::read(&file).map_err(|error| {
        Error::io(format!("read {}", file.display()), &error)
            .at("--bundle")
            .hint("a bundle is a directory with a config.json in it")
    })
}

/// Whether a config.json asks for a new network namespace and no user namespace, as far as can be
/// told before it is read: a namespace that engines write without a path is `"type": "network"`
/// and no more. Who goes by it has lost time where it is wrong, and may lose nothing else.
pub(crate) fn seems_to_make_network(text: &[u8]) -> bool {
    let text = str::from_utf8(text).unwrap_or_default();
    let list = text.split_once("\"namespaces\"").and_then(|(_, rest)| rest.split_once(']'));
    let list = list.map_or("", |(list, _)| list);
    let is_new =
        |kind: &str| list.split(kind).skip(1).any(|rest| rest.trim_start().starts_with('}'));
    is_new("\"network\"") && !is_new("\"user\"")
}

/// What the bytes of a config.json say; `bundle` is an absolute path.
///
/// # Errors
/// When they aren't JSON, or don't fit the specification.
pub(crate) fn interpret(text: &[u8], bundle: &Path) -> Result<Spec> {
    let step = || format!("read {}", bundle.join("config.json").display());
    let read = json::parse::<config::Spec>(text);
    let read = read.map_err(|misfit| Error::said(step(), misfit.reason).at(misfit.path))?;
    let mut spec = Spec::from(read);
    check_version(spec.version(), step)?;
    if let Some(root) = spec.root_mut() {
        if root.path().as_os_str().is_empty() {
            return Err(
                Error::said(step(), "the path of the root filesystem is missing").at("root.path")
            );
        }
        root.set_path(bundle.join(root.path()));
    }
    for mount in spec.mounts_mut().iter_mut().flatten().filter(|mount| is_bind(mount)) {
        let source = mount.source().as_ref().filter(|path| !path.as_os_str().is_empty());
        let source = source.map(|path| bundle.join(path));
        mount.set_source(source);
    }
    Ok(spec)
}

fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().iter().flatten();
    mount.typ().as_deref() == Some("bind")
        || options.into_iter().any(|option| matches!(option.as_str(), "bind" | "rbind"))
}

/// What a file says that holds a runtime-spec's `process` alone.
///
/// # Errors
/// When it isn't JSON, or doesn't fit the specification; the error names the field's path
/// as in a config.json.
pub(crate) fn process(text: &[u8], step: &str) -> Result<Process> {
    let misfit = match json::parse::<config::Process>(text) {
        Ok(process) => return Ok(process.into()),
        Err(misfit) => misfit,
    };
    let place = match misfit.path.as_str() {
        "" => String::new(),
        path => format!("process.{path}"),
    };
    Err(Error::said(step, misfit.reason).at(place))
}

/// `ociVersion` is a semantic version; what is newer than we know may mean something else.
fn check_version(version: &str, step: impl Fn() -> String) -> Result<()> {
    let refuse = |reason: String| {
        let hint = format!("minirun understands 1.0.0 to 1.{NEWEST_MINOR}.x");
        Err(Error::said(step(), reason).at("ociVersion").hint(hint))
    };
    if version.is_empty() {
        return refuse("the version of the specification is missing".to_owned());
    }
    let core = version.split(['-', '+']).next().unwrap_or_default();
    let numbers: Vec<Option<u64>> = core.split('.').map(|number| number.parse().ok()).collect();
    match numbers[..] {
        [Some(1), Some(minor), Some(_)] if minor <= NEWEST_MINOR => Ok(()),
        [Some(_), Some(_), Some(_)] => refuse(format!("version {version} is not supported")),
        _ => refuse(format!("{version:?} is not a semantic version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Result<Spec> {
        interpret(text.as_bytes(), Path::new("/bundle"))
    }

    fn error(text: &str) -> Error {
        spec(text).unwrap_err()
    }

    #[test]
    fn a_new_network_is_seen_before_the_rest_is_read() {
        let seems = |namespaces: &str| {
            let user = r#""user": {"uid": 0}, "args": ["network", "user"]"#;
            let text = format!(r#"{{"process": {{{user}}}, "namespaces": [{namespaces}]}}"#);
            seems_to_make_network(text.as_bytes())
        };
        assert!(seems(r#"{"type":"pid"},{"type":"network"}"#));
        assert!(seems("{\n\t\"type\": \"network\"\n}"));
        assert!(!seems(r#"{"type":"pid"}"#));
        assert!(!seems(r#"{"type":"network","path":"/proc/1/ns/net"}"#));
        assert!(!seems(r#"{"type":"network"},{"type":"user"}"#), "made inside of the other");
        assert!(!seems_to_make_network(b"\xff{\"network\"}"));
    }

    #[test]
    fn a_wrong_type_is_named_by_its_path() {
        let wrong =
            error(r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":"abc","gid":0}}}"#);
        assert_eq!(wrong.place(), Some("process.user.uid"));
        let wrong =
            error(r#"{"ociVersion":"1.0.0","mounts":[{"destination":"/a"},{"destination":7}]}"#);
        assert_eq!(wrong.place(), Some("mounts[1].destination"));
        let wrong = error(r#"{"ociVersion":"1.0.0","linux":{"namespaces":[{"type":"nonsense"}]}}"#);
        assert_eq!(wrong.place(), Some("linux.namespaces[0].type"));
    }

    #[test]
    fn the_words_of_the_runtime_spec_are_read_where_the_crate_has_others() {
        let text = |flag: &str| {
            format!(
                r#"{{"ociVersion":"1.3.0","process":{{"cwd":"/","user":{{"uid":0,"gid":0}},
                "scheduler":{{"policy":"SCHED_OTHER","flags":["{flag}"]}},
                "execCPUAffinity":{{"initial":""}}}}}}"#
            )
        };
        for flag in [
            "SCHED_FLAG_RESET_ON_FORK",
            "SCHED_FLAG_RECLAIM",
            "SCHED_FLAG_DL_OVERRUN",
            "SCHED_FLAG_KEEP_POLICY",
            "SCHED_FLAG_KEEP_PARAMS",
            "SCHED_FLAG_UTIL_CLAMP_MIN",
            "SCHED_FLAG_UTIL_CLAMP_MAX",
        ] {
            let spec = spec(&text(flag));
            assert!(spec.is_ok(), "{flag}: {spec:?}");
        }
        assert_eq!(error(&text("NONE")).place(), Some("process.scheduler.flags[0]"));
    }

    #[test]
    fn what_is_not_json_says_where() {
        assert!(error("{\"ociVersion\": ").to_string().contains("EOF"), "{}", error("{"));
        assert!(error("{} x").to_string().contains("trailing characters"));
        assert!(error("").place().is_none());
    }

    #[test]
    fn relative_sources_of_binds_are_in_the_bundle() {
        let text = r#"{"ociVersion":"1.0.0","mounts":[
            {"destination":"/a","source":"x","options":["rbind"]},
            {"destination":"/b","source":"/y","type":"bind"},
            {"destination":"/c","source":"tmpfs","type":"tmpfs"}]}"#;
        let spec = spec(text).unwrap();
        let sources = spec.mounts().iter().flatten().map(|mount| mount.source().clone().unwrap());
        let expected = ["/bundle/x", "/y", "tmpfs"].map(std::path::PathBuf::from);
        assert_eq!(sources.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_process_alone_is_read_and_its_fields_are_named_as_in_a_config() {
        let good = r#"{"cwd":"/","user":{"uid":0,"gid":0},
            "scheduler":{"policy":"SCHED_OTHER","flags":["SCHED_FLAG_DL_OVERRUN"]}}"#;
        assert!(process(good.as_bytes(), "read").is_ok());
        let wrong = process(br#"{"cwd":"/","user":{"uid":"x","gid":0}}"#, "read").unwrap_err();
        assert_eq!(wrong.place(), Some("process.user.uid"), "{wrong}");
        assert_eq!(process(b"", "read").unwrap_err().place(), None);
    }

    #[test]
    fn unknown_properties_are_ignored() {
        let text = r#"{"ociVersion":"1.0.0","futuristic":{"a":1},"process":{"argz":[],"cwd":"/","user":{"uid":0,"gid":0}}}"#;
        assert!(spec(text).is_ok());
    }

    #[test]
    fn versions_up_to_ours_are_understood() {
        for good in ["1.0.0", "1.0.2-dev", "1.1.0+build", "1.2.1", "1.3.0", "1.3.9"] {
            assert!(check_version(good, String::new).is_ok(), "{good}");
        }
        for bad in ["", "0.9.0", "1.4.0", "2.0.0", "1.0", "one", "1.0.x"] {
            let error = check_version(bad, String::new).expect_err(bad);
            assert_eq!(error.place(), Some("ociVersion"));
        }
    }
}
