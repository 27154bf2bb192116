//! What `minirun run` promises about the container, seen from inside and outside.
//!
//! Contents: isolation, /proc and devices, users, options, standard streams.

mod support;

use std::fs;
use std::io::Write;
use std::process::Stdio;

use support::{
    TempDir, has_subordinate_ids, is_root, run, run_command, said, script, skipped, stderr,
    without_root,
};

// Isolation

#[test]
fn every_namespace_is_a_new_one() {
    let inside =
        script(&[], "for n in pid net ipc mnt uts cgroup; do readlink /proc/self/ns/$n; done");
    for (link, name) in inside.lines().zip(["pid", "net", "ipc", "mnt", "uts", "cgroup"]) {
        let outside = fs::read_link(format!("/proc/self/ns/{name}")).unwrap();
        assert_ne!(link, outside.to_str().unwrap(), "{name}");
    }
    let user = script(&[], "readlink /proc/self/ns/user");
    let outside = fs::read_link("/proc/self/ns/user").unwrap();
    assert_eq!(user.trim() == outside.to_str().unwrap(), is_root(), "a user namespace when needed");
}

#[test]
fn init_is_pid_1_and_the_target_its_child() {
    let seen = script(&[], "cat /proc/1/comm; echo $$ $PPID; set -- /proc/[0-9]*; echo $#");
    assert_eq!(seen, "minirun-init\n2 1\n2\n", "init and the shell");
}

#[test]
fn without_an_init_the_target_is_pid_1() {
    assert_eq!(script(&["--no-init"], "echo $$; read c < /proc/1/comm; echo $c"), "1\nsh\n");
}

#[test]
fn the_callers_command_line_is_not_shown_inside() {
    let secret = "--hostname=host-secret";
    let seen = script(&[secret], "sleep 0.2; tr '\\0' ' ' < /proc/1/cmdline");
    assert!(seen.starts_with("minirun-init"), "{seen}");
    assert!(!seen.contains("secret"), "{seen}");
}

#[test]
fn the_hosts_host_name_is_neither_seen_nor_changed() {
    let before = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let options = ["--hostname", "inside", "--cap-add", "SYS_ADMIN"];
    assert_eq!(script(&options, "hostname; hostname other; hostname"), "inside\nother\n");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/hostname").unwrap(), before);
}

#[test]
fn only_lo_is_there_and_it_is_up() {
    let seen = script(
        &[],
        "ls /sys/class/net; cat /sys/class/net/lo/operstate; \
                            ip addr show lo | grep -c 'inet 127.0.0.1/8'",
    );
    assert_eq!(seen, "lo\nunknown\n1\n", "a loopback device that is up has operstate unknown");
}

#[test]
fn the_hosts_network_is_seen_when_it_is_asked_for() {
    let inside = script(&["--net", "host"], "readlink /proc/self/ns/net");
    let outside = fs::read_link("/proc/self/ns/net").unwrap();
    assert_eq!(inside.trim(), outside.to_str().unwrap());
}

#[test]
fn nothing_of_the_hosts_files_is_reachable() {
    let dir = TempDir::new("marker");
    let marker = dir.file("marker");
    fs::write(&marker, "host").unwrap();
    let output = run(&[], &["cat", &format!("/../../..{marker}")]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let mounts = script(&[], "cat /proc/self/mountinfo");
    assert!(mounts.lines().next().unwrap().split(' ').nth(4) == Some("/"), "{mounts}");
    assert_eq!(script(&[], "ls -di / /.. | awk '{print $1}' | uniq | wc -l"), "1\n");
}

#[test]
fn mounts_made_inside_do_not_reach_the_host() {
    let before = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    script(&["--cap-add", "SYS_ADMIN"], "mount -t tmpfs x /mnt && grep -q ' /mnt ' /proc/mounts");
    let after = fs::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    assert_eq!(before, after);
}

#[test]
fn descriptors_of_the_caller_do_not_leak_in() {
    let dir = TempDir::new("leak");
    let file = dir.file("open");
    fs::write(&file, "").unwrap();
    let rootfs = support::rootfs();
    // A shell opens descriptor 9 without close-on-exec and passes it on.
    let output = std::process::Command::new("/bin/sh")
        .args(["-c", "exec 9<\"$1\"; shift; exec \"$@\"", "sh", &file])
        .arg(support::binary())
        .args(["run", rootfs.to_str().unwrap(), "ls", "/proc/self/fd"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n1\n2\n3\n", "3 is ls's own");
}

/// CVE-2019-5736: a descriptor of the runtime's binary, got while it runs and opened for
/// writing when it has ended. The test stands in for a container that got so far.
#[test]
fn the_runtimes_own_binary_cannot_be_opened_for_writing() {
    if skipped(without_root()) {
        return;
    }
    let dir = TempDir::new("binary");
    let (copy, file) = (dir.file("minirun"), dir.file("pid"));
    support::copy_program(&support::binary(), copy.as_ref());
    let mut command = std::process::Command::new(&copy);
    command.args(["run", "--pid-file", &file]).arg(support::rootfs()).args(["sleep", "98765"]);
    let mut child = command.stdin(Stdio::null()).spawn().unwrap();
    let pid = wait_for(|| fs::read_to_string(&file).ok().filter(|text| !text.is_empty()));
    let held = [format!("/proc/{pid}/exe"), format!("/proc/{}/exe", child.id())]
        .map(|exe| fs::File::open(exe).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    let write = |path: &str| fs::OpenOptions::new().append(true).open(path);
    for held in held {
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
        let errno = wait_for(|| {
            // Busy as long as a process on its way out still executes it.
            let error = write(&path).expect_err("the binary can be written to");
            error.raw_os_error().filter(|errno| *errno != libc::ETXTBSY)
        });
        assert_eq!(errno, libc::EROFS);
    }
    write(&copy).expect("by its own name the file is as writable as before");
}

// /proc and devices

#[test]
fn harmful_parts_of_proc_and_sys_are_out_of_reach() {
    let seen =
        script(&[], "wc -c < /proc/timer_list; wc -c < /proc/keys; ls /sys/firmware | wc -l");
    assert_eq!(seen, "0\n0\n0\n");
    for path in
        ["/proc/sys/kernel/hostname", "/proc/irq/default_smp_affinity", "/sys/kernel/mm/ksm/run"]
    {
        let output = run(&[], &["sh", "-c", &format!("echo 1 > {path}")]);
        assert!(!output.status.success(), "{path} could be written");
    }
}

#[test]
fn the_usual_mounts_are_there() {
    let mounts = script(&[], "awk '{print $2, $3, $4}' /proc/mounts");
    for (target, kind, option) in [
        ("/proc", "proc", "nosuid"),
        ("/dev", "tmpfs", "nosuid"),
        ("/dev/pts", "devpts", "noexec"),
        ("/dev/shm", "tmpfs", "nodev"),
        ("/dev/mqueue", "mqueue", "nodev"),
        ("/sys", "sysfs", "ro"),
    ] {
        let line = mounts.lines().find(|line| line.starts_with(&format!("{target} {kind} ")));
        let line = line.unwrap_or_else(|| panic!("{target} is not mounted:\n{mounts}"));
        assert!(line.split([' ', ',']).any(|word| word == option), "{line}");
    }
    assert!(!mounts.contains("/sys/fs/cgroup"), "cgroups of the caller's: {mounts}");
}

#[test]
fn a_container_sees_its_own_cgroups_read_only() {
    if skipped(without_root()) {
        return;
    }
    let attempt = "cd /sys/fs/cgroup; found=$(find . -name cgroup.procs); echo $found
        mkdir x; mkdir $(dirname $found)/x";
    let output = run(&["--pids", "20"], &["sh", "-c", attempt]);
    let (seen, errors) = (String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(["./cgroup.procs\n", "./pids/cgroup.procs\n"].contains(&&*seen), "{seen}{errors}");
    assert_eq!(errors.matches("Read-only file system").count(), 2, "{errors}");
}

#[test]
fn the_usual_devices_work() {
    let seen = script(
        &[],
        "
        for d in null zero full random urandom tty; do [ -c /dev/$d ] || echo no $d; done
        for l in fd stdin stdout stderr ptmx; do [ -L /dev/$l ] || echo no $l; done
        echo gone > /dev/null
        head -c 4 /dev/zero | wc -c
        head -c 8 /dev/urandom | wc -c
        echo full > /dev/full 2>/dev/null || echo full
        [ -c /dev/pts/ptmx ] && echo ptmx",
    );
    assert_eq!(seen, "4\n8\nfull\nptmx\n");
}

// Users

#[test]
fn the_target_is_root_inside_without_the_dangerous_capabilities() {
    let seen = script(&[], "id -u; grep -E 'Cap(Eff|Bnd|Inh|Amb)|NoNewPrivs' /proc/self/status");
    let expected = "0\nCapInh:\t0000000000000000\nCapEff:\t00000000800405fb\n\
                    CapBnd:\t00000000800405fb\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\n";
    assert_eq!(seen, expected);
}

#[test]
fn another_user_has_no_capabilities() {
    if skipped((!is_root() && !has_subordinate_ids()).then_some("no subordinate ids here")) {
        return;
    }
    let seen = script(&["--user", "1000:100"], "id -u; id -g; grep CapEff /proc/self/status");
    assert_eq!(seen, "1000\n100\nCapEff:\t0000000000000000\n");
}

#[test]
fn a_single_mapped_id_can_be_any_user() {
    let seen =
        script(&["--userns", "single", "-u", "1234:56"], "id -u; id -g; cat /proc/self/uid_map");
    let own = nix::unistd::geteuid().as_raw();
    let words: Vec<_> = seen.split_whitespace().collect();
    assert_eq!(words, ["1234", "56", "1234", &own.to_string(), "1"]);
}

#[test]
fn root_of_a_user_namespace_runs_containers_too() {
    let mut command = std::process::Command::new("unshare");
    command.args(["--user", "--map-root-user"]).arg(support::binary()).arg("run");
    let output = command.arg(support::rootfs()).args(["id", "-u"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{}", said(&output));
}

#[test]
fn capabilities_are_added_and_dropped() {
    let effective = |options: &[&str]| {
        let text = script(options, "grep CapEff /proc/self/status | cut -f2");
        u64::from_str_radix(text.trim(), 16).unwrap()
    };
    assert_eq!(effective(&["--cap-drop", "ALL"]), 0);
    assert_eq!(effective(&["--cap-drop", "all", "--cap-add", "chown"]), 1);
    assert_eq!(effective(&["--cap-drop", "CAP_CHOWN"]), 0x8004_05fa);
    assert!(effective(&["--cap-add", "ALL"]).count_ones() > 35);
}

#[test]
fn no_new_privs_can_be_switched_off() {
    let seen =
        script(&["--security-opt", "no-new-privileges=false"], "grep NoNew /proc/self/status");
    assert_eq!(seen, "NoNewPrivs:\t0\n");
}

// Options

#[test]
fn the_environment_is_the_containers_own() {
    let seen = script(
        &["--name", "box", "-e", "A=1", "-e", "B=x y", "-e", "PATH=/bin", "-e", "CALLERS"],
        "env | sort | grep -v -e ^PWD -e ^SHLVL",
    );
    assert_eq!(seen, "A=1\nB=x y\nHOME=/root\nHOSTNAME=box\nPATH=/bin\n");
    let output = run_command(&["-e", "CALLERS"], &["sh", "-c", "echo $CALLERS"])
        .env("CALLERS", "value")
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "value\n");
}

#[test]
fn an_environment_file_is_read_and_overruled() {
    let dir = TempDir::new("env");
    let file = dir.file("env");
    fs::write(&file, "# comment\n\nA=file\nB=b=c\n").unwrap();
    let seen = script(&["--env-file", &file, "-e", "A=option"], "echo $A $B");
    assert_eq!(seen, "option b=c\n");
    fs::write(&file, "A=1\nnot a name=2\n").unwrap();
    let output = run(&["--env-file", &file], &["true"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(stderr(&output).contains("line 2 is not NAME=VALUE"), "{}", said(&output));
}

#[test]
fn the_working_directory_is_made_and_entered() {
    assert_eq!(script(&["--ephemeral", "-w", "/made/here"], "pwd"), "/made/here\n");
}

#[test]
fn binds_show_the_host_as_far_as_asked() {
    let dir = TempDir::new("bind");
    fs::write(dir.file("f"), "text").unwrap();
    let source = dir.path().to_str().unwrap();
    let shared = format!("{source}:/mnt");
    assert_eq!(script(&["-v", &shared], "cat /mnt/f; echo new > /mnt/g"), "text");
    assert_eq!(fs::read_to_string(dir.file("g")).unwrap(), "new\n");
    let output = run(&["-v", &format!("{shared}:ro")], &["touch", "/mnt/h"]);
    assert!(stderr(&output).contains("Read-only file system"), "{}", said(&output));
    let file = format!("{source}/f:/etc/bound:ro");
    assert_eq!(script(&["--ephemeral", "-v", &file], "cat /etc/bound"), "text");
}

#[test]
fn a_tmpfs_is_empty_and_sized() {
    let seen =
        script(&["--tmpfs", "/mnt:size=1m,mode=700"], "stat -c %a /mnt; df -k /mnt | tail -1");
    let words: Vec<_> = seen.split_whitespace().collect();
    assert_eq!((words[0], words[2]), ("700", "1024"), "{seen}");
}

#[test]
fn readonly_rootfs_refuses_writes_but_its_mounts_do_not() {
    let seen = script(
        &["--read-only", "--tmpfs", "/mnt"],
        "
        touch /etc/x 2>/dev/null || echo refused; touch /mnt/x /dev/shm/x && echo written",
    );
    assert_eq!(seen, "refused\nwritten\n");
}

#[test]
fn an_ephemeral_rootfs_takes_writes_and_stays_untouched() {
    let before = fs::metadata(support::rootfs().join("etc")).unwrap().modified().unwrap();
    let seen = script(
        &["--ephemeral"],
        "rm /etc/passwd; echo x > /etc/new; cat /etc/new; ls /etc/passwd 2>&1 | wc -l",
    );
    assert_eq!(seen, "x\n1\n");
    assert!(support::rootfs().join("etc/passwd").exists());
    assert!(!support::rootfs().join("etc/new").exists());
    assert_eq!(fs::metadata(support::rootfs().join("etc")).unwrap().modified().unwrap(), before);
}

#[test]
fn what_is_bound_from_an_ephemeral_rootfs_is_its_files() {
    let bind = |from: &str| format!("{}{from}:/mnt", support::rootfs().display());
    assert_eq!(
        script(&["--ephemeral", "-v", &bind("")], "ls -d /mnt/bin /mnt/upper; true"),
        "/mnt/bin\n"
    );
    assert_eq!(script(&["--ephemeral", "-v", &bind("/bin")], "ls /mnt/busybox"), "/mnt/busybox\n");
}

#[test]
fn an_ephemeral_rootfs_may_have_any_name() {
    let dir = TempDir::new("a:b,c=d\\e");
    std::os::unix::fs::symlink(support::rootfs(), dir.path().join("r,o:o t")).unwrap();
    let output =
        support::minirun(&["run", "--ephemeral", &dir.file("r,o:o t"), "true"]).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn ulimits_hold_for_the_target() {
    assert_eq!(script(&["--ulimit", "nofile=64:128"], "ulimit -Sn; ulimit -Hn"), "64\n128\n");
}

#[test]
fn the_pid_file_names_pid_1_on_the_host() {
    let dir = TempDir::new("pid");
    let file = dir.file("pid");
    let mut child = run_command(&["--pid-file", &file], &["sleep", "98765"]).spawn().unwrap();
    let pid = wait_for(|| fs::read_to_string(&file).ok().filter(|text| !text.is_empty()));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("minirun-init"), "{status}");
    let ids = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(ids.split_whitespace().last(), Some("1"), "{ids}");
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(child.id() as i32),
        nix::sys::signal::SIGTERM,
    )
    .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
}

fn wait_for<T>(mut get: impl FnMut() -> Option<T>) -> T {
    for _ in 0..500 {
        if let Some(found) = get() {
            return found;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("waited five seconds in vain");
}

#[test]
fn in_the_background_the_name_is_printed_and_output_goes_to_files() {
    let dir = TempDir::new("detach");
    let (out, report) = (dir.file("out"), dir.file("report"));
    let output = run(
        &["--detach", "--name", "bg", "--stdout", &out, "--report", &report],
        &["sh", "-c", "echo started; sleep 0.3; echo ended; exit 3"],
    );
    assert_eq!(
        (said(&output).as_str(), output.status.code()),
        ("Some(0) (signal None)\nbg\n", Some(0))
    );
    let text = wait_for(|| fs::read_to_string(&report).ok().filter(|text| text.ends_with("}\n")));
    assert!(text.contains("\"exit_code\": 3"), "{text}");
    assert_eq!(fs::read_to_string(&out).unwrap(), "started\nended\n");
    let failed = run(&["--detach"], &["/nowhere"]);
    assert_eq!(failed.status.code(), Some(127), "{}", said(&failed));
}

#[test]
fn a_bind_behind_a_symlink_to_the_host_makes_nothing_there() {
    if skipped(without_root()) {
        return;
    }
    let dir = TempDir::new("symlink");
    let (root, host) = (dir.path().join("root"), dir.path().join("host"));
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(&host).unwrap();
    support::copy_program(&support::rootfs().join("bin/busybox"), &root.join("bin/busybox"));
    std::os::unix::fs::symlink(&host, root.join("out")).unwrap();
    let bind = "/etc:/out/new".to_owned();
    let output =
        support::minirun(&["run", "-v", &bind, root.to_str().unwrap(), "/bin/busybox", "true"])
            .output()
            .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(fs::read_dir(&host).unwrap().count(), 0, "a directory was made on the host");
    let inside = root.join(host.strip_prefix("/").unwrap());
    assert!(inside.join("new").is_dir(), "the link is followed below the root");
}

// Standard streams

#[test]
fn bytes_pass_unchanged_in_both_directions() {
    let bytes: Vec<u8> = (0..=255u8).cycle().take(300_000).collect();
    let mut child =
        run_command(&[], &["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let copy = bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&copy));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
}

#[test]
fn a_reader_that_leaves_is_a_broken_pipe_inside() {
    let mut child = run_command(&[], &["yes"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(128 + 13), "killed by SIGPIPE");
}

#[test]
fn end_of_file_is_seen_as_soon_as_the_target_closes_its_end() {
    let mut child = run_command(&[], &["sh", "-c", "echo x; exec >&- 2>&-; sleep 98765"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut child.stdout.take().unwrap(), &mut text).unwrap();
    assert_eq!(text, "x\n");
    child.kill().unwrap();
    child.wait().unwrap();
}
