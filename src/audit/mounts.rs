//! What it means when a path of the host's is mounted in a container.

use std::path::Path;

use super::Grade::{self, Dangerous, Ok, Weak};

/// Whoever may write there, or connect to a socket there, has the host.
const SYSTEM: &[&str] = &[
    "/bin", "/boot", "/dev", "/etc", "/lib", "/proc", "/root", "/run", "/sbin", "/sys", "/usr",
    "/var",
];

/// Secrets are kept there.
const SECRETS: &[&str] = &["/boot", "/etc", "/home", "/proc", "/root", "/run", "/var"];

/// Sockets of those who start containers for everybody who connects, to be read-only or not.
const ENGINES: &[&str] =
    &["docker.sock", "containerd.sock", "podman.sock", "crio.sock", "buildkitd.sock"];

/// A mount's grade, and why.
pub(super) fn grade(source: &Path, writable: bool) -> (Grade, &'static str) {
    // A directory of another one's, or all of them.
    let is_whole = |path: &str| Path::new(path).starts_with(source);
    let is_below = |path: &str| source.starts_with(path);
    if source.file_name().is_some_and(|name| ENGINES.iter().any(|socket| name == *socket)) {
        return (Dangerous, "whoever connects to it starts containers as root of the host");
    }
    // Below /var and /run lies what is made for one program as well.
    let own = ["/run", "/var", "/proc", "/sys", "/dev"];
    let is_system =
        SYSTEM.iter().any(|path| is_whole(path) || (is_below(path) && !own.contains(path)));
    match writable {
        true if is_system => (Dangerous, "whoever writes there decides what the host executes"),
        true => (Weak, "the container changes files of the host"),
        false if SECRETS.iter().any(|path| is_whole(path)) => {
            (Weak, "secrets of the host can be read there")
        }
        false => (Ok, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_judged_by_what_of_the_host_it_shows() {
        for (source, writable, expected) in [
            ("/", true, Dangerous),
            ("/", false, Weak),
            ("/etc", true, Dangerous),
            ("/etc/cron.d", true, Dangerous),
            ("/etc", false, Weak),
            ("/etc/resolv.conf", false, Ok),
            ("/var", true, Dangerous),
            ("/var/lib/app", true, Weak),
            ("/srv/data", true, Weak),
            ("/srv/data", false, Ok),
            ("/usr/lib", false, Ok),
            ("/run/docker.sock", false, Dangerous),
            ("/var/run/containerd/containerd.sock", true, Dangerous),
        ] {
            assert_eq!(grade(Path::new(source), writable).0, expected, "{source} {writable}");
        }
    }
}
