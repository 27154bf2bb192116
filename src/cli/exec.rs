//! `minirun exec`: another process in a running container.

use std::path::PathBuf;

use clap::Parser;
use minirun::container::{self, Exec as Request};
use minirun::{Capability, Error, Signals};

use super::CarryOut;
use super::global::Global;
use super::values;

/// How the verb fails, as engines tell that from the process's own status.
const FAILED: u8 = 255;

/// Run another command in a running container
#[derive(Debug, Parser)]
#[command(override_usage = "minirun exec [OPTIONS] ID COMMAND...
       minirun exec [OPTIONS] --process FILE ID")]
pub struct Exec {
    /// The container
    id: String,
    /// Command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,

    /// Read all of the process from FILE, as in `process` of a config.json
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    process: Option<PathBuf>,
    /// Return when the command has been started
    #[arg(short, long)]
    detach: bool,
    /// Give the command a terminal
    #[arg(short, long)]
    tty: bool,
    /// Send the master of its terminal to this socket
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Send a pidfd of it to this socket
    #[arg(long, value_name = "SOCKET")]
    pidfd_socket: Option<PathBuf>,
    /// Write its pid
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Working directory inside
    #[arg(long, value_name = "DIR")]
    cwd: Option<PathBuf>,
    /// Set a variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// User and group inside, as numbers
    #[arg(short, long, value_name = "UID[:GID]", value_parser = values::user_and_group)]
    user: Option<(u32, Option<u32>)>,
    /// Add a supplementary group
    #[arg(short = 'g', long, value_name = "GID", value_parser = values::id)]
    additional_gids: Vec<u32>,
    /// Add a capability
    #[arg(short, long, value_name = "NAME", value_parser = capability)]
    cap: Vec<Capability>,
    /// AppArmor profile
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// SELinux label
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Set no_new_privs
    #[arg(long)]
    no_new_privs: bool,
    /// Run it in a cgroup below the container's
    #[arg(long, value_name = "[CONTROLLER:]PATH")]
    cgroup: Vec<String>,
    /// Pass on that many descriptors from 3 on
    #[arg(long, value_name = "NUMBER", default_value = "0", hide_default_value = true)]
    preserve_fds: u32,
    /// Start it in a paused container too; it waits for `resume` then
    #[arg(long)]
    ignore_paused: bool,
}

fn capability(name: &str) -> Result<Capability, String> {
    values::capability(name)?.ok_or_else(|| "name them one by one".to_owned())
}

impl CarryOut for Exec {
    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        Ok(self.run(global).unwrap_or_else(|error| {
            super::fail_as_oci(global, &error);
            FAILED
        }))
    }
}

impl Exec {
    fn run(&self, global: &Global) -> Result<u8, Error> {
        if self.command.is_empty() && self.process.is_none() {
            let error = Error::said("read the command line", "no command is given");
            return Err(error.at("COMMAND").hint("or name a file with --process"));
        }
        let store = global.store()?;
        if self.detach {
            container::exec_detached(&store, &self.request())?;
            return Ok(0);
        }
        container::exec(&store, &self.request(), &Signals::collect()?)
    }

    fn request(&self) -> Request {
        Request {
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
