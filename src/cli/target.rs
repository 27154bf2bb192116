//! What the word after `run` names: a root filesystem, or a container to be made of a bundle.

use std::path::Path;

use minirun::Error;

/// The two things that can be run.
#[derive(Debug, PartialEq, Eq)]
pub enum Target<'a> {
    /// A directory that becomes the container's root filesystem.
    Rootfs(&'a str),
    /// The id of the container that a bundle becomes.
    Bundle(&'a str),
}

/// What was typed besides the word.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The bundle, if there were options that only a bundle can have.
    pub bundle: Option<&'a Path>,
    /// Whether there was a command, or an option that no bundle can have.
    pub shaped: bool,
}

/// What the working directory holds.
#[derive(Debug, Clone, Copy)]
pub struct Here {
    /// A directory of the word's name.
    directory: bool,
    /// A config.json.
    config: bool,
}

impl Here {
    pub fn look(word: &str) -> Self {
        Here { directory: Path::new(word).is_dir(), config: Path::new("config.json").is_file() }
    }
}

impl<'a> Target<'a> {
    /// Decides by what was typed where that is possible: a path with a slash is a root
    /// filesystem, since an id has none.
    ///
    /// # Errors
    /// When both or neither are meant; it says how to say it.
    pub fn decide(word: &'a str, asked: Asked<'_>, here: Here) -> Result<Self, Error> {
        let refuse =
            |reason: &str, hint: String| Err(Error::said(format!("run {word}"), reason).hint(hint));
        let is_path = word.contains('/') || word == "." || word == "..";
        match (asked.bundle, asked.shaped) {
            (Some(_), _) if is_path => refuse(
                "the id of a container has no slash",
                "without options of bundles it is a root filesystem".to_owned(),
            ),
            (Some(bundle), true) => refuse(
                "a command, or options that only a root filesystem can have, stand beside a bundle",
                format!("{}/config.json says what to run and how", bundle.display()),
            ),
            (Some(_), false) => Ok(Target::Bundle(word)),
            (None, shaped) if is_path || shaped => Ok(Target::Rootfs(word)),
            (None, _) => match (here.directory, here.config) {
                (true, false) => Ok(Target::Rootfs(word)),
                (false, true) => Ok(Target::Bundle(word)),
                (true, true) => refuse(
                    "it is a directory here, and could be an id for the config.json here",
                    format!("say ./{word} for the root filesystem, or --bundle . {word}"),
                ),
                (false, false) => refuse(
                    "there is no such directory, and no config.json here to make a container of",
                    "name a root filesystem by its path, or a bundle by --bundle DIR ID".to_owned(),
                ),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(word: &str, bundle: Option<&str>, shaped: bool, here: (bool, bool)) -> String {
        let asked = Asked { bundle: bundle.map(Path::new), shaped };
        match Target::decide(word, asked, Here { directory: here.0, config: here.1 }) {
            Ok(Target::Rootfs(path)) => format!("rootfs {path}"),
            Ok(Target::Bundle(id)) => format!("bundle {id}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_slash_is_a_path_and_an_option_of_bundles_a_bundle() {
        assert_eq!(decide("./box", None, false, (true, true)), "rootfs ./box");
        assert_eq!(decide(".", None, false, (true, true)), "rootfs .");
        assert_eq!(decide("box", Some("/b"), false, (true, true)), "bundle box");
        assert!(decide("./box", Some("/b"), false, (true, true)).contains("has no slash"));
        assert!(decide("box", Some("/b"), true, (true, true)).contains("/b/config.json says"));
    }

    #[test]
    fn a_bare_word_is_what_there_is() {
        assert_eq!(decide("box", None, false, (true, false)), "rootfs box");
        assert_eq!(decide("box", None, false, (false, true)), "bundle box");
        assert_eq!(decide("box", None, true, (true, true)), "rootfs box");
    }

    #[test]
    fn doubt_is_an_error_that_says_how_to_say_it() {
        let both = decide("box", None, false, (true, true));
        assert!(both.contains("./box") && both.contains("--bundle . box"), "{both}");
        let neither = decide("box", None, false, (false, false));
        assert!(neither.contains("--bundle DIR ID"), "{neither}");
    }
}
