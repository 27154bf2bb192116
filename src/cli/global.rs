//! Options that stand before the verb, read by hand: the verb's own parser isn't built yet,
//! and `run` should start fast.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use minirun::Error;
use minirun::container::Store;

use super::log::{Format, Log};
use super::table::wrapped;

/// What holds for every verb.
#[derive(Debug, Default)]
pub struct Global {
    /// Where the state of containers is; `None` for the user's default.
    pub root: Option<PathBuf>,
    pub log: Log,
    /// The caller wants systemd to make the cgroups.
    pub systemd_cgroup: bool,
}

/// What the command line turned out to be about.
#[derive(Debug)]
pub enum Asked {
    Help,
    Version,
    /// A verb and its arguments.
    Verb(OsString, Vec<OsString>),
    Nothing,
}

/// An option as the help, the manual and the completions have it.
pub struct Row {
    pub name: &'static str,
    /// What its value is called; empty for a switch.
    pub value: &'static str,
    pub about: &'static str,
}

/// All but --help and --version, which clap has by itself.
pub const OPTIONS: &[Row] = &[
    Row {
        name: "root",
        value: "DIR",
        about: "Keep the state of containers here [default: /run/minirun, or \
                $XDG_RUNTIME_DIR/minirun]",
    },
    Row { name: "log", value: "FILE", about: "Append errors to a file, too" },
    Row {
        name: "log-format",
        value: "text|json",
        about: "How lines of the log look [default: text]",
    },
    Row { name: "debug", value: "", about: "Log more than errors" },
    Row { name: "systemd-cgroup", value: "", about: "Have systemd make the cgroups of bundles" },
    Row {
        name: "rootless",
        value: "auto|true|false",
        about: "Accepted from callers; minirun finds out by itself which cgroups it may make",
    },
];

/// For `minirun --help`.
pub fn help() -> String {
    let mut text = String::new();
    for row in OPTIONS {
        let mut option = format!("      --{} {}", row.name, row.value);
        if option.len() > 30 {
            text += &format!("{option}\n");
            option.clear();
        }
        for line in wrapped(row.about, 49) {
            text += &format!("{option:30} {line}\n");
            option.clear();
        }
    }
    text + "  -h, --help                   Print help\n  -v, -V, --version            Print version\n"
}

impl Global {
    /// Reads the arguments up to the verb.
    ///
    /// # Errors
    /// An option that isn't known, or a value that isn't one.
    pub fn read(args: impl IntoIterator<Item = OsString>) -> Result<(Self, Asked), Error> {
        let mut args = args.into_iter();
        let mut global = Global::default();
        let mut log_file = None;
        let asked = loop {
            let Some(arg) = args.next() else { break Asked::Nothing };
            let Some((name, value)) = option(&arg) else {
                break Asked::Verb(arg, args.collect());
            };
            let mut value = || match &value {
                Some(value) => Ok(value.clone()),
                None => args.next().ok_or_else(|| wrong(&arg, "it needs a value")),
            };
            match name {
                b"root" => global.root = Some(value()?.into()),
                b"log" => log_file = Some(PathBuf::from(value()?)),
                b"log-format" => {
                    global.log.format = match value()?.as_bytes() {
                        b"text" => Format::Text,
                        b"json" => Format::Json,
                        _ => return Err(wrong(&arg, "a log is either text or json")),
                    };
                }
                b"debug" => global.log.debug = switch(&arg)?,
                b"systemd-cgroup" => global.systemd_cgroup = switch(&arg)?,
                b"rootless" => match value()?.as_bytes() {
                    b"auto" | b"true" | b"false" => {}
                    _ => return Err(wrong(&arg, "it is one of auto, true and false")),
                },
                // Callers name it although they never freeze a container to disk.
                b"criu" => drop(value()?),
                b"h" | b"help" => break Asked::Help,
                b"v" | b"V" | b"version" => break Asked::Version,
                _ => {
                    let names = OPTIONS.iter().map(|row| row.name).chain(["help", "version"]);
                    let name = String::from_utf8_lossy(name);
                    let error = wrong(&arg, "there is no such option");
                    return Err(match minirun::similar::to(&name, names) {
                        Some(meant) => error.hint(format!("a similar one exists: --{meant}")),
                        None => error.hint("see minirun --help; options of a verb come after it"),
                    });
                }
            }
        };
        global.log.file = log_file;
        Ok((global, asked))
    }

    /// The directory of the containers that this run of minirun is about.
    ///
    /// # Errors
    /// When none was named and there is no default.
    pub fn store(&self) -> Result<Store, Error> {
        Store::new(self.root.as_deref())
    }

    /// For a command in a root filesystem, which has no cgroupsPath to name a unit by.
    ///
    /// # Errors
    /// When systemd should make its cgroup.
    pub fn refuse_systemd(&self) -> Result<(), Error> {
        if !self.systemd_cgroup {
            return Ok(());
        }
        let reason = "it does so for bundles only";
        Err(Error::said("have systemd make the cgroup", reason)
            .at("--systemd-cgroup")
            .hint("systemd-run --scope minirun run … runs it in a unit of its own"))
    }
}

/// The name of an option without its dashes, and the value after an equals sign. One dash
/// or two are the same, since callers written in Go use both.
fn option(arg: &OsStr) -> Option<(&[u8], Option<OsString>)> {
    let bytes = arg.as_bytes();
    let rest = bytes.strip_prefix(b"--").or_else(|| bytes.strip_prefix(b"-"))?;
    let mut parts = rest.splitn(2, |byte| *byte == b'=');
    let name = parts.next()?;
    Some((name, parts.next().map(|value| OsStr::from_bytes(value).to_owned())))
}

fn switch(arg: &OsStr) -> Result<bool, Error> {
    match option(arg).and_then(|(_, value)| value).as_deref().map(OsStr::as_bytes) {
        None | Some(b"true") => Ok(true),
        Some(b"false") => Ok(false),
        Some(_) => Err(wrong(arg, "it is either true or false")),
    }
}

fn wrong(arg: &OsStr, reason: &str) -> Error {
    Error::said("read the command line", reason).at(arg.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Result<(Global, Asked), Error> {
        Global::read(words.split_whitespace().map(OsString::from))
    }

    #[test]
    fn options_end_at_the_verb() {
        let (global, asked) =
            read("--root /r --log=/l --log-format json --systemd-cgroup run --root /x id").unwrap();
        assert_eq!(global.root.as_deref(), Some("/r".as_ref()));
        assert_eq!(global.log.file.as_deref(), Some("/l".as_ref()));
        assert_eq!(global.log.format, Format::Json);
        assert!(global.systemd_cgroup && !global.log.debug);
        match asked {
            Asked::Verb(verb, args) => assert!(verb == "run" && args.len() == 3, "{args:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let (global, _) = read("-root /r -debug=false -rootless=true list").unwrap();
        assert_eq!(global.root.as_deref(), Some("/r".as_ref()));
        assert!(!global.log.debug);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (words, place) in [
            ("--log-format xml list", "--log-format"),
            ("--rootless=maybe list", "--rootless=maybe"),
            ("--debug=2 list", "--debug=2"),
            ("--nonsense list", "--nonsense"),
            ("--root", "--root"),
        ] {
            assert_eq!(read(words).expect_err(words).place(), Some(place));
        }
    }

    #[test]
    fn every_option_of_the_help_is_understood() {
        for row in OPTIONS {
            let value = row.value.split('|').next().unwrap_or_default();
            let words = format!("--{} {value} list", row.name);
            assert!(matches!(read(&words), Ok((_, Asked::Verb(..)))), "{words}");
        }
        let hint = read("--rot x list").unwrap_err().to_string();
        assert!(hint.ends_with("a similar one exists: --root"), "{hint}");
    }

    #[test]
    fn any_words_are_options_a_verb_or_a_mistake_that_is_named() {
        let pieces = [
            "--root",
            "-root",
            "--log",
            "--log-format",
            "text",
            "json",
            "--debug",
            "--criu",
            "run",
            "--systemd-cgroup",
            "--rootless",
            "auto",
            "true",
            "--",
            "=",
            "--help",
            "-v",
        ];
        crate::chance::fuzz(20_000, |_, chance| {
            let words: Vec<OsString> =
                (0..chance.below(6)).map(|_| chance.text(&pieces).into()).collect();
            match Global::read(words.clone()) {
                Ok((_, Asked::Verb(verb, args))) => {
                    assert!(words.ends_with(&args) && words.contains(&verb), "{words:?}");
                }
                Ok(_) => {}
                Err(error) => {
                    let place = error.place().unwrap_or_default();
                    assert!(words.iter().any(|word| word == place), "{words:?}: {error}");
                }
            }
        });
    }
}
