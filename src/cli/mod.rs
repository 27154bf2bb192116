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
pub mod help;
mod kill;
mod lab;
mod list;
mod log;
mod ns;
mod pause;
mod plan;
mod progress;
mod ps;
mod quick;
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

use std::ffi::{CStr, OsStr, OsString};
use std::io::{Read, Write};

use clap::Parser;
use clap::error::ErrorKind;
use global::{Asked, Global};
use help::Purpose;
use minirun::{Arguments, Error};
use quick::Words;

/// A verb: only the parser of the one that was asked for is built, and often not even that.
struct Verb {
    name: &'static str,
    room: Room,
    purpose: Purpose,
    notes: &'static str,
    parser: fn() -> clap::Command,
    carry_out: fn(&Verb, Vec<OsString>, &Global) -> Result<u8, Error>,
}

/// Whose conventions a verb follows when it fails.
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
    verb::<run::Run>("run", Room::Own, Purpose::Run),
    verb::<exec::Exec>("exec", Room::Inside, Purpose::Run),
    verb::<spec::Write>("spec", Room::Oci, Purpose::Run),
    verb::<lab::Lab>("lab", Room::Own, Purpose::Learn),
    verb::<plan::Print>("plan", Room::Own, Purpose::Learn),
    verb::<ns::Ns>("ns", Room::Own, Purpose::Learn),
    verb::<audit::Print>("audit", Room::Own, Purpose::Learn),
    verb::<create::Create>("create", Room::Oci, Purpose::Operate),
    verb::<start::Start>("start", Room::Oci, Purpose::Operate),
    verb::<state::State>("state", Room::Oci, Purpose::Operate),
    verb::<list::List>("list", Room::Oci, Purpose::Operate),
    verb::<kill::Kill>("kill", Room::Oci, Purpose::Operate),
    verb::<delete::Delete>("delete", Room::Oci, Purpose::Operate),
    verb::<ps::Ps>("ps", Room::Oci, Purpose::Operate),
    verb::<pause::Pause>("pause", Room::Oci, Purpose::Operate),
    verb::<pause::Resume>("resume", Room::Oci, Purpose::Operate),
    verb::<update::Update>("update", Room::Oci, Purpose::Operate),
    verb::<events::Events>("events", Room::Oci, Purpose::Operate),
    verb::<stats::Stats>("stats", Room::Oci, Purpose::Operate),
    verb::<features::Features>("features", Room::Oci, Purpose::Operate),
];

/// The arguments of a verb, which know what to do.
trait CarryOut: Parser {
    /// What its help ends with: examples, and what else is to be known.
    const NOTES: &'static str = "";

    /// Reads a plain command line; `None` leaves it to the parser.
    fn quick(_: &mut Words) -> Option<Self> {
        None
    }

    /// The container whose others, hooks or processes this may have to wait for.
    fn waits_for(&self) -> Option<&str> {
        None
    }

    /// Does what was asked for; gives the exit status.
    fn carry_out(&self, global: &Global) -> Result<u8, Error>;
}

const fn verb<V: CarryOut>(name: &'static str, room: Room, purpose: Purpose) -> Verb {
    let (parser, carry_out) = (V::command, carry_out::<V>);
    Verb { name, room, purpose, notes: V::NOTES, parser, carry_out }
}

fn carry_out<V: CarryOut>(row: &Verb, args: Vec<OsString>, global: &Global) -> Result<u8, Error> {
    let read = match V::quick(&mut Words::new(&args)) {
        Some(verb) => Ok(verb),
        None => {
            parser(row).try_get_matches_from(args).and_then(|matches| V::from_arg_matches(&matches))
        }
    };
    let verb = match read {
        Ok(verb) => verb,
        Err(usage) => return Ok(misused(row, global, &usage)),
    };
    match verb.waits_for() {
        Some(id) => waiting(row.name, id, global, || verb.carry_out(global)),
        None => verb.carry_out(global),
    }
}

/// Verbs that bring a process of minirun's into a container.
const SHIELDED: &[&str] = &["run", "create", "exec"];

/// Parses the arguments and carries out the verb; gives the exit status.
pub fn main(arguments: Arguments) -> u8 {
    if let Err(error) = arguments.settle() {
        let error = Error::io("look at the standard descriptors", &error);
        return fail(&Global::default(), &error);
    }
    // Before anything is read, since that would be done twice. It does no harm where such a
    // word turns out to be something else.
    let is_verb = |word: &CStr| SHIELDED.iter().any(|verb| verb.as_bytes() == word.to_bytes());
    let shielded = match arguments.words().any(is_verb) {
        true => minirun::protection::shield_program(arguments),
        false => Ok(()),
    };
    match Global::read(arguments.owned().skip(1)) {
        Ok((global, Asked::Help)) => shown(&global, &help::text()),
        Ok((global, Asked::Version)) => shown(&global, &version()),
        Ok((global, Asked::Verb(name, args))) => dispatch(&global, &name, args, shielded),
        Ok((_, Asked::Nothing)) => {
            // As with every usage error, what helps goes where errors go.
            let _ = std::io::stderr().write_all(help::text().as_bytes());
            125
        }
        Err(error) => {
            log::Log::default().error("minirun", &error);
            125
        }
    }
}

fn dispatch(global: &Global, name: &OsStr, args: Vec<OsString>, shielded: Result<(), Error>) -> u8 {
    if let Err(error) = global.log.open() {
        log::Log::default().error("minirun: error", &error);
        return 1;
    }
    if name == "help" {
        return match args.first().map(|name| found(name)) {
            None => shown(global, &help::text()),
            Some(Ok(verb)) => shown(global, &help::of_verb(verb)),
            Some(Err(error)) => fail(global, &error),
        };
    }
    let verb = match found(name) {
        Ok(verb) => verb,
        Err(error) => return fail(global, &error),
    };
    global.log.debug(|| format!("{} {args:?}", verb.name));
    let shielded = if SHIELDED.contains(&verb.name) { shielded } else { Ok(()) };
    let outcome = shielded.and_then(|()| (verb.carry_out)(verb, args, global));
    outcome.unwrap_or_else(|error| verb.failed(global, &error))
}

fn waiting(
    verb: &str,
    id: &str,
    global: &Global,
    carry_out: impl FnOnce() -> Result<u8, Error>,
) -> Result<u8, Error> {
    let what = || {
        let file = global.store().map(|store| store.root().join(id)).ok();
        let holder = file.and_then(|file| progress::holder(&file));
        match holder.filter(|pid| u32::try_from(*pid) != Ok(std::process::id())) {
            Some(pid) => format!("{verb} {id}: waiting for process {pid}, which changes it"),
            None => format!("{verb} {id}"),
        }
    };
    progress::told(global, what, carry_out)
}

fn found(name: &OsStr) -> Result<&'static Verb, Error> {
    if let Some(verb) = VERBS.iter().find(|verb| name == verb.name) {
        return Ok(verb);
    }
    let names: Vec<&str> = VERBS.iter().map(|verb| verb.name).collect();
    let typed = name.to_string_lossy();
    let error = Error::said("read the command line", "there is no such verb").at(typed.clone());
    Err(match minirun::similar::to(&typed, names.iter().copied()) {
        Some(meant) => error.hint(format!("a similar verb exists: {meant}")),
        None => error.hint(format!("it is one of {}", names.join(", "))),
    })
}

fn fail(global: &Global, error: &Error) -> u8 {
    global.log.error("minirun", error);
    error.exit_code()
}

impl Verb {
    fn failed(&self, global: &Global, error: &Error) -> u8 {
        match self.room {
            Room::Own => fail(global, error),
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
    if matches!(usage.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return shown(global, &help::of_verb(verb));
    }
    let _ = usage.print();
    let text = usage.to_string();
    let first = text.lines().next().unwrap_or_default();
    if let Some(option) =
        global::OPTIONS.iter().find(|row| first.contains(&format!("'--{}'", row.name)))
    {
        let _ = writeln!(
            std::io::stderr(),
            "--{} stands before the verb, as in minirun --root DIR list",
            option.name
        );
    }
    global.log.note("error", first.trim_start_matches("error: "));
    verb.room.failure()
}

/// An option's name that a verb has, like one that it hasn't.
fn similar_option(verb: &str, option: &str) -> Option<String> {
    let parser = VERBS.iter().find(|row| row.name == verb).map(parser)?;
    let names: Vec<&str> = parser.get_arguments().filter_map(clap::Arg::get_long).collect();
    let (name, _) = option.split_once('=').unwrap_or((option, ""));
    let meant = minirun::similar::to(name.strip_prefix("--")?, names);
    meant.map(|meant| format!("--{meant}"))
}

fn parser(verb: &Verb) -> clap::Command {
    (verb.parser)()
        .name(verb.name)
        .bin_name(format!("minirun {}", verb.name))
        .no_binary_name(true)
        .max_term_width(100)
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
        Err(error) => fail(global, &error),
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
