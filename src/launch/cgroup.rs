//! The runtime's side of the cgroup steps.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, DirBuilder};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OFlag;

use super::{hint, units};
use crate::cgroup::{Dir, Sweeper, Tree};
use crate::error::{Error, Result};
use crate::plan::op::{Op, Unit};
use crate::plan::{Plan, Step};
use crate::sys;

/// Carries out the steps of an update one after another.
///
/// # Errors
/// The first step that failed; those before it stay.
pub(crate) fn update(steps: &[Step]) -> Result<()> {
    let mut files = Files::default();
    steps
        .iter()
        .try_for_each(|step| set(step, &mut files).map_err(|error| error.at(step.place.as_str())))
}

/// Has the processes of a running container enter a cgroup of one more hierarchy, which is made
/// unless it is there.
///
/// # Errors
/// When the kernel refuses; some may have entered then.
pub(crate) fn enter(tree: Tree<'_>, dir: &Dir) -> Result<()> {
    let failed = |error| Error::io(format!("create cgroup {}", dir.path.display()), &error);
    create_unless_there(&dir.path).map_err(failed)?;
    tree.enter(dir)
}

/// The file that was written last: a list of devices is written to one, rule by rule.
#[derive(Default)]
pub(super) struct Files(Option<(CString, fs::File)>);

impl Files {
    fn write(&mut self, file: &CStr, value: &str) -> io::Result<()> {
        let (_, open) = match self.0.take() {
            Some(last) if last.0.as_c_str() == file => self.0.insert(last),
            _ => self.0.insert((file.to_owned(), open(file)?)),
        };
        open.write_all(value.as_bytes())
    }
}

/// Starts the process that will remove all that the plan makes, unless it is written down
/// for others to remove. What stands in its way must be found before: that process would
/// wait for somebody else's container to end, and a unit of systemd would be left.
pub(super) fn start_sweeper(plan: &Plan, is_recorded: bool) -> Result<Option<Sweeper>> {
    if is_recorded && plan.unit().is_none() {
        return Ok(None);
    }
    let mut dirs = Vec::new();
    for step in &plan.steps {
        let (dir, controllers, adopt) = match &step.op {
            Op::CreateCgroup { dir, controllers, adopt } => (dir, controllers, *adopt),
            Op::StartUnit(Unit { dir, controllers, .. }) => (dir, controllers, true),
            _ => continue,
        };
        let place = step.place.as_str();
        check_vacant(step, path(dir), controllers, adopt).map_err(|error| error.at(place))?;
        dirs.push(dir.clone());
    }
    if dirs.is_empty() || is_recorded { Ok(None) } else { Sweeper::start(dirs).map(Some) }
}

/// Nobody may be in the cgroup yet: its limits would be changed under them, and they
/// would be counted, frozen and killed with the container.
fn check_vacant(step: &Step, dir: &Path, controllers: &str, adopt: bool) -> Result<()> {
    if !dir.exists() {
        return Ok(());
    }
    let failed = |reason: Error| hint::explain(reason, &step.op);
    if !adopt {
        return Err(failed(Error::system(step.op.to_string(), Errno::EEXIST)));
    }
    let dirs = [Dir::new(controllers, dir)];
    let tree = Tree::new(&dirs);
    match tree.pids()?.len() {
        0 => {}
        count => {
            let reason = format!("it is there already, with {count} process(es) in it");
            return Err(Error::said(step.op.to_string(), reason)
                .hint("another container has this linux.cgroupsPath"));
        }
    }
    if tree.is_frozen() {
        return Err(Error::said(step.op.to_string(), "it is there already, and frozen")
            .hint("another container has this linux.cgroupsPath"));
    }
    Ok(())
}

/// Carries out one step for a new container: a cgroup that is there already must be vacant.
pub(super) fn set_up(step: &Step, files: &mut Files) -> Result<()> {
    let Op::CreateCgroup { dir, controllers, adopt } = &step.op else {
        return set(step, files);
    };
    match create(path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            check_vacant(step, path(dir), controllers, *adopt)
        }
        made => made.map_err(|error| explained(step, &error)),
    }
}

fn explained(step: &Step, error: &io::Error) -> Error {
    hint::explain(Error::io(step.op.to_string(), error), &step.op)
}

/// Carries out one step.
fn set(step: &Step, files: &mut Files) -> Result<()> {
    match &step.op {
        Op::SetUnit { .. } => return units::set(&step.op, None),
        Op::MoveProcesses { from, to } => {
            let [from, to] = [from, to].map(|dir| Dir::new("", path(dir)));
            return Tree::new(&[from]).enter(&to);
        }
        _ => {}
    }
    match attempt(&step.op, files) {
        Err(error) => {
            let errno = error.raw_os_error().map(Errno::from_raw);
            if errno.is_some_and(|errno| step.tolerates.contains(&errno)) {
                return Ok(());
            }
            Err(explained(step, &error))
        }
        Ok(()) => Ok(()),
    }
}

fn attempt(op: &Op, files: &mut Files) -> io::Result<()> {
    match op {
        Op::EnableControllers { dir, controllers } => enable(path(dir), controllers),
        Op::CreateCgroup { dir, .. } => create_unless_there(path(dir)),
        Op::InheritCpuset { root, dir } => inherit_cpuset(path(root), path(dir)),
        Op::WriteCgroup { file, value } => files.write(file, value),
        Op::WriteFirst { choices } => write_first(choices),
        Op::CheckUsage { file, limit } => {
            let text = fs::read_to_string(path(file))?;
            match text.trim().parse::<u64>() {
                Ok(used) if used > *limit => {
                    let reason = format!("{used} bytes are in use");
                    Err(io::Error::other(reason))
                }
                _ => Ok(()),
            }
        }
        Op::DeviceFilter { dir, program } => {
            let dir = fs::File::open(path(dir))?;
            sys::bpf::replace_device_filter(dir.as_fd(), program).map_err(io::Error::from)
        }
        _ => Err(Errno::ENOSYS.into()),
    }
}

fn path(text: &CStr) -> &Path {
    Path::new(OsStr::from_bytes(text.to_bytes()))
}

fn builder() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o755);
    builder
}

fn create(dir: &Path) -> io::Result<()> {
    let mut made = builder().create(dir);
    if let (Err(error), Some(parent)) = (&made, dir.parent())
        && error.kind() == io::ErrorKind::NotFound
    {
        builder().recursive(true).create(parent)?;
        made = builder().create(dir);
    }
    made
}

fn create_unless_there(dir: &Path) -> io::Result<()> {
    match create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

/// Controllers one by one, since one that can't be had refuses them all. Which one is
/// missed shows when a limit is written.
fn enable(dir: &Path, controllers: &[String]) -> io::Result<()> {
    if !dir.exists() {
        builder().recursive(true).create(dir)?;
    }
    let file = dir.join("cgroup.subtree_control");
    let enabled = fs::read_to_string(&file).unwrap_or_default();
    let is_enabled = |name: &&String| enabled.split_ascii_whitespace().any(|word| word == *name);
    let missing: Vec<_> = controllers.iter().filter(|name| !is_enabled(name)).collect();
    let all: Vec<_> = missing.iter().map(|name| format!("+{name}")).collect();
    if all.is_empty() || write(&file, &all.join(" ")).is_ok() {
        return Ok(());
    }
    for one in all {
        let _ = write(&file, &one);
    }
    Ok(())
}

fn inherit_cpuset(root: &Path, dir: &Path) -> io::Result<()> {
    let mut levels: Vec<&Path> = dir.ancestors().take_while(|level| *level != root).collect();
    levels.reverse();
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let mut above = None;
        for level in &levels {
            let own = level.join(file);
            let mut value = read(&own)?;
            if value.trim().is_empty()
                && let Some(parent) = level.parent()
            {
                value = match above {
                    Some(value) => value,
                    None => read(&parent.join(file))?,
                };
                write(&own, value.trim())?;
            }
            above = Some(value);
        }
    }
    Ok(())
}

fn write_first(choices: &[(CString, String)]) -> io::Result<()> {
    let mut outcome = Err(Errno::ENOENT.into());
    for (file, value) in choices {
        outcome = write(path(file), value);
        match &outcome {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            _ => break,
        }
    }
    outcome
}

/// A list, which the kernel gives in one piece.
fn read(file: &Path) -> io::Result<String> {
    let mut buffer = [0; 1024];
    let text = sys::file::read_start(file, &mut buffer)?;
    if text.len() == 1024 {
        return fs::read_to_string(file);
    }
    Ok(String::from_utf8_lossy(text).into_owned())
}

fn write(file: &Path, value: &str) -> io::Result<()> {
    open(file)?.write_all(value.as_bytes())
}

fn open<P: ?Sized + nix::NixPath>(file: &P) -> io::Result<fs::File> {
    Ok(sys::file::open(file, OFlag::O_WRONLY)?.into())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::process::Command;

    use oci_spec::runtime::LinuxResources;
    use serde_json::json;

    use super::*;
    use crate::host::{CgroupLayout, Host};
    use crate::plan::Current;

    /// A cgroup in the v2 hierarchy of this machine, whichever place that has.
    struct Made(PathBuf);

    impl Made {
        fn new(name: &str) -> Option<Made> {
            let root = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
                .into_iter()
                .find(|root| Path::new(root).join("cgroup.procs").exists());
            if !nix::unistd::geteuid().is_root() || root.is_none() {
                eprintln!("SKIPPED: {name}: only root can do this, and with cgroup v2");
                return None;
            }
            let dir = Path::new(root?).join(format!("launch-test-{name}-{}", std::process::id()));
            fs::create_dir_all(&dir).unwrap();
            Some(Made(dir))
        }

        /// Whether a shell in it can do this.
        fn allows(&self, script: &str) -> bool {
            let script = format!("echo $$ > {}/cgroup.procs && {script}", self.0.display());
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            output.status.success()
        }
    }

    impl Drop for Made {
        fn drop(&mut self) {
            let _ = Tree::new(&[Dir { controllers: String::new(), path: self.0.clone() }]).remove();
        }
    }

    fn device_steps(dir: &Path, devices: serde_json::Value) -> Vec<Step> {
        let mut host = Host::read().unwrap();
        host.cgroup =
            CgroupLayout::V2 { own: "/".into(), controllers: Vec::new(), delegated: true };
        let resources: LinuxResources =
            serde_json::from_value(json!({ "devices": devices })).unwrap();
        let dirs = &[(String::new(), dir.to_owned())];
        let limits = &LinuxResources::default();
        let current = Current { dirs, later: &[], limits, unit: None };
        Plan::update(&resources, &current, &host).unwrap()
    }

    #[test]
    fn a_device_filter_holds_and_is_replaced() {
        let Some(made) = Made::new("filter") else { return };
        let read_zero = "head -c1 < /dev/zero > /dev/null";
        let read_kmsg = "true < /dev/kmsg";
        assert!(made.allows(read_kmsg), "as long as nobody says otherwise");
        update(&device_steps(&made.0, json!([{ "allow": false, "access": "rwm" }]))).unwrap();
        assert!(made.allows(read_zero), "one of the defaults");
        assert!(!made.allows(read_kmsg));
        let kmsg_too = json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 11, "access": "r" },
        ]);
        update(&device_steps(&made.0, kmsg_too)).unwrap();
        assert!(made.allows(read_kmsg), "the former filter is gone");
        assert!(!made.allows("true > /dev/kmsg"), "only reading was allowed");
    }

    #[test]
    fn the_first_file_that_exists_is_written() {
        let Some(made) = Made::new("first") else { return };
        let file = |name: &str| CString::new(made.0.join(name).as_os_str().as_bytes()).unwrap();
        let choices = vec![
            (file("no.such"), "1".to_owned()),
            (file("cgroup.max.depth"), "7".to_owned()),
            (file("cgroup.max.descendants"), "8".to_owned()),
        ];
        attempt(&Op::WriteFirst { choices }, &mut Files::default()).unwrap();
        let read = |name: &str| fs::read_to_string(made.0.join(name)).unwrap();
        assert_eq!(read("cgroup.max.depth").trim(), "7");
        assert_eq!(read("cgroup.max.descendants").trim(), "max");
        let missing = vec![(file("no.such"), "1".to_owned())];
        let error =
            attempt(&Op::WriteFirst { choices: missing }, &mut Files::default()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
