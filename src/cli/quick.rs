//! Plain command lines, read without a parser: building clap's of a verb takes longer than
//! planning a container.
//!
//! Plain are those that container engines write, and most people. Whatever else there is, a
//! mistake first of all, is clap's to read: a verb says `None` as soon as it is in doubt. A
//! test holds that both understand the same.

use std::ffi::OsString;
use std::slice::Iter;

/// The words behind a verb.
pub struct Words<'a>(Iter<'a, OsString>);

impl<'a> Words<'a> {
    pub fn new(words: &'a [OsString]) -> Self {
        Words(words.iter())
    }

    /// The next word if it looks like an option.
    pub fn option(&mut self) -> Option<&'a str> {
        let option = self.0.as_slice().first()?.to_str().filter(|word| word.starts_with('-'))?;
        self.0.next();
        Some(option)
    }

    /// The value of an option that may stand once; no plain one begins with a dash.
    pub fn value<T: From<&'a str>>(&mut self, place: &mut Option<T>) -> Option<()> {
        let value = T::from(self.word()?);
        place.replace(value).is_none().then_some(())
    }

    /// A word that isn't an option.
    pub fn word(&mut self) -> Option<&'a str> {
        self.0.next()?.to_str().filter(|word| !word.is_empty() && !word.starts_with('-'))
    }

    /// A command and its arguments, to the end of the line; none is fine.
    pub fn command(&mut self) -> Option<Vec<String>> {
        let mut command = Vec::with_capacity(self.0.len());
        if self.0.len() > 0 {
            command.push(self.word()?.to_owned());
        }
        for word in &mut self.0 {
            command.push(word.to_str().filter(|word| *word != "--")?.to_owned());
        }
        Some(command)
    }

    /// Nothing may follow.
    pub fn end(&mut self) -> Option<()> {
        self.0.next().is_none().then_some(())
    }
}

/// A switch that may stand once.
pub fn switch(place: &mut bool) -> Option<()> {
    (!std::mem::replace(place, true)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{self, CarryOut};

    /// Whether the line was plain; clap has to say the same of it then.
    fn is_plain<V: CarryOut + std::fmt::Debug>(name: &str, words: &[OsString]) -> bool {
        let Some(quick) = V::quick(&mut Words::new(words)) else { return false };
        let verb = cli::VERBS.iter().find(|verb| verb.name == name).unwrap();
        let parsed = cli::parser(verb).try_get_matches_from(words);
        let parsed = parsed.and_then(|matches| V::from_arg_matches(&matches));
        let parsed = parsed.unwrap_or_else(|error| panic!("{words:?}: {error}"));
        assert_eq!(format!("{quick:?}"), format!("{parsed:?}"), "{words:?}");
        true
    }

    fn any_is_plain(name: &str, words: &[OsString]) -> bool {
        match name {
            "run" => is_plain::<cli::run::Run>(name, words),
            "create" => is_plain::<cli::create::Create>(name, words),
            "exec" => is_plain::<cli::exec::Exec>(name, words),
            "start" => is_plain::<cli::start::Start>(name, words),
            "state" => is_plain::<cli::state::State>(name, words),
            "kill" => is_plain::<cli::kill::Kill>(name, words),
            "delete" => is_plain::<cli::delete::Delete>(name, words),
            _ => panic!("{name} has no plain form"),
        }
    }

    const LINES: [&str; 14] = [
        "run ./rootfs",
        "run ./rootfs /bin/echo --help -x",
        "run --bundle /b web",
        "run -b /b --pid-file /p web",
        "create --bundle /b --pid-file /p web",
        "create --bundle /b --pid-file /p --console-socket /s web",
        "exec web ps -ef",
        "exec --process /p --pid-file /q --detach web",
        "exec --console-socket /s --tty --process /p --detach --pid-file /q web",
        "start web",
        "state web",
        "kill web 9",
        "kill --all web KILL",
        "delete --force web",
    ];

    #[test]
    fn the_lines_of_engines_are_plain() {
        for line in LINES {
            let mut words = line.split_whitespace().map(OsString::from);
            let name = words.next().unwrap().into_string().unwrap();
            assert!(any_is_plain(&name, &words.collect::<Vec<_>>()), "{line}");
        }
    }

    #[test]
    fn any_plain_line_is_understood_as_clap_does() {
        let pieces: Vec<&str> = LINES.iter().flat_map(|line| line.split_whitespace()).collect();
        let more =
            ["--", "-", "-d", "-f", "-a", "-t", "-bx", "--bundle=/b", "--tty", "--keep", "9"];
        let pieces = [pieces, more.to_vec()].concat();
        let names = ["run", "create", "exec", "start", "state", "kill", "delete"];
        let mut plain = 0;
        crate::chance::fuzz(10_000, |_, chance| {
            let words: Vec<OsString> =
                (0..chance.below(7)).map(|_| chance.text(&pieces).into()).collect();
            plain += usize::from(any_is_plain(names[chance.below(names.len())], &words));
        });
        assert!(plain > 0);
    }
}
