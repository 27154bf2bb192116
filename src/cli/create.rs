//! `minirun create`: a container of a bundle, ready to be started.

use std::path::PathBuf;

use clap::Parser;
use minirun::Error;
use minirun::container::{self, Request};
use minirun::plan::Plan;

use super::CarryOut;
use super::bundle::BundleOptions;
use super::global::Global;
use super::quick::Words;

/// Make a container of a bundle; `start` runs its program
#[derive(Debug, Default, Parser)]
pub struct Create {
    /// Name for the container, made of A-Z a-z 0-9 . _ + -
    id: String,
    /// Write the pid of the container's first process
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    #[command(flatten)]
    bundle: BundleOptions,
}

impl CarryOut for Create {
    const NOTES: &'static str = "\
Examples:
  minirun spec --bundle web ./rootfs httpd -f && minirun create --bundle web web-1
  minirun start web-1 && minirun list";

    fn quick(words: &mut Words) -> Option<Self> {
        let mut quick = Create::default();
        while let Some(option) = words.option() {
            match option {
                "--bundle" | "-b" => words.value(&mut quick.bundle.bundle)?,
                "--pid-file" => words.value(&mut quick.pid_file)?,
                "--console-socket" => words.value(&mut quick.bundle.console_socket)?,
                _ => return None,
            }
        }
        quick.id = words.word()?.to_owned();
        words.end()?;
        Some(quick)
    }

    fn carry_out(&self, global: &Global) -> Result<u8, Error> {
        let request = Request {
            pid_file: self.pid_file.clone(),
            systemd_cgroup: global.systemd_cgroup,
            ..self.bundle.request(&self.id)
        };
        let announce = &mut |plan: &Plan| global.log.announce(plan);
        container::create(&global.store()?, &request, announce).map(|()| 0)
    }
}
