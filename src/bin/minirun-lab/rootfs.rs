//! The root filesystem that the labs run in, for those who have no checkout with one.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VARIABLE: &str = "MINIRUN_ROOTFS";

/// What rootfs/ is made of.
const FILES: &[(&str, &str)] = &[
    ("build.sh", include_str!("../../../rootfs/build.sh")),
    ("etc/group", include_str!("../../../rootfs/etc/group")),
    ("etc/hosts", include_str!("../../../rootfs/etc/hosts")),
    ("etc/nsswitch.conf", include_str!("../../../rootfs/etc/nsswitch.conf")),
    ("etc/os-release", include_str!("../../../rootfs/etc/os-release")),
    ("etc/passwd", include_str!("../../../rootfs/etc/passwd")),
    ("etc/profile", include_str!("../../../rootfs/etc/profile")),
    ("etc/resolv.conf", include_str!("../../../rootfs/etc/resolv.conf")),
    ("etc/shells", include_str!("../../../rootfs/etc/shells")),
];

/// Returns when there is a root filesystem where the labs look for one; else makes one and
/// executes this program anew with its path in MINIRUN_ROOTFS. Inside a container, where a lab
/// plays a part, there is nothing to look for.
pub fn provide() -> Result<(), String> {
    let inside = env::var_os("MINIRUN_LAB_PART").is_some();
    if inside || env::var_os(VARIABLE).is_some() || Path::new("rootfs/bin/busybox").exists() {
        return Ok(());
    }
    let place = cache()?.join("minirun/rootfs");
    if !place.join("bin/busybox").exists() {
        eprintln!("no ./rootfs here: making one in {}\n", place.display());
        make(&place)?;
    }
    let own = env::current_exe().map_err(|error| format!("find this program's file: {error}"))?;
    let mut again = Command::new(own);
    let error = again.args(env::args_os().skip(1)).env(VARIABLE, &place).exec();
    Err(format!("start again with {VARIABLE}={}: {error}", place.display()))
}

/// The user's cache (XDG base directory specification).
fn cache() -> Result<PathBuf, String> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache"))).ok_or_else(|| {
        format!(
            "find a place for a root filesystem: neither {VARIABLE} nor HOME is set; \
             go where ./rootfs is, or name one by {VARIABLE}"
        )
    })
}

fn make(place: &Path) -> Result<(), String> {
    for (name, content) in FILES {
        let path = place.join(name);
        let folder = path.parent().unwrap_or(place);
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, content))
            .map_err(|error| format!("write {}: {error}", path.display()))?;
    }
    let script = place.join("build.sh");
    // What it says is about `minirun run`; errors go to standard error.
    let status = Command::new("/bin/sh").arg(&script).stdout(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("{} has failed", script.display())),
        Err(error) => Err(format!("run {}: {error}", script.display())),
    }
}
