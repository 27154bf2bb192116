//! A container from a bundle: a directory with a config.json (runtime-spec).

use std::path::Path;

use oci_spec::runtime::Spec;

use crate::audit::{self, Audit};
use crate::error::Result;
use crate::host::Host;
use crate::oci;
use crate::plan::{Options, Plan};

/// A bundle that has been read.
///
/// ```
/// use minirun::Bundle;
/// let plan = Bundle::load("benches/bundles/plain")?.plan("box")?;
/// assert!(plan.to_string().contains("set hostname runc [hostname]"));
/// # Ok::<(), minirun::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    spec: Spec,
}

impl Bundle {
    /// Reads `directory`/config.json.
    ///
    /// # Errors
    /// When it can't be read or isn't a runtime-spec of version 1.0.0 to 1.3.x; the error
    /// names the path of the field.
    pub fn load(directory: impl AsRef<Path>) -> Result<Self> {
        Ok(Bundle { spec: oci::bundle::load(directory.as_ref())? })
    }

    /// The specification, with an absolute `root.path`.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What a process of a container of it could and couldn't do; nothing is started.
    ///
    /// # Errors
    /// When the facts about this machine can't be read.
    pub fn audit(&self) -> Result<Audit> {
        Ok(audit::judge(&audit::planned(&self.spec, &Host::read()?, true)))
    }

    /// The steps that a container of this bundle consists of.
    ///
    /// # Errors
    /// The first field that contradicts another, that this host can't carry out, or that
    /// this version of minirun doesn't carry out, by its path.
    pub fn plan(&self, name: &str) -> Result<Plan> {
        self.plan_on(name, &Host::read()?)
    }

    /// The same for a container whose cgroup systemd makes.
    ///
    /// # Errors
    /// As [`plan`](Self::plan), and when there is no systemd.
    pub fn plan_by_systemd(&self, name: &str) -> Result<Plan> {
        self.plan_on(name, &Host::read()?.with_systemd()?)
    }

    fn plan_on(&self, name: &str, host: &Host) -> Result<Plan> {
        let options = Options::of_bundle(name, &self.spec)?;
        Plan::new(&self.spec, &options, host)
    }
}
