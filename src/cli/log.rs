//! Where errors are told: on standard error, and in the file that `--log` names, in the
//! form that container engines read back.

use std::fmt::Display;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use minirun::Error;

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

    /// A line of the file only, if there is one.
    pub fn note(&self, level: &str, message: &str) {
        let _ = self.append(&self.line(level, message));
    }

    /// What happens, for `--debug`.
    pub fn debug(&self, message: &str) {
        if self.debug && self.file.is_some() {
            self.note("debug", message);
        } else if self.debug {
            let _ = std::io::stderr().write_all(self.line("debug", message).as_bytes());
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
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let time = rfc3339(seconds);
        match self.format {
            // Debug's quotes and escapes are those of logfmt.
            Format::Text => format!("time={time:?} level={level} msg={message:?}\n"),
            Format::Json => {
                format!("{}\n", serde_json::json!({"level": level, "msg": message, "time": time}))
            }
        }
    }
}

/// Seconds since 1970 as `2026-11-21T15:20:00Z`.
fn rfc3339(seconds: u64) -> String {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March put the leap day last; 719,468 days lie before 1970.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = era * 400 + year + u64::from(month <= 2);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_the_calendar() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(951_782_399), "2000-02-28T23:59:59Z");
        assert_eq!(rfc3339(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(rfc3339(1_735_689_599), "2024-12-31T23:59:59Z");
        assert_eq!(rfc3339(4_107_542_400), "2100-03-01T00:00:00Z");
    }

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
