//! A mount namespace and pivot_root: a directory of the host is `/` inside, nothing above
//! it can be named, and what is mounted inside stays inside.
//!
//! Unlike chroot(2), which only moves where paths start, pivot_root(2) lets the old root
//! be unmounted from the namespace: there is nothing left to climb out to.
//!
//! Read next: mount_namespaces(7), pivot_root(2), chroot(2).

mod support;

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use minirun::{Capability, Container};
use support::{Demo, Result, Shell, Table, namespace};

const DEMO: Demo = Demo {
    intro: "A container gets the root filesystem as its /. Both sides say what their / is,\n\
            look for a file that the host has made, and for a tmpfs that the container has\n\
            mounted.",
    columns: ["host", "container"],
    claim: "the container's / is the root filesystem, and no path or mount crosses it",
};

pub fn main() -> ExitCode {
    DEMO.run(compare)
}

fn compare(rootfs: &Path, table: &mut Table) -> Result<()> {
    let marker = Marker::make()?;
    // Mounting takes CAP_SYS_ADMIN, which a container doesn't have by default.
    let mut shell = Shell::start(Container::new(rootfs).cap_add([Capability::SysAdmin]))?;

    let (host_namespace, namespace) = (namespace("mnt")?, shell.run("readlink /proc/self/ns/mnt")?);
    table.row("mount namespace", &host_namespace, &namespace);
    table.expect(namespace != host_namespace, "two mount namespaces", &namespace);

    let inside = shell.run("cat /proc/self/mountinfo")?;
    table.row("mounts", mounts()?.lines().count(), inside.lines().count());

    let (host_root, root) = (identity(Path::new("/"))?, identity_inside(&mut shell, "/")?);
    table.row("/ (device:inode)", &host_root, &root);
    table.expect(root != host_root, "another / than the host's", &root);
    let directory = identity(rootfs)?;
    table.row("the root filesystem", &directory, &root);
    table.expect(root == directory, format!("/ inside to be {directory}"), &root);

    let (host_above, above) = (identity(Path::new("/.."))?, identity_inside(&mut shell, "/..")?);
    table.row("/..", &host_above, &above);
    table.expect(above == root, format!("/.. inside to be / ({root})"), &above);

    let path = marker.file();
    let path = path.to_str().ok_or("the temporary directory's name isn't UTF-8")?;
    let direct = shell.run(&look_for(path))?;
    let climbing_path = format!("/../../../../../..{path}");
    let climbing = shell.run(&look_for(&climbing_path))?;
    let host_sees = on_host(Path::new(path));
    table.row("the host's new file", host_sees, &direct);
    table.row("the same through /../..", on_host(Path::new(&climbing_path)), &climbing);
    table.expect(host_sees == "there", format!("{path} on the host"), host_sees);
    for seen in [&direct, &climbing] {
        table.expect(seen == "not there", format!("{path} not to be reachable inside"), seen);
    }

    // A name that no other mount has.
    let source = format!("demo-tmpfs-{}", std::process::id());
    let said = shell.run(&format!("mount -t tmpfs {source} /mnt && echo > /mnt/inside"))?;
    let shown = |mounts: &str| mounts.lines().filter(|line| line.contains(&source)).count();
    let (host_shown, shown) = (shown(&mounts()?), shown(&shell.run("cat /proc/self/mountinfo")?));
    table.row("a tmpfs mounted inside", times(host_shown), times(shown));
    table.expect(shown == 1, "the tmpfs in the container's mounts", format!("{shown} {said}"));
    table.expect(host_shown == 0, "no such mount on the host", host_shown);

    let host_file = on_host(&rootfs.join("mnt/inside"));
    let file = shell.run(&look_for("/mnt/inside"))?;
    table.row("a file in that tmpfs", host_file, &file);
    table.expect(file == "there", "the file /mnt/inside in the container", &file);
    table.expect(host_file == "not there", "no file mnt/inside in the host's directory", host_file);
    Ok(())
}

fn mounts() -> Result<String> {
    let file = "/proc/self/mountinfo";
    Ok(fs::read_to_string(file).map_err(|error| format!("read {file}: {error}"))?)
}

/// What tells a file from every other: its filesystem's device, and its inode in there.
fn identity(path: &Path) -> Result<String> {
    let found = fs::metadata(path).map_err(|error| format!("stat {}: {error}", path.display()))?;
    Ok(format!("{}:{}", found.dev(), found.ino()))
}

fn identity_inside(shell: &mut Shell, path: &str) -> Result<String> {
    shell.run(&format!("stat -c %d:%i {path}"))
}

fn on_host(file: &Path) -> &'static str {
    if file.exists() { "there" } else { "not there" }
}

/// A command that says the same inside.
fn look_for(path: &str) -> String {
    format!("[ -e '{path}' ] && echo there || echo not there")
}

fn times(count: usize) -> &'static str {
    if count == 0 { "not shown" } else { "shown" }
}

/// A directory on the host with a file in it, removed at the end.
struct Marker(PathBuf);

impl Marker {
    fn make() -> Result<Marker> {
        let path = std::env::temp_dir().join(format!("minirun-demo-{}", std::process::id()));
        fs::create_dir(&path).map_err(|error| format!("make {}: {error}", path.display()))?;
        let marker = Marker(path);
        fs::write(marker.file(), "made on the host\n")?;
        Ok(marker)
    }

    fn file(&self) -> PathBuf {
        self.0.join("marker")
    }
}

impl Drop for Marker {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
