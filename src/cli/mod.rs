//! The command line: parsing and printing, nothing else.

mod audit;
mod bundle;
mod create;
mod delete;
mod events;
mod exec;
mod features;
mod files;
mod global;
mod kill;
mod lab;
mod list;
mod log;
mod ns;
mod pause;
mod plan;
mod ps;
mod run;
mod settings;
mod spec;
mod start;
mod state;
mod stats;
mod table;
mod target;
mod update;
mod values;

use std::ffi::{OsStr, OsString};
use std::io::{Read, Write};

use clap::error::ErrorKind;
use clap::{ArgMatches, Parser};
use global::{Asked, Global};
use minirun::Error;

/// A verb: only the parser of the one that was asked for is built.
struct Verb {
    name: &'static str,
    room: Room,
    parser: fn() -> clap::Command,
    carry_out: fn(&ArgMatches, &Global) -> Result<u8, Error>,
}

/// Whose conventions a verb follows: its place in the help, and how it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Room {
    /// minirun's own: as `docker run`, 125 to 127.
    Own,
    /// An OCI runtime's: 1.
    Oci,
    /// An OCI runtime's where 1 could be the command's own: 255.
    Inside,
}

const VERBS: &[Verb] = &[
    verb::<run::Run>("run", Room::Own),
    verb::<plan::Print>("plan", Room::Own),
    verb::<audit::Print>("audit", Room::Own),
    verb::<ns::Ns>("ns", Room::Own),
    verb::<lab::Lab>("lab", Room::Own),
    verb::<spec::Write>("spec", Room::Oci),
    verb::<create::Create>("create", Room::Oci),
    verb::<start::Start>("start", Room::Oci),
    verb::<state::State>("state", Room::Oci),
    verb::<list::List>("list", Room::Oci),
    verb::<kill::Kill>("kill", Room::Oci),
    verb::<delete::Delete>("delete", Room::Oci),
    verb::<exec::Exec>("exec", Room::Inside),
    verb::<ps::Ps>("ps", Room::Oci),
    verb::<pause::Pause>("pause", Room::Oci),
    verb::<pause::Resume>("resume", Room::Oci),
    verb::<update::Update>("update", Room::Oci),
    verb::<events::Events>("events", Room::Oci),
    verb::<stats::Stats>("stats", Room::Oci),
    verb::<features::Features>("features", Room::Oci),
];

/// The arguments of a verb, which know what to do.
trait CarryOut: Parser {
    /// Does what was asked for; gives the exit status.
    fn carry_out(&self, global: &Global) -> Result<u8, Error>;
}

const fn verb<V: CarryOut>(name: &'static str, room: Room) -> Verb {
    let carry_out = |matches: &ArgMatches, global: &Global| match V::from_arg_matches(matches) {
        Ok(verb) => verb.carry_out(global),
        Err(error) => Err(Error::said("read the command line", error.to_string())),
    };
    Verb { name, room, parser: V::command, carry_out }
}

/// Parses the arguments and carries out the verb; gives the exit status.
pub fn main() -> u8 {
    match Global::read(std::env::args_os().skip(1)) {
        Ok((global, Asked::Help)) => shown(&global, &help()),
        Ok((global, Asked::Version)) => shown(&global, &version()),
        Ok((global, Asked::Verb(name, args))) => dispatch(&global, &name, args),
        Ok((_, Asked::Nothing)) => {
            // As with every usage error, what helps goes where errors go.
            let _ = std::io::stderr().write_all(help().as_bytes());
            125
        }
        Err(error) => {
            log::Log::default().error("minirun", &error);
            125
        }
    }
}

fn dispatch(global: &Global, name: &OsStr, args: Vec<OsString>) -> u8 {
    if let Err(error) = global.log.open() {
        log::Log::default().error("minirun: error", &error);
        return 1;
    }
    if name == "help" {
        let verb = args.first().and_then(|name| VERBS.iter().find(|verb| name == verb.name));
        return match verb {
            Some(verb) => shown(global, &parser(verb).render_long_help().to_string()),
            None => shown(global, &help()),
        };
    }
    let Some(verb) = VERBS.iter().find(|verb| name == verb.name) else {
        let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
        let error = Error::said("read the command line", "there is no such verb")
            .at(name.to_string_lossy())
            .hint(format!("it is one of {}", names.join(", ")));
        global.log.error("minirun", &error);
        return 125;
    };
    global.log.debug(&format!("{} {args:?}", verb.name));
    // Before the arguments are parsed, since that would be done twice.
    let shielded = match verb.name {
        "run" | "create" | "exec" => minirun::protection::shield_own_binary(),
        _ => Ok(()),
    };
    let outcome = shielded.and_then(|()| match parser(verb).try_get_matches_from(args) {
        Ok(matches) => (verb.carry_out)(&matches, global),
        Err(usage) => Ok(misused(verb, global, &usage)),
    });
    outcome.unwrap_or_else(|error| verb.failed(global, &error))
}

impl Verb {
    fn failed(&self, global: &Global, error: &Error) -> u8 {
        match self.room {
            Room::Own => {
                global.log.error("minirun", error);
                error.exit_code()
            }
            Room::Oci | Room::Inside => {
                global.log.error("minirun: error", error);
                self.room.failure()
            }
        }
    }
}

impl Room {
    /// The status of a verb that doesn't come to its own.
    fn failure(self) -> u8 {
        match self {
            Room::Own => 125,
            Room::Oci => 1,
            Room::Inside => 255,
        }
    }
}

/// How the verbs of an OCI runtime fail.
fn fail_as_oci(global: &Global, error: &Error) -> u8 {
    global.log.error("minirun: error", error);
    Room::Oci.failure()
}

/// Wrong arguments, or a request for help.
fn misused(verb: &Verb, global: &Global, usage: &clap::Error) -> u8 {
    // A reader that went away, as in `minirun run --help | head -1`, has seen enough.
    let _ = usage.print();
    if matches!(usage.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return 0;
    }
    let text = usage.to_string();
    let first = text.lines().next().unwrap_or_default();
    if let Some(option) = global::NAMES.iter().find(|name| first.contains(&format!("'{name}'"))) {
        let _ = writeln!(
            std::io::stderr(),
            "{option} stands before the verb, as in minirun --root DIR list"
        );
    }
    global.log.note("error", first.trim_start_matches("error: "));
    verb.room.failure()
}

fn parser(verb: &Verb) -> clap::Command {
    (verb.parser)()
        .name(verb.name)
        .bin_name(format!("minirun {}", verb.name))
        .no_binary_name(true)
        .max_term_width(100)
}

fn help() -> String {
    let list = |own: bool| -> String {
        let verbs = VERBS.iter().filter(|verb| (verb.room == Room::Own) == own);
        let line = |verb: &Verb| {
            let about = (verb.parser)().get_about().map(ToString::to_string).unwrap_or_default();
            format!("  {:9} {about}\n", verb.name)
        };
        verbs.map(line).collect()
    };
    format!(
        "\
A minimal container runtime: a directory and a command, isolated by Linux namespaces

Usage: minirun [OPTIONS] VERB [ARGUMENTS]...

From a directory and a command:
{}
As an OCI runtime, from a bundle's config.json:
{}
Options, before the verb:
{}
Try:  minirun run ./rootfs /bin/sh        a shell in a container
      minirun run --explain ./rootfs ps   every step, told as it is taken
      minirun plan ./rootfs               the steps, without taking them
      minirun VERB --help                 all about a verb
",
        list(true),
        list(false),
        global::HELP
    )
}

/// Container engines look for the words `version` and `commit:`.
fn version() -> String {
    let commit = option_env!("MINIRUN_COMMIT").unwrap_or("unknown");
    let version = env!("CARGO_PKG_VERSION");
    format!("minirun version {version}\ncommit: {commit}\nspec: {}\n", minirun::SPEC_VERSION)
}

/// Prints a value as JSON, in lines for people too.
fn print_json(value: &impl serde::Serialize) -> Result<u8, Error> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|error| Error::said("write JSON", error.to_string()))?;
    print(&(text + "\n"))?;
    Ok(0)
}

/// Reads JSON that an option names, a file or `-` for standard input; what is wrong in it
/// is told by its path.
fn read_json<T: serde::de::DeserializeOwned>(file: &str, option: &str) -> Result<T, Error> {
    let mut text = String::new();
    let read = match file {
        "-" => std::io::stdin().read_to_string(&mut text).map(drop),
        file => std::fs::read_to_string(file).map(|content| text = content),
    };
    read.map_err(|error| Error::io(format!("read {file}"), &error).at(option))?;
    parse_json(&text, option)
}

fn parse_json<T: serde::de::DeserializeOwned>(text: &str, option: &str) -> Result<T, Error> {
    minirun::json::parse(text.as_bytes()).map_err(|misfit| {
        let place = format!("{option} {}", misfit.path);
        Error::said("read JSON", misfit.reason).at(place.trim_end())
    })
}

fn shown(global: &Global, text: &str) -> u8 {
    match print(text) {
        Ok(()) => 0,
        Err(error) => {
            global.log.error("minirun", &error);
            error.exit_code()
        }
    }
}

/// Writes to standard output; a reader that went away has seen enough.
fn print(text: &str) -> Result<(), Error> {
    print_to_reader(text).map(drop)
}

/// The same; whether there is a reader for more.
fn print_to_reader(text: &str) -> Result<bool, Error> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Error::io("write to standard output", &error)),
        Ok(()) => Ok(true),
    }
}
