//! What config.json says about the file system, seen from inside real containers: mounts
//! and their options, the root filesystem, devices, kernel parameters; and what a hostile
//! root filesystem can't reach.

mod support;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, symlink};
use std::path::PathBuf;
use std::process::Output;

use nix::sys::statfs::{TMPFS_MAGIC, statfs};
use serde_json::{Value, json};
use support::{TempDir, busybox_bundle, minirun, said, skipped, stderr, without_root};

/// A bundle with a root filesystem of its own: busybox and nothing else.
struct Bundle {
    dir: TempDir,
    config: Value,
}

impl Bundle {
    fn new(name: &str) -> Self {
        let dir = TempDir::new(name);
        let config = busybox_bundle(&dir, "sh cat ls stat touch mount hostname readlink");
        Bundle { dir, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount(&mut self, mount: Value) -> &mut Self {
        self.config["mounts"].as_array_mut().unwrap().push(mount);
        self
    }

    fn linux(&mut self, field: &str, value: Value) -> &mut Self {
        self.config["linux"][field] = value;
        self
    }

    fn namespaces(&mut self, kinds: &[&str]) -> &mut Self {
        let kinds = kinds.iter().map(|kind| json!({ "type": kind })).collect();
        self.linux("namespaces", Value::Array(kinds))
    }

    /// A user namespace whose root is uid 100000 outside.
    fn user_namespace(&mut self) -> &mut Self {
        let ids = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        std::os::unix::fs::chown(self.path("rootfs"), Some(100_000), Some(100_000)).unwrap();
        self.namespaces(&["user", "pid", "mount", "ipc", "uts", "network"]);
        self.linux("uidMappings", ids.clone()).linux("gidMappings", ids)
    }

    fn output(&self, options: &[&str], script: &str) -> Output {
        let mut config = self.config.clone();
        config["process"]["args"] = json!(["/bin/sh", "-c", script]);
        fs::write(self.path("config.json"), config.to_string()).unwrap();
        let name = self.dir.path().file_name().unwrap().to_str().unwrap();
        let mut command = minirun(&["--root", &self.dir.file("state"), "run"]);
        command.args(options).arg("--bundle").arg(self.dir.path()).arg(name);
        command.output().unwrap()
    }

    /// The script's standard output, after it has succeeded.
    fn script(&self, script: &str) -> String {
        let output = self.output(&[], script);
        assert!(output.status.success(), "{script}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What the runtime says about a container that can't be.
    fn refusal(&self) -> String {
        let output = self.output(&[], "echo it runs");
        assert!(!output.status.success() && output.stdout.is_empty(), "{}", said(&output));
        stderr(&output)
    }

    fn host_dir(&self, name: &str) -> PathBuf {
        fs::create_dir_all(self.path(name)).unwrap();
        self.path(name)
    }
}

/// The line of mountinfo for a mount point: options, optional fields, super options.
fn line<'a>(mountinfo: &'a str, point: &str) -> &'a str {
    let is_it = |line: &&str| line.split(' ').nth(4) == Some(point);
    mountinfo.lines().rfind(is_it).unwrap_or_else(|| panic!("no mount on {point}:\n{mountinfo}"))
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

// Options

#[test]
fn options_are_those_of_the_mount() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("options");
    bundle.host_dir("source");
    bundle
        .mount(mount("/t", "tmpfs", "tmpfs", &["nosuid", "nodev", "noexec", "noatime", "size=64k"]))
        .mount(mount("/ro", "tmpfs", "tmpfs", &["ro", "mode=711", "nosymfollow"]))
        .mount(mount("/ro/inner", "tmpfs", "tmpfs", &["rro"]))
        .mount(mount("/bind", "bind", "source", &["bind", "ro", "nosuid", "strictatime"]))
        .mount(mount("/ro", "", "", &["bind", "remount", "ro", "noexec"]));
    let found = bundle.script("cat /proc/self/mountinfo; stat -c %a /ro");
    for (point, words) in [
        ("/t", "rw,nosuid,nodev,noexec,noatime "),
        ("/t", "size=64k"),
        ("/ro", "ro,noexec,relatime,nosymfollow "),
        ("/ro/inner", "ro,relatime "),
        ("/bind", "ro,nosuid "),
    ] {
        let line = line(&found, point);
        assert!(line.contains(words), "{point} lacks {words:?}: {line}");
    }
    assert!(found.ends_with("711\n"), "{found}");
}

#[test]
fn propagation_is_set_on_any_mount() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("propagation");
    bundle.host_dir("source");
    bundle
        .mount(mount("/a", "bind", "source", &["rbind", "rshared"]))
        .mount(mount("/b", "tmpfs", "tmpfs", &["shared"]))
        .mount(mount("/c", "tmpfs", "tmpfs", &["unbindable"]))
        .mount(mount("/d", "bind", "source", &["bind", "private"]));
    let found = bundle.script("cat /proc/self/mountinfo");
    for (point, words) in
        [("/a", "shared:"), ("/b", "shared:"), ("/c", " unbindable "), ("/d", "relatime - ")]
    {
        assert!(line(&found, point).contains(words), "{point}:\n{found}");
    }
}

#[test]
fn recursive_options_reach_the_mounts_below() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("recursive");
    bundle.mount(mount("/m", "bind", "/sys", &["rbind", "rro", "rnosuid", "rprivate"]));
    let found = bundle.script("cat /proc/self/mountinfo");
    let below: Vec<_> = found.lines().filter(|line| line.contains(" /m/")).collect();
    assert!(!below.is_empty(), "the host has nothing mounted below /sys");
    for line in below {
        assert!(line.contains(" ro,nosuid"), "{line}");
    }
}

#[test]
fn a_tmpfs_has_the_mode_of_the_directory_or_what_is_in_it() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("copy-up");
    let run = bundle.host_dir("rootfs/run");
    fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o750)).unwrap();
    fs::create_dir_all(bundle.path("rootfs/etc/deep")).unwrap();
    fs::write(bundle.path("rootfs/etc/deep/file"), "content").unwrap();
    symlink("deep/file", bundle.path("rootfs/etc/link")).unwrap();
    bundle
        .mount(mount("/run", "tmpfs", "tmpfs", &[]))
        .mount(mount("/new", "tmpfs", "tmpfs", &[]))
        .mount(mount("/etc", "tmpfs", "tmpfs", &["tmpcopyup", "ro"]));
    let found = bundle.script(
        "stat -c %a /run /new; readlink /etc/link; cat /etc/link; \
         touch /etc/x 2>/dev/null || echo ' sealed'",
    );
    assert_eq!(found, "750\n1777\ndeep/file\ncontent sealed\n");
}

#[test]
fn ids_of_a_bind_are_mapped() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("id-mapped");
    let kind = statfs(bundle.dir.path()).unwrap().filesystem_type();
    if skipped((kind == TMPFS_MAGIC).then_some("tmpfs can't have mapped ids before Linux 6.3")) {
        return;
    }
    bundle.host_dir("source/sub");
    fs::write(bundle.path("source/root"), "").unwrap();
    fs::write(bundle.path("source/other"), "").unwrap();
    std::os::unix::fs::chown(bundle.path("source/other"), Some(7), Some(8)).unwrap();
    let maps = |host: u32| json!([{ "containerID": 0, "hostID": host, "size": 100 }]);
    let mut explicit = mount("/m", "bind", "source", &["rbind", "ridmap"]);
    explicit["uidMappings"] = maps(1000);
    explicit["gidMappings"] = maps(2000);
    bundle.mount(explicit);
    let seen = "stat -c %u:%g /m/root /m/other; touch /m/new";
    assert_eq!(bundle.script(&format!("{seen} 2>/dev/null || true")), "1000:2000\n1007:2008\n");

    let mut bundle_of_user = Bundle::new("id-mapped-user");
    bundle_of_user.user_namespace();
    bundle_of_user.mount(mount("/m", "bind", bundle.path("source").to_str().unwrap(), &["idmap"]));
    assert_eq!(bundle_of_user.script(seen), "0:0\n7:8\n");
    let made = fs::metadata(bundle.path("source/new")).unwrap();
    assert_eq!((made.uid(), made.gid()), (0, 0), "what is made there has the host's ids");
}

// Where mounts go

#[test]
fn relative_sources_and_destinations_and_files() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("relative");
    bundle.host_dir("source");
    fs::write(bundle.path("source/file"), "from the bundle").unwrap();
    bundle.mount(mount("deep/in/it", "bind", "source", &["bind"])).mount(mount(
        "/etc/file",
        "bind",
        "source/file",
        &["rbind", "ro"],
    ));
    let found = bundle.script("cat /deep/in/it/file /etc/file");
    assert_eq!(found, "from the bundlefrom the bundle");
}

#[test]
fn symlinks_in_a_target_are_followed_inside_the_root() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("links");
    let outside = bundle.host_dir("outside");
    fs::create_dir_all(bundle.path("rootfs/etc")).unwrap();
    symlink("../run/resolve/stub.conf", bundle.path("rootfs/etc/resolv.conf")).unwrap();
    symlink(&outside, bundle.path("rootfs/out")).unwrap();
    symlink("../../../../../../..", bundle.path("rootfs/up")).unwrap();
    fs::write(bundle.path("resolv"), "nameserver").unwrap();
    bundle
        .mount(mount("/etc/resolv.conf", "bind", "resolv", &["bind"]))
        .mount(mount("/out/made", "tmpfs", "tmpfs", &[]))
        .mount(mount("/up/made-by-minirun", "tmpfs", "tmpfs", &[]));
    let found = bundle.script("cat /run/resolve/stub.conf; ls -d /made-by-minirun");
    assert_eq!(found, "nameserver/made-by-minirun\n");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!PathBuf::from("/made-by-minirun").exists());
}

#[test]
fn what_comes_later_is_put_into_the_mount_that_covers_a_directory() {
    if skipped(without_root()) {
        return;
    }
    for over in ["/dir", "/link", "/dir/../dir"] {
        let mut bundle = Bundle::new("covered");
        fs::create_dir(bundle.path("rootfs/dir")).unwrap();
        symlink("dir", bundle.path("rootfs/link")).unwrap();
        bundle
            .mount(mount("/dir/one", "tmpfs", "tmpfs", &[]))
            .mount(mount("/dir/two", "tmpfs", "tmpfs", &[]))
            .mount(mount(over, "tmpfs", "tmpfs", &[]))
            .mount(mount("/dir/three", "tmpfs", "tmpfs", &[]))
            .linux(
                "devices",
                json!([{ "path": "/dir/node", "type": "c", "major": 1, "minor": 3 }]),
            );
        assert_eq!(
            bundle.script("ls /dir; ls -d /dir/three"),
            "node\nthree\n/dir/three\n",
            "{over}"
        );
        let mut below: Vec<_> = fs::read_dir(bundle.path("rootfs/dir"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        below.sort();
        assert_eq!(below, ["one", "two"], "{over}");
    }
}

// The root filesystem

#[test]
fn the_root_propagates_as_asked() {
    if skipped(without_root()) {
        return;
    }
    for (value, words) in [
        ("shared", " shared:"),
        ("rshared", " shared:"),
        ("unbindable", " unbindable "),
        ("private", "relatime - "),
        ("rslave", "relatime"),
    ] {
        let mut bundle = Bundle::new("root-propagation");
        bundle.linux("rootfsPropagation", json!(value));
        let found = bundle.script("cat /proc/self/mountinfo");
        assert!(line(&found, "/").contains(words), "{value}:\n{found}");
    }
}

/// The container's mounts must not show up in the mount namespace that it came from, even
/// where the root filesystem lies on a shared mount.
#[test]
fn a_shared_root_leaves_the_host_alone() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("shared-root");
    let seen = bundle.dir.file("seen");
    bundle.linux("rootfsPropagation", json!("rshared")).mount(mount("/t", "tmpfs", "tmpfs", &[]));
    bundle.config["hooks"] = json!({ "createRuntime": [
        { "path": "/bin/sh", "args": ["sh", "-c", format!("cat /proc/self/mountinfo > {seen}")] },
    ] });
    bundle.config["process"]["args"] = json!(["/bin/true"]);
    bundle.config["process"]["args"] = json!(["/bin/sh", "-c", "cat /proc/self/mountinfo"]);
    fs::write(bundle.path("config.json"), bundle.config.to_string()).unwrap();
    let dir = bundle.dir.path().to_str().unwrap();
    let minirun = support::binary();
    let script = format!(
        "mount --bind {dir} {dir} && mount --make-shared {dir} && cat /proc/self/mountinfo && \
         {} --root {dir}/state run --bundle {dir} shared-root-{} >&2 && cat /proc/self/mountinfo",
        minirun.display(),
        std::process::id(),
    );
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", &script])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert!(stderr(&output).contains(" /t "), "{}", said(&output));
    let (around, during) = (String::from_utf8(output.stdout).unwrap(), fs::read_to_string(seen));
    let ours = |text: &str| text.lines().filter(|line| line.contains(dir)).count();
    assert_eq!(ours(&during.unwrap()), 1, "the container's mounts travelled");
    assert_eq!(ours(&around), 2, "the host's own mount is gone:\n{around}");
}

#[test]
fn the_root_is_changed_without_pivot_root_too() {
    if skipped(without_root()) {
        return;
    }
    let bundle = Bundle::new("no-pivot");
    let output = bundle.output(&["--no-pivot"], "cat /proc/self/mountinfo; ls /");
    assert!(output.status.success(), "{}", said(&output));
    let found = String::from_utf8(output.stdout).unwrap();
    assert!(found.ends_with("bin\ndev\nproc\n"), "{found}");
    assert_eq!(found.lines().filter(|line| line.contains(" - proc ")).count(), 1, "{found}");
}

#[test]
fn a_container_can_share_the_hosts_mounts() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("no-mount-namespace");
    bundle.namespaces(&["pid", "uts", "ipc"]);
    let output = bundle.output(&[], "ls /");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "bin\n");
    assert!(stderr(&output).contains("mounts: left out"), "{}", said(&output));
    for (field, value) in [
        ("maskedPaths", json!(["/x"])),
        ("readonlyPaths", json!(["/x"])),
        (
            "devices",
            json!([
                { "path": "/dev/x", "type": "p" }
            ]),
        ),
    ] {
        bundle.linux(field, value);
        let text = bundle.refusal();
        assert!(text.contains(&format!("linux.{field}")), "{text}");
        bundle.linux(field, json!([]));
    }
}

#[test]
fn masks_and_seals_hold_over_mounts_of_the_container() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("masks");
    bundle.host_dir("source/dir");
    fs::write(bundle.path("source/file"), "secret").unwrap();
    fs::write(bundle.path("source/dir/file"), "secret").unwrap();
    bundle
        .mount(mount("/m", "bind", "source", &["bind"]))
        .linux("maskedPaths", json!(["/m/file", "/m/dir", "/missing"]))
        .linux("readonlyPaths", json!(["/m", "/missing"]));
    let found = bundle.script("cat /m/file; ls /m/dir; touch /m/x 2>/dev/null || echo sealed");
    assert_eq!(found, "sealed\n");
}

// Devices

#[test]
fn devices_of_every_kind() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("devices");
    let device = |path: &str, kind: &str, major: u32, minor: u32| {
        json!({ "path": path, "type": kind, "major": major, "minor": minor,
            "fileMode": 0o640, "uid": 3, "gid": 4 })
    };
    bundle.mount(mount("/dev", "tmpfs", "tmpfs", &["ro", "mode=755"])).linux(
        "devices",
        json!([
            device("/dev/char", "c", 1, 3),
            device("/dev/unbuffered", "u", 1, 5),
            device("/dev/block", "b", 7, 99),
            device("/srv/deep/pipe", "p", 0, 0),
            device("/dev/null", "c", 1, 3),
        ]),
    );
    let found = bundle.script(
        "stat -c '%F %t:%T %a %u:%g' /dev/char /dev/unbuffered /dev/block /srv/deep/pipe \
         /dev/null /dev/zero; readlink /dev/ptmx; touch /dev/x 2>/dev/null || echo sealed",
    );
    let expected = "character special file 1:3 640 3:4\n\
         character special file 1:5 640 3:4\n\
         block special file 7:63 640 3:4\n\
         fifo 0:0 640 3:4\n\
         character special file 1:3 640 3:4\n\
         character special file 1:5 666 0:0\n\
         pts/ptmx\nsealed\n";
    assert_eq!(found, expected);
}

#[test]
fn without_a_mount_on_dev_the_nodes_are_the_root_filesystems() {
    if skipped(without_root()) {
        return;
    }
    let bundle = Bundle::new("no-dev");
    for _ in 0..2 {
        // The second time they are there already.
        assert_eq!(bundle.script("echo lost > /dev/null; stat -c %t:%T /dev/null"), "1:3\n");
    }
    let null = bundle.path("rootfs/dev/null");
    assert!(fs::metadata(&null).unwrap().file_type().is_char_device());
    fs::remove_file(&null).unwrap();
    fs::write(&null, "").unwrap();
    let text = bundle.refusal();
    assert!(text.contains("make device /dev/null") && text.contains("EEXIST"), "{text}");
}

#[test]
fn the_hosts_dev_is_left_as_it_is() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("bound-dev");
    let dev = bundle.host_dir("dev");
    bundle
        .mount(mount("/dev", "bind", "dev", &["rbind"]))
        .linux("devices", json!([{ "path": "/dev/x", "type": "c", "major": 1, "minor": 3 }]));
    assert_eq!(bundle.script("ls /dev"), "");
    assert_eq!(fs::read_dir(dev).unwrap().count(), 0);
}

// User namespaces

#[test]
fn a_user_namespace_gets_the_hosts_devices_and_keeps_what_is_locked() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("user");
    bundle.user_namespace().mount(mount("/dev", "tmpfs", "tmpfs", &["mode=755"])).mount(mount(
        "/p",
        "bind",
        "/proc",
        &["rbind", "noexec"],
    ));
    bundle
        .linux("devices", json!([{ "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229 }]));
    if !PathBuf::from("/dev/fuse").exists() {
        bundle.linux("devices", json!([]));
    }
    let found = bundle.script("stat -c %t:%T /dev/null /dev/tty; cat /proc/self/mountinfo");
    assert!(found.starts_with("1:3\n5:0\n"), "{found}");
    assert!(line(&found, "/p").contains("noexec"), "{found}");
    bundle.linux("devices", json!([{ "path": "/dev/null", "type": "c", "major": 1, "minor": 9 }]));
    let text = bundle.refusal();
    assert!(text.contains("linux.devices[0]") && text.contains("ENXIO"), "{text}");
}

#[test]
fn a_user_namespace_gets_what_only_root_of_the_host_can_reach() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("user-private");
    let private = bundle.host_dir("private");
    bundle.host_dir("private/data");
    fs::write(private.join("data/file"), "reached").unwrap();
    fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.user_namespace();
    bundle.mount(mount("/d", "bind", "private/data", &["rbind", "ro", "nodev"]));
    bundle.mount(mount("/f", "bind", "private/data/file", &["bind"]));
    let found = bundle.script("cat /d/file /f; cat /proc/self/mountinfo");
    assert!(found.starts_with("reachedreached"), "{found}");
    assert!(line(&found, "/d").contains("ro,nodev"), "{found}");
}

#[test]
fn sysfs_in_a_user_namespace_needs_a_network_namespace() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("user-sysfs");
    bundle.user_namespace().namespaces(&["user", "pid", "mount"]);
    bundle.mount(mount("/sys", "sysfs", "sysfs", &[]));
    let text = bundle.refusal();
    assert!(text.contains("mounts[1]") && text.contains("new network namespace"), "{text}");
}

// Kernel parameters

#[test]
fn parameters_of_the_containers_namespaces_are_set_there_only() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("sysctl");
    bundle.config["domainname"] = json!("example.test");
    bundle.linux(
        "sysctl",
        json!({ "kernel.msgmax": "12345", "net.ipv4.ip_unprivileged_port_start": "42",
            "fs.mqueue.msg_max": "77" }),
    );
    let files = "/proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_unprivileged_port_start \
         /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/domainname";
    let host = |file: &str| fs::read_to_string(file).unwrap();
    let before: Vec<_> = files.split_whitespace().map(host).collect();
    assert_eq!(bundle.script(&format!("cat {files}")), "12345\n42\n77\nexample.test\n");
    assert_eq!(files.split_whitespace().map(host).collect::<Vec<_>>(), before);
    bundle.linux("sysctl", json!({ "net.ipv4.no_such_parameter": "1" }));
    let text = bundle.refusal();
    assert!(text.contains("linux.sysctl.net.ipv4.no_such_parameter"), "{text}");
}

/// By its path the host's own namespace looks like another container's.
#[test]
fn the_hosts_own_namespace_is_not_changed_by_its_path() {
    if skipped(without_root()) {
        return;
    }
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let mut bundle = Bundle::new("own-namespace");
    bundle.config["linux"]["namespaces"] = json!([{ "type": "pid" }, { "type": "mount" },
        { "type": "uts", "path": "/proc/self/ns/uts" }]);
    assert_eq!(bundle.script("hostname"), name);
    // The same name, should it be set after all.
    bundle.config["hostname"] = json!(name.trim());
    let text = bundle.refusal();
    assert!(text.contains("linux.namespaces[2].path") && text.contains("host's own"), "{text}");
}

// Filesystems

#[test]
fn overlay_mqueue_devpts_and_proc_with_options() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("filesystems");
    for dir in ["lower", "upper", "work"] {
        fs::write(bundle.host_dir(dir).join(dir), dir).unwrap();
    }
    fs::remove_file(bundle.path("work/work")).unwrap();
    let path = |name: &str| bundle.path(name).to_str().unwrap().to_owned();
    let (lower, upper, work) = (path("lower"), path("upper"), path("work"));
    let layers =
        [format!("lowerdir={lower}"), format!("upperdir={upper}"), format!("workdir={work}")];
    let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
    bundle
        .mount(mount("/o", "overlay", "overlay", &layers))
        .mount(mount("/dev/pts", "devpts", "devpts", &["newinstance", "ptmxmode=0666"]))
        .mount(mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid"]))
        .mount(mount("/hidden", "proc", "proc", &["hidepid=2", "subset=pid"]));
    let found = bundle.script("ls /o; touch /o/new; ls /hidden | grep -c meminfo; ls /dev/pts");
    assert_eq!(found, "lower\nupper\n0\nptmx\n");
    assert!(bundle.path("upper/new").exists() && !bundle.path("lower/new").exists());
}

#[test]
fn cgroups_are_the_containers_own_and_read_only_unless_a_namespace_keeps_it_there() {
    if skipped(without_root()) {
        return;
    }
    let script = "top=/sys/fs/cgroup; [ -e $top/cgroup.procs ] && all=$top || all=$top/*
        for dir in $all; do
            read first <$dir/cgroup.procs; echo $first
            busybox mkdir $dir/x 2>/dev/null && echo made && busybox rmdir $dir/x
        done
        busybox mkdir $top/y 2>/dev/null && echo at the top; true";
    let plain = &["pid", "mount", "ipc", "uts", "network"];
    let own = &["pid", "mount", "ipc", "uts", "network", "cgroup"];
    for (options, namespaces, user, writable) in [
        (&["ro"][..], &plain[..], false, false),
        (&["nosuid"], plain, false, false),
        (&["ro"], own, false, false),
        (&["nosuid"], own, false, true),
        (&["nosuid"], own, true, false),
    ] {
        let mut bundle = Bundle::new("cgroups");
        if user {
            bundle.user_namespace();
        }
        let namespaces: Vec<&str> =
            namespaces.iter().copied().chain(user.then_some("user")).collect();
        bundle.namespaces(&namespaces);
        bundle.mount(mount("/sys/fs/cgroup", "cgroup", "cgroup", options));
        let found = bundle.script(script);
        let row = format!("{options:?} {namespaces:?}: {found}");
        assert!(found.starts_with("1\n"), "{row}");
        assert!(found.lines().all(|line| matches!(line, "1" | "made" | "at the top")), "{row}");
        // On v1 the top is a directory of mounts.
        assert!(!options.contains(&"ro") || !found.contains("at the top"), "{row}");
        assert_eq!(found.contains("made"), writable, "{row}");
    }
}

#[test]
fn hooks_find_the_root_filesystem_writable_and_what_they_mount_is_masked() {
    if skipped(without_root()) {
        return;
    }
    let mut bundle = Bundle::new("hooks");
    fs::create_dir_all(bundle.path("rootfs/m")).unwrap();
    bundle.config["root"]["readonly"] = json!(true);
    bundle.linux("maskedPaths", json!(["/m/secret"]));
    let (m, made) = (bundle.dir.file("rootfs/m"), bundle.dir.file("rootfs/made"));
    let script = format!("touch {made} && mount -t tmpfs tmpfs {m} && echo open > {m}/secret");
    bundle.config["hooks"] =
        json!({ "createContainer": [{ "path": "/bin/sh", "args": ["sh", "-c", script] }] });
    let found = bundle.script("ls /made /m; cat /m/secret; touch /x 2>/dev/null || echo sealed");
    assert_eq!(found, "/made\n\n/m:\nsecret\nsealed\n");
}
