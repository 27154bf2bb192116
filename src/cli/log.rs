//! Where errors are told: on standard error, and in the file that `--log` names, in the
//! form that container engines read back.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::SystemTime;

use minirun::Error;
use minirun::plan::Plan;

/// How lines of the log look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// `time="…" level=error msg="…"`
    #[default]
    Text,
    /// `{"level":"error","msg":"…","time":"…"}`
    Json,
}

/// The destination of messages.
#[derive(Debug, Default)]
pub struct Log {
    pub file: Option<PathBuf>,
    pub format: Format,
    pub debug: bool,
}

impl Log {
    /// Sees to it that the file is there and can be written.
    ///
    /// # Errors
    /// When it can't.
    pub fn open(&self) -> Result<(), Error> {
        self.append("")
            .map_err(|(path, error)| Error::io(format!("open the log {path}"), &error).at("--log"))
    }

    /// Whether it is standard error alone, in words.
    pub fn is_for_people(&self) -> bool {
        self.file.is_none() && self.format == Format::Text && !self.debug
    }

    /// Tells an error: `speaker: message` for people, a line of the log for programs.
    pub fn error(&self, speaker: &str, message: &impl Display) {
        let message = message.to_string();
        let line = self.line("error", &message);
        // A caller that asked for JSON and named no file reads standard error.
        let spoken = match (&self.file, self.format) {
            (None, Format::Json) => line.clone(),
            _ => format!("{speaker}: {message}\n"),
        };
        // Nobody is left to be told that nothing can be told.
        let _ = std::io::stderr().write_all(spoken.as_bytes());
        let _ = self.append(&line);
    }

    /// What was left out of what was asked for: in the file, else on standard error.
    pub fn warn(&self, message: &str) {
        match (&self.file, self.format) {
            (None, Format::Text) => {
                let _ = writeln!(std::io::stderr(), "minirun: warning: {message}");
            }
            (None, Format::Json) => {
                let _ = std::io::stderr().write_all(self.line("warning", message).as_bytes());
            }
            (Some(_), _) => self.note("warning", message),
        }
    }

    /// What a plan leaves out, and for `--debug` its steps.
    pub fn announce(&self, plan: &Plan) {
        plan.warnings.iter().for_each(|warning| self.warn(warning));
        if self.debug {
            plan.steps.iter().for_each(|step| self.debug(|| step.to_string()));
        }
    }

    /// A line of the file only, if there is one.
    pub fn note(&self, level: &str, message: &str) {
        let _ = self.append(&self.line(level, message));
    }

    /// What happens, for `--debug`.
    pub fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug && self.file.is_some() {
            self.note("debug", &message());
        } else if self.debug {
            let _ = std::io::stderr().write_all(self.line("debug", &message()).as_bytes());
        }
    }

    /// One write a line, so that lines of several processes don't mix.
    fn append(&self, line: &str) -> Result<(), (String, std::io::Error)> {
        let Some(path) = &self.file else { return Ok(()) };
        File::options()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .map_err(|error| (path.display().to_string(), error))
    }

    fn line(&self, level: &str, message: &str) -> String {
        let time = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        match self.format {
            // Debug's quotes and escapes are those of logfmt.
            Format::Text => format!("time={time:?} level={level} msg={message:?}\n"),
            Format::Json => {
                format!("{}\n", serde_json::json!({"level": level, "msg": message, "time": time}))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_whole_whatever_the_message_holds() {
        let message = "mount \"a\"\nb\\c";
        let text = Log::default().line("error", message);
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("level=error msg=\"mount \\\"a\\\"\\nb\\\\c\"\n"), "{text}");
        let log = Log { format: Format::Json, ..Log::default() };
        let json: serde_json::Value = serde_json::from_str(&log.line("error", message)).unwrap();
        assert_eq!((&json["level"], &json["msg"]), (&"error".into(), &message.into()));
    }
}
