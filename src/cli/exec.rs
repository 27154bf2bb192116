//! `minirun exec`: one more process in a container that runs.

use std::path::PathBuf;

use clap::Parser;
use minirun::container;
use minirun::plan::Plan;
use minirun::{Capability, Error, Signals};

use super::CarryOut;
use super::global::Global;
use super::quick::{Words, switch};
use super::values;

/// Run a command in a container that runs
#[derive(Debug, Default, Parser)]
#[command(override_usage = "minirun exec [OPTIONS] ID COMMAND...
       minirun exec [OPTIONS] --process FILE ID")]
pub struct Exec {
    /// The container
    id: String,
    /// Command and its arguments; all else is as for the container's own
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "process",
        conflicts_with = "process"
    )]
    command: Vec<String>,
    /// Take all from FILE, which holds the `process` of a config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,

    /// Don't wait for its end
    #[arg(short, long)]
    detach: bool,
    /// Write its pid
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Give it a terminal of its own
    #[arg(short, long)]
    tty: bool,
    /// Send the master of its terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of it to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Pass on that many descriptors from 3 on
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    preserve_fds: u32,

    /// User and group, as numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = values::user_and_group)]
    user: Option<(u32, Option<u32>)>,
    /// One more group, as a number
    #[arg(short = 'g', long, value_name = "GID", value_parser = values::id)]
    additional_gids: Vec<u32>,
    /// Working directory inside
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Add a capability
    #[arg(short, long, value_name = "CAP", value_parser = values::one_capability)]
    cap: Vec<Capability>,
    /// Let it gain no privileges by execve
    #[arg(long)]
    no_new_privs: bool,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Run in this cgroup below the container's own
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,
    /// Even if the container is paused; it waits for `resume` then
    #[arg(long)]
    ignore_paused: bool,
}

impl CarryOut for Exec {
    const NOTES: &'static str = "\
Examples:
  minirun exec web ps               one more process in the container web
  minirun exec --tty web /bin/sh    a shell in it
  minirun exec --user 1000:1000 --env A=b web env";

    fn quick(words: &mut Words) -> Option<Self> {
        let mut quick = Exec::default();
        while let Some(option) = words.option() {
            match option {
                "--process" | "-p" => words.value(&mut quick.process)?,
                "--pid-file" => words.value(&mut quick.pid_file)?,
                "--console-socket" => words.value(&mut quick.console_socket)?,
                "--detach" | "-d" => switch(&mut quick.detach)?,
                "--tty" | "-t" => switch(&mut quick.tty)?,
                _ => return None,
            }
        }
        quick.id = words.word()?.to_owned();
        quick.command = words.command()?;
        (quick.command.is_empty() == quick.process.is_some()).then_some(quick)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let store = global.store()?;
        let exec = self.asked();
        let announce = &mut |plan: &Plan| global.log.announce(plan);
        if self.detach {
            return container::exec_detached(&store, &exec, announce).map(|()| 0);
        }
        container::exec(&store, &exec, &Signals::collect()?, announce)
    }
}

impl Exec {
    fn asked(&self) -> container::Exec {
        container::Exec {
            id: self.id.clone(),
            process: self.process.clone(),
            args: self.command.clone(),
            tty: self.tty,
            user: self.user,
            additional_gids: self.additional_gids.clone(),
            cwd: self.cwd.clone(),
            env: self.env.clone(),
            capabilities: self.cap.clone(),
            apparmor_profile: self.apparmor.clone(),
            process_label: self.process_label.clone(),
            no_new_privileges: self.no_new_privs,
            cgroup: self.cgroup.clone(),
            ignore_paused: self.ignore_paused,
            pid_file: self.pid_file.clone(),
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            preserve_fds: self.preserve_fds,
        }
    }
}
