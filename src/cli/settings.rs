//! The options that shape a container, and what they mean.

use std::fs;
use std::io::{IsTerminal, stdin, stdout};

use clap::{Args, ValueEnum};
use minirun::plan::op::TerminalSize;
use minirun::{Command, Container, Error, Network, Seccomp, UserNamespace};

use super::values::{self, SecurityOption};

/// Options of `run` that `plan` and `spec` share.
#[derive(Debug, Default, Args)]
pub struct Settings {
    /// Name of the container [default: random]
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    pub name: Option<String>,
    /// Host name inside [default: the container's name]
    #[arg(long, value_name = "NAME", help_heading = "Container")]
    pub hostname: Option<String>,
    /// Make an init PID 1 and the command its child (the default)
    #[arg(long, overrides_with = "no_init", help_heading = "Container")]
    pub init: bool,
    /// Make the command PID 1
    #[arg(long, help_heading = "Container")]
    pub no_init: bool,
    /// Network: a namespace with only lo, or the host's
    #[arg(long, value_name = "none|host", hide_possible_values = true, help_heading = "Container")]
    pub net: Option<Net>,
    /// User namespace: one id or all subordinate ids of an ordinary user
    #[arg(
        long,
        value_name = "auto|none|single|full",
        hide_possible_values = true,
        help_heading = "Container"
    )]
    pub userns: Option<Userns>,

    /// User and group of the command, as numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = values::user, help_heading = "Command")]
    pub user: Option<(u32, u32)>,
    /// Working directory inside
    #[arg(short, long, value_name = "DIR", help_heading = "Command")]
    pub workdir: Option<String>,
    /// Set a variable, or pass on the host's
    #[arg(short, long, value_name = "NAME[=VALUE]", help_heading = "Command")]
    pub env: Vec<String>,
    /// Read variables from a file, a NAME=VALUE a line
    #[arg(long, value_name = "FILE", help_heading = "Command")]
    pub env_file: Vec<String>,
    /// Give the command a terminal of its own (the default at a terminal)
    #[arg(short, long, overrides_with = "no_tty", help_heading = "Command")]
    pub tty: bool,
    /// Connect the command to standard input and output as they are
    #[arg(long, help_heading = "Command")]
    pub no_tty: bool,
    /// Keep standard input open (the default; accepted for those used to it)
    #[arg(short, long, help_heading = "Command")]
    pub interactive: bool,

    /// Make a host path appear inside
    #[arg(short = 'v', long, value_name = "SRC:DST[:ro]", value_parser = values::bind, help_heading = "Files")]
    pub bind: Vec<values::Bind>,
    /// Mount an empty directory in memory
    #[arg(long, value_name = "DST[:OPTIONS]", value_parser = values::tmpfs, help_heading = "Files")]
    pub tmpfs: Vec<(String, Vec<String>)>,
    /// Make the root filesystem read-only
    #[arg(long, help_heading = "Files")]
    pub read_only: bool,
    /// Throw all changes to the root filesystem away afterwards
    #[arg(long, help_heading = "Files")]
    pub ephemeral: bool,

    /// Add a capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub cap_add: Vec<String>,
    /// Drop a capability, or ALL
    #[arg(long, value_name = "CAP", help_heading = "Security")]
    pub cap_drop: Vec<String>,
    /// no-new-privileges[=false], seccomp=unconfined, or seccomp=FILE, a profile as Docker's
    #[arg(long, value_name = "OPTION", value_parser = values::security_option, help_heading = "Security")]
    pub security_opt: Vec<SecurityOption>,

    /// Limit memory, such as 100m
    #[arg(short, long, value_name = "BYTES", value_parser = values::bytes, help_heading = "Limits")]
    pub memory: Option<u64>,
    /// Limit processor time, such as 0.5
    #[arg(long, value_name = "NUMBER", value_parser = values::cpus, help_heading = "Limits")]
    pub cpus: Option<f64>,
    /// Limit the number of processes and threads
    #[arg(long, visible_alias = "pids-limit", value_name = "NUMBER", help_heading = "Limits")]
    pub pids: Option<u32>,
    /// Limit a resource of each process, such as nofile=1024
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = values::ulimit, help_heading = "Limits")]
    pub ulimit: Vec<(minirun::PosixRlimitType, u64, u64)>,
    /// Send SIGTERM after this time, such as 30s, and exit with 124; 0 for no limit
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Limits")]
    pub timeout: Option<std::time::Duration>,
    /// How long after that to send SIGKILL [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = values::duration, help_heading = "Limits")]
    pub kill_after: Option<std::time::Duration>,
}

/// `--net`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Net {
    None,
    Host,
}

/// `--userns`.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Userns {
    Auto,
    None,
    Single,
    Full,
}

impl Settings {
    /// The container and the command that were asked for; a command whose standard
    /// descriptors are `redirected` gets a terminal only if it was asked for.
    pub fn command(
        &self,
        rootfs: &str,
        words: &[String],
        redirected: bool,
    ) -> Result<Command, Error> {
        let container = self.container(rootfs)?;
        if let Some(option) = words.first().filter(|word| word.starts_with('-')) {
            let reason = format!("{option} stands where the command should");
            let error = Error::said("read the command line", reason).at("COMMAND");
            return Err(error.hint(match super::similar_option("run", option) {
                Some(meant) => format!("run has no such option, but {meant}"),
                None => "run has no such option; see minirun run --help".to_owned(),
            }));
        }
        let mut words = words.iter().cloned();
        let mut command = container.command(words.next().unwrap_or_else(|| "/bin/sh".to_owned()));
        command.args(words);
        if let Some(kill_after) = self.kill_after {
            command.kill_after(kill_after);
        }
        let (uid, gid) = self.user.unwrap_or_default();
        command.user(uid, gid);
        if let Some(dir) = &self.workdir {
            command.current_dir(dir);
        }
        for file in &self.env_file {
            for (name, value) in env_file(file)? {
                command.env(name, value);
            }
        }
        for entry in &self.env {
            match entry.split_once('=') {
                Some((name, value)) => drop(command.env(name, value)),
                None => {
                    if let Ok(value) = std::env::var(entry) {
                        command.env(entry, value);
                    }
                }
            }
        }
        if let Some(size) = self.terminal(redirected) {
            command.tty(size);
        }
        // As of timeout(1) and of podman's.
        if let Some(timeout) = self.timeout.filter(|timeout| !timeout.is_zero()) {
            command.timeout(timeout);
        }
        Ok(command)
    }

    /// A pty of its own if asked for, or when a person sits at both ends; with the size
    /// of the caller's terminal.
    fn terminal(&self, redirected: bool) -> Option<Option<TerminalSize>> {
        let person = stdin().is_terminal() && stdout().is_terminal() && !redirected;
        let wanted = self.tty || (person && !self.no_tty);
        wanted
            .then(|| minirun::terminal_size(&stdin()).or_else(|| minirun::terminal_size(&stdout())))
    }

    fn container(&self, rootfs: &str) -> Result<Container, Error> {
        let mut container = Container::new(rootfs);
        container
            .read_only(self.read_only)
            .ephemeral(self.ephemeral)
            .init(!self.no_init)
            .network(match self.net {
                None | Some(Net::None) => Network::None,
                Some(Net::Host) => Network::Host,
            })
            .user_namespace(match self.userns {
                None | Some(Userns::Auto) => UserNamespace::Auto,
                Some(Userns::None) => UserNamespace::None,
                Some(Userns::Single) => UserNamespace::Single,
                Some(Userns::Full) => UserNamespace::Full,
            });
        if let Some(name) = &self.name {
            container.name(name);
        }
        if let Some(hostname) = &self.hostname {
            container.hostname(hostname);
        }
        for (target, options) in &self.tmpfs {
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            container.tmpfs(target, &options);
        }
        for bind in &self.bind {
            container.bind(&bind.source, &bind.target, bind.read_only);
        }
        self.privileges(&mut container)?;
        for &(resource, soft, hard) in &self.ulimit {
            container.rlimit(resource, soft, hard);
        }
        if let Some(bytes) = self.memory {
            container.memory(bytes);
        }
        if let Some(cpus) = self.cpus {
            container.cpus(cpus);
        }
        if let Some(pids) = self.pids {
            container.pids(pids);
        }
        Ok(container)
    }

    fn privileges(&self, container: &mut Container) -> Result<(), Error> {
        let parse = |names: &[String], option: &'static str| {
            let one = |name: &String| {
                values::capability(name)
                    .map_err(|reason| Error::said("set capabilities", reason).at(option))
            };
            names.iter().map(one).collect::<Result<Vec<_>, Error>>()
        };
        let (added, dropped) =
            (parse(&self.cap_add, "--cap-add")?, parse(&self.cap_drop, "--cap-drop")?);
        if added.contains(&None) {
            container.cap_add_all();
        }
        if dropped.contains(&None) {
            container.cap_drop_all();
        }
        container.cap_add(added.into_iter().flatten());
        container.cap_drop(dropped.into_iter().flatten());
        for option in &self.security_opt {
            match option {
                SecurityOption::NoNewPrivileges(on) => drop(container.no_new_privileges(*on)),
                SecurityOption::SeccompUnconfined => drop(container.seccomp(Seccomp::Unconfined)),
                SecurityOption::SeccompProfile(file) => {
                    let profile = super::read_json(file, "--security-opt seccomp")?;
                    container.seccomp(Seccomp::Profile(profile));
                }
            }
        }
        Ok(())
    }
}

/// `NAME=VALUE` or `NAME` (the host's value) a line; empty lines and `#` comments are skipped.
fn env_file(path: &str) -> Result<Vec<(String, String)>, Error> {
    let place = format!("--env-file {path}");
    let step = "read the environment";
    let text = fs::read_to_string(path).map_err(|e| Error::io(step, &e).at(place.as_str()))?;
    let mut entries = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (line, std::env::var(line).ok()),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            let reason = format!("line {} is not NAME=VALUE", number + 1);
            return Err(Error::said(step, reason).at(place));
        }
        if let Some(value) = value {
            entries.push((name.to_owned(), value));
        }
    }
    Ok(entries)
}
