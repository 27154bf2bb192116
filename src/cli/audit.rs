//! `minirun audit`: what a process in a container can and can't do.

use std::path::{Path, PathBuf};

use clap::{Parser, ValueEnum};
use minirun::{Audit, Bundle, Error, Finding, Grade, container};

use super::CarryOut;
use super::global::Global;
use super::settings::Settings;
use super::table::{self, Format, Formatted};

/// Grade what a process in a container can and can't do
#[derive(Debug, Parser)]
#[command(override_usage = "minirun audit [OPTIONS] [OPTIONS OF RUN] ROOTFS [COMMAND]...
       minirun audit [OPTIONS] CONTAINER
       minirun audit [OPTIONS] --bundle DIR")]
pub struct Print {
    /// Root filesystem of a container that would be run, or the id of one that runs
    #[arg(value_name = "ROOTFS|CONTAINER", required_unless_present = "bundle")]
    target: Option<String>,
    /// What it would run
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Judge the config.json in DIR
    #[arg(short, long, value_name = "DIR", conflicts_with_all = ["Settings", "target", "command"])]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    formatted: Formatted,
    /// Exit with 1 when something is as bad as this, or worse
    #[arg(long, value_name = "weak|dangerous", hide_possible_values = true)]
    fail_on: Option<FailOn>,
    #[command(flatten)]
    settings: Option<Settings>,
}

/// `--fail-on`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailOn {
    Weak,
    Dangerous,
}

impl CarryOut for Print {
    const NOTES: &'static str = "\
Grades:
  ok         as it should be
  weak       helps whoever found a hole elsewhere, or harms other containers
  dangerous  a way to the host by itself

A CONTAINER is judged by what the kernel says of its first process, the others by what
they ask for; nothing is started.

Examples:
  minirun audit ./rootfs                            what run ./rootfs would permit
  minirun audit --fail-on dangerous --bundle DIR    a check for CI
  minirun audit web                                 a container that runs";

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let audit = self.audit(global)?;
        match self.formatted.format() {
            Format::Json => _ = super::print_json(&audit)?,
            Format::Table => super::print(&render(&audit))?,
        }
        let limit = self.fail_on.map(|limit| match limit {
            FailOn::Weak => Grade::Weak,
            FailOn::Dangerous => Grade::Dangerous,
        });
        Ok(limit.is_some_and(|limit| audit.worst() >= limit).into())
    }
}

impl Print {
    fn audit(&self, global: &Global) -> Result<Audit, Error> {
        if let Some(bundle) = &self.bundle {
            return Bundle::load(bundle)?.audit();
        }
        let target = self.target.as_deref().unwrap_or_default();
        let is_path = target.contains('/') || matches!(target, "." | "..");
        if !is_path && self.settings.is_none() && self.command.is_empty() {
            let is_directory = Path::new(target).is_dir();
            match container::audit(&global.store()?, target) {
                Ok(_) if is_directory => {
                    let reason = "it is a container, and a directory here";
                    return Err(Error::said(format!("audit {target}"), reason)
                        .hint(format!("say ./{target} for the root filesystem")));
                }
                Err(_) if is_directory => {}
                audit => return audit,
            }
        }
        // Graded, a mistyped path would pass any check.
        std::fs::metadata(target).map_err(|error| {
            Error::io(format!("open the root filesystem {target}"), &error).at("ROOTFS")
        })?;
        let default = Settings::default();
        let settings = self.settings.as_ref().unwrap_or(&default);
        settings.command(target, &self.command, false)?.audit()
    }
}

/// Where the last of the three columns begins, and the table ends.
const INDENT: usize = 29;
const WIDTH: usize = 80;

fn render(audit: &Audit) -> String {
    let rows: String = audit.findings.iter().map(row).collect();
    let count = |grade| audit.findings.iter().filter(|finding| finding.grade == grade).count();
    let [dangerous, weak, ok] = [Grade::Dangerous, Grade::Weak, Grade::Ok].map(count);
    format!(
        "{:11}{:18}FOUND\n{rows}\n{dangerous} dangerous, {weak} weak, {ok} ok\n",
        "GRADE", "WHAT"
    )
}

/// What was found, and below it what that means and what mends it.
fn row(finding: &Finding) -> String {
    let fix = finding.fix.as_ref().map(|fix| format!("fix: {fix}"));
    let texts = [Some(&finding.found), Some(&finding.why), fix.as_ref()];
    let lines = texts.into_iter().flatten().flat_map(|text| table::wrapped(text, WIDTH - INDENT));
    let mut row = format!("{:11}{:18}", finding.grade, finding.what);
    for (number, line) in lines.enumerate() {
        if number > 0 {
            row += &" ".repeat(INDENT);
        }
        row += &line;
        row.push('\n');
    }
    row
}
