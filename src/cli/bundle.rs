//! The options of `create` and `run` about a bundle and the container to be made of it.

use std::path::{Path, PathBuf};

use clap::Args;
use minirun::container::Request;

/// What `create` and `run` share.
#[derive(Debug, Default, Args)]
pub struct BundleOptions {
    /// Make a container of the config.json in DIR [default: .]
    #[arg(short, long, value_name = "DIR", help_heading = "Bundle")]
    pub bundle: Option<PathBuf>,
    /// Send the master of the container's terminal to this socket
    #[arg(long, value_name = "SOCKET", help_heading = "Bundle")]
    pub console_socket: Option<PathBuf>,
    /// Send a pidfd of the container's first process to this socket
    #[arg(long, value_name = "SOCKET", help_heading = "Bundle")]
    pidfd_socket: Option<PathBuf>,
    /// Pass on that many descriptors from 3 on
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "0",
        hide_default_value = true,
        help_heading = "Bundle"
    )]
    preserve_fds: u32,
    /// Do without pivot_root(2), for a host whose root is a ramfs
    #[arg(long, help_heading = "Bundle")]
    no_pivot: bool,
    /// Leave the container in the caller's session keyring
    #[arg(long, help_heading = "Bundle")]
    no_new_keyring: bool,
}

impl BundleOptions {
    /// No option but this directory.
    pub fn of(bundle: PathBuf) -> Self {
        BundleOptions { bundle: Some(bundle), ..Default::default() }
    }

    pub fn directory(&self) -> &Path {
        self.bundle.as_deref().unwrap_or(Path::new("."))
    }

    /// What the options ask for, for a container of this id.
    pub fn request(&self, id: &str) -> Request {
        Request {
            id: id.to_owned(),
            bundle: self.directory().to_owned(),
            console_socket: self.console_socket.clone(),
            pidfd_socket: self.pidfd_socket.clone(),
            preserve_fds: self.preserve_fds,
            listen_fds: listen_fds(),
            no_pivot: self.no_pivot,
            no_new_keyring: self.no_new_keyring,
            ..Request::default()
        }
    }
}

/// How many sockets systemd has opened for this very process (sd_listen_fds(3)).
fn listen_fds() -> u32 {
    let number = |name| std::env::var(name).ok()?.parse::<u32>().ok();
    let is_own = number("LISTEN_PID") == Some(std::process::id());
    number("LISTEN_FDS").filter(|_| is_own).unwrap_or(0)
}
