//! `minirun spec`: a config.json to start from, or the one that does the same as a `run`.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Parser;
use minirun::{Container, Error, Spec, UserNamespace};

use super::CarryOut;
use super::global::Global;
use super::settings::Settings;

/// Write a config.json: to start from, or to do the same as `run`
#[derive(Debug, Parser)]
#[command(override_usage = "minirun spec [--rootless] [--bundle DIR]
       minirun spec [--bundle DIR] [OPTIONS OF RUN] ROOTFS [COMMAND]...")]
pub struct Write {
    /// Directory to use as the root filesystem
    rootfs: Option<String>,
    /// Command and its arguments [default: /bin/sh]
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
    /// Write to DIR/config.json, which must not exist [default: .]
    #[arg(short, long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Print it instead of writing a file
    #[arg(long, conflicts_with = "bundle")]
    print: bool,
    /// For a user without root: a user namespace with this user's id as root's
    #[arg(long, conflicts_with = "rootfs")]
    rootless: bool,
    #[command(flatten)]
    settings: Option<Settings>,
}

impl CarryOut for Write {
    const NOTES: &'static str = "\
A bundle is a directory with a config.json and usually a root filesystem in it. To make one:
  mkdir -p box/rootfs && cp -r ./rootfs box/ && minirun spec --bundle box
  minirun run --bundle box my-id

Examples:
  minirun spec --bundle box                         a config.json to start from
  minirun spec --print --memory 64m ./rootfs httpd  what run would do, as a config.json";

    fn carry_out(&self, _: &Global) -> Result<u8, Error> {
        let spec = match &self.rootfs {
            Some(rootfs) => self.like_run(rootfs)?,
            None => self.to_start_from()?,
        };
        let text = format!("{:#}\n", json(&spec)?);
        match &self.bundle {
            _ if self.print => super::print(&text)?,
            bundle => write(bundle.as_deref().unwrap_or(Path::new(".")), &text)?,
        }
        Ok(0)
    }
}

impl Write {
    fn like_run(&self, rootfs: &str) -> Result<Spec, Error> {
        let default = Settings::default();
        let settings = self.settings.as_ref().unwrap_or(&default);
        for (given, option) in [
            (settings.timeout.is_some(), "--timeout"),
            (settings.kill_after.is_some(), "--kill-after"),
        ] {
            if given {
                let reason = "a config.json has no place for it";
                return Err(Error::said("write a specification", reason).at(option));
            }
        }
        settings.command(rootfs, &self.command, self.print)?.spec()
    }

    /// A shell at a terminal, in the directory `rootfs` of the bundle.
    fn to_start_from(&self) -> Result<Spec, Error> {
        if self.settings.is_some() {
            let reason = "options of run need the root filesystem that they are for";
            return Err(Error::said("write a specification", reason).at("ROOTFS"));
        }
        let mut container = Container::new("rootfs");
        container.name("minirun").read_only(true).init(false);
        if self.rootless {
            container.user_namespace(UserNamespace::Single);
        }
        let mut spec = container.command("sh").env("TERM", "xterm").tty(None).spec()?;
        if let Some(root) = spec.root_mut() {
            root.set_path("rootfs".into());
        }
        Ok(spec)
    }
}

/// With sets in an order, so that the same request gives the same file.
fn json(spec: &Spec) -> Result<serde_json::Value, Error> {
    let mut json = serde_json::to_value(spec)
        .map_err(|error| Error::said("write a specification", error.to_string()))?;
    if let Some(sets) = json.pointer_mut("/process/capabilities").and_then(|s| s.as_object_mut()) {
        for set in sets.values_mut().filter_map(|set| set.as_array_mut()) {
            set.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
        }
    }
    Ok(json)
}

fn write(bundle: &Path, text: &str) -> Result<(), Error> {
    let path = bundle.join("config.json");
    let step = format!("write {}", path.display());
    File::options()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| {
            let exists = error.kind() == std::io::ErrorKind::AlreadyExists;
            let error = Error::io(step, &error).at("--bundle");
            if exists { error.hint("remove it first; it isn't overwritten") } else { error }
        })
}
