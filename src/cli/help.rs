//! What `--help` prints, and the whole command line as one definition. None of it is built
//! when a verb is carried out.

use clap::{Arg, ArgAction, Command};

use super::table::wrapped;
use super::{VERBS, Verb, global, parser};

/// What somebody wants who looks for a verb.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Learn,
    Run,
    Operate,
}

const TITLES: &[(Purpose, &str)] = &[
    (Purpose::Learn, "To learn what a container is made of"),
    (Purpose::Run, "To run something"),
    (Purpose::Operate, "To operate containers, as an OCI runtime"),
];

/// `minirun --help`.
pub fn text() -> String {
    let mut verbs = String::new();
    for (purpose, title) in TITLES {
        verbs += &format!("{title}:\n");
        for verb in VERBS.iter().filter(|verb| verb.purpose == *purpose) {
            let about = parser(verb).get_about().map(ToString::to_string).unwrap_or_default();
            verbs += &format!("  {:9} {about}\n", verb.name);
        }
        verbs.push('\n');
    }
    format!(
        "\
A minimal container runtime: a directory and a command in Linux namespaces

Usage: minirun [OPTIONS] VERB [ARGUMENTS]...

{verbs}Options, before the verb:
{}
Try:  minirun run ./rootfs /bin/sh        a shell in a container
      minirun run --explain ./rootfs ps   every step, told as it is taken
      minirun plan ./rootfs               the steps, without taking them
      minirun VERB --help                 all about a verb, with examples
",
        global::help(),
    )
}

/// `minirun VERB --help`: all that there is to say, and an option a line.
pub(super) fn of_verb(verb: &Verb) -> String {
    let command = with_notes(verb);
    let about = command.get_long_about().or(command.get_about()).map(ToString::to_string);
    let about = about.unwrap_or_default();
    let about: Vec<String> = about.split("\n\n").map(|part| wrapped(part, 80).join("\n")).collect();
    let mut command = command.long_about(None::<&str>).about(about.join("\n\n"));
    format!("{}\n", command.render_help().to_string().trim_end())
}

fn with_notes(verb: &Verb) -> Command {
    parser(verb).after_help(verb.notes)
}

/// The whole command line, for manual pages and completions.
#[allow(dead_code, reason = "manual/main.rs has this module too")]
pub fn definition() -> Command {
    let option = |row: &global::Row| {
        let arg = Arg::new(row.name).long(row.name).help(row.about);
        match row.value {
            "" => arg.action(ArgAction::SetTrue),
            value => arg.value_name(value),
        }
    };
    Command::new("minirun")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a command in a container, or a bundle as an OCI runtime does")
        .args(global::OPTIONS.iter().map(option))
        .subcommands(VERBS.iter().map(with_notes))
        .subcommand_value_name("VERB")
        .disable_help_subcommand(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_has_its_place_and_says_in_a_line_what_it_does() {
        let text = text();
        for verb in VERBS {
            let line = format!("\n  {:9} ", verb.name);
            assert_eq!(text.matches(&line).count(), 1, "{}", verb.name);
        }
        let wide = text.lines().find(|line| line.chars().count() > 80);
        assert_eq!(wide, None);
    }

    #[test]
    fn the_definition_is_consistent_and_its_examples_are_understood() {
        definition().debug_assert();
        for verb in VERBS {
            let start = format!("minirun {} ", verb.name);
            let examples = verb.notes.lines().filter_map(|line| line.trim().strip_prefix(&start));
            for example in examples {
                // Two spaces end the words, and the shell's operators a command.
                let words = example.split("  ").next().unwrap_or_default();
                let words = words.split([';', '&', '|', '>']).next().unwrap_or_default();
                let parsed = parser(verb).try_get_matches_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{start}{words}: {}", parsed.unwrap_err());
            }
        }
    }
}
