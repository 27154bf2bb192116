//! The default profile against what it is to say, and against those of engines.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;

use oci_spec::runtime::Capability;

use super::*;
use crate::oci::defaults::CAPABILITIES;
use crate::seccomp::default::{ALWAYS, BY_CAPABILITY, default_filter, default_profile};
use crate::seccomp::engines::{Container, resolve};
use crate::seccomp::profile::permits;

fn filter_for(machine: Machine, bounding: &HashSet<Capability>) -> Filter {
    compile(&default_profile(machine, Some(bounding)).expect("a profile"), Some(machine))
        .expect("a filter")
}

fn usual() -> HashSet<Capability> {
    CAPABILITIES.iter().copied().collect()
}

#[test]
fn what_reaches_the_machine_takes_its_capability() {
    let plain = filter_for(Machine::X86_64, &usual());
    let with = |capability| {
        let bounding = usual().into_iter().chain([capability]).collect();
        filter_for(Machine::X86_64, &bounding)
    };
    let admin = with(Capability::SysAdmin);
    for name in ["mount", "umount2", "unshare", "setns", "open_tree", "bpf", "sethostname"] {
        assert_eq!(says(&plain, name, &[]), EPERM, "{name}");
        assert_eq!(says(&admin, name, &[]), ALLOW, "{name}");
    }
    let user = libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64;
    assert_eq!(says(&plain, "clone", &[libc::SIGCHLD as u64]), ALLOW);
    assert_eq!(says(&plain, "clone", &[user]), EPERM);
    assert_eq!(says(&admin, "clone", &[user]), ALLOW);
    assert_eq!((says(&plain, "clone3", &[]), says(&admin, "clone3", &[])), (ENOSYS, ALLOW));
    for (name, capability) in [
        ("open_by_handle_at", Capability::DacReadSearch),
        ("reboot", Capability::SysBoot),
        ("init_module", Capability::SysModule),
        ("pidfd_getfd", Capability::SysPtrace),
        ("settimeofday", Capability::SysTime),
        ("syslog", Capability::Syslog),
    ] {
        assert_eq!(says(&plain, name, &[]), EPERM, "{name}");
        assert_eq!(says(&with(capability), name, &[]), ALLOW, "{name}");
    }
}

#[test]
fn some_calls_depend_on_their_arguments_and_some_nobody_has() {
    let filter = filter_for(Machine::X86_64, &usual());
    for family in [0, 1, 2, 10, 16, 17, 39, 41] {
        assert_eq!(says(&filter, "socket", &[family, 1, 0]), ALLOW, "{family}");
    }
    for family in [libc::AF_ALG as u64, libc::AF_VSOCK as u64] {
        assert_eq!(says(&filter, "socket", &[family, 1, 0]), EPERM, "{family}");
    }
    for (domain, action) in [(0, ALLOW), (8, ALLOW), (0xffff_ffff, ALLOW), (0x4_0000, EPERM)] {
        assert_eq!(says(&filter, "personality", &[domain]), action, "{domain:#x}");
    }
    for name in ["keyctl", "add_key", "io_uring_setup", "userfaultfd", "kexec_load", "swapon"] {
        assert_eq!(says(&filter, name, &[]), EPERM, "{name}");
    }
    for name in ["read", "execve", "ptrace", "chroot"] {
        assert_eq!(says(&filter, name, &[]), ALLOW, "{name}");
    }
    for architecture in [X86_64, I386] {
        assert_eq!(says_number(&filter, architecture, 480, &[]), ENOSYS);
    }
    assert_eq!(says_on(&filter, Abi::I386, "umount", &[]), EPERM);
}

#[test]
fn the_program_made_beforehand_is_the_profiles() {
    let compiled = filter_for(Machine::X86_64, &usual());
    let ready = default_filter(Some(Machine::X86_64), Some(&usual())).expect("a filter");
    let packed = |i: &libc::sock_filter| {
        let (jf, jt, code) = (u64::from(i.jf), u64::from(i.jt), u64::from(i.code));
        format!("0x{:016x},", jf << 56 | jt << 48 | code << 32 | u64::from(i.k))
    };
    let words: Vec<String> = compiled.program.instructions().iter().map(packed).collect();
    let text: Vec<String> = words.chunks(4).map(|line| format!("    {}", line.join(" "))).collect();
    assert_eq!(
        ready,
        compiled,
        "if this is meant, write it to src/seccomp/ready.rs: {compiled}, {} restricted\n{}",
        compiled.restricted,
        text.join("\n")
    );
    // Others are compiled.
    for bounding in [HashSet::new(), HashSet::from([Capability::SysAdmin])] {
        let filter = default_filter(Some(Machine::X86_64), Some(&bounding)).expect("a filter");
        assert_eq!(filter, filter_for(Machine::X86_64, &bounding));
    }
}

#[test]
fn every_name_is_a_system_call_and_stands_once() {
    let names: Vec<&str> = ALWAYS.iter().copied().flatten().copied().collect();
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    for name in names.into_iter().chain(BY_CAPABILITY.iter().flat_map(|row| row.1.iter().copied()))
    {
        assert!(!name.contains(char::is_whitespace) && !name.is_empty(), "{name:?}");
        assert!(Syscall::named(name).is_known(), "{name}");
    }
}

/// What podman's default leaves to the kernel's own checks, and ours to holders of
/// CAP_SYS_ADMIN (or another capability) as Docker's does.
const STRICTER_THAN_PODMAN: &str = "clone clone3 fsconfig fsmount fsopen fspick get_mempolicy \
    keyctl mbind mount mount_setattr move_mount open_tree pidfd_getfd pivot_root query_module \
    readdir reboot \
    set_mempolicy setns sigaction signal sigpending sigsuspend socket syslog umount umount2 unshare";

/// What podman's default refuses, or didn't know yet when it was written, and Docker's permits.
const LOOSER_THAN_PODMAN: &str = "bpf cachestat fchmodat2 futex_requeue futex_wait futex_waitv \
    futex_wake getxattrat io_pgetevents io_pgetevents_time64 listmount listxattrat \
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr map_shadow_stack mseal perf_event_open \
    quotactl_fd removexattrat riscv_flush_icache riscv_hwprobe set_mempolicy_home_node setxattrat \
    socket statmount uretprobe vmsplice";

/// Every call of every ABI, under every capability alone, with none and with all.
#[test]
fn engines_profiles_say_the_same() {
    let mut files = vec!["/usr/share/containers/seccomp.json".to_owned()];
    files.extend(
        std::env::var("MINIRUN_SECCOMP_PROFILES")
            .iter()
            .flat_map(|paths| paths.split(':').map(str::to_owned).collect::<Vec<_>>()),
    );
    for file in files {
        let Ok(text) = std::fs::read_to_string(&file) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no {file}; podman has it");
            continue;
        };
        let profile: Value = serde_json::from_str(&text).expect("JSON");
        // Docker's answers with the same errno as ours; podman's says ENOSYS to all it
        // doesn't name.
        let is_like_ours = profile["defaultErrnoRet"] == json!(libc::EPERM);
        let (mut stricter, mut looser) = (BTreeSet::new(), BTreeSet::new());
        let held = BY_CAPABILITY.iter().map(|row| HashSet::from([row.0]));
        let all = BY_CAPABILITY.iter().map(|row| row.0).collect();
        for bounding in held.chain([HashSet::new(), usual(), all]) {
            for machine in Machine::ALL {
                let container = Container { machine, kernel: (6, 1), bounding: &bounding };
                let theirs = resolve(profile.clone(), &container).expect("their profile");
                let theirs = compile(&theirs, Some(machine)).expect("their filter");
                let ours = filter_for(machine, &bounding);
                for (call, name) in every_call(machine) {
                    let (our, _) = run(ours.program.instructions(), call);
                    let (their, _) = run(theirs.program.instructions(), call);
                    match (permits(our), permits(their)) {
                        (true, false) => _ = looser.insert(name),
                        (false, true) => _ = stricter.insert(name),
                        _ => assert!(our == their || !is_like_ours, "{name} {call:x?} in {file}"),
                    }
                }
            }
        }
        if is_like_ours {
            assert_eq!((stricter, looser), Default::default(), "{file}");
        } else {
            let known = |names: &'static str| names.split_ascii_whitespace().collect();
            let unknown = |found: BTreeSet<_>, known: BTreeSet<_>| &found - &known;
            assert_eq!(unknown(stricter, known(STRICTER_THAN_PODMAN)), BTreeSet::new(), "{file}");
            assert_eq!(unknown(looser, known(LOOSER_THAN_PODMAN)), BTreeSet::new(), "{file}");
        }
    }
}

/// With arguments that some rule looks at.
fn every_call(machine: Machine) -> Vec<(Call, &'static str)> {
    const FIRST: [u64; 12] =
        [0, 8, 16, 38, 39, 40, 41, 0x2_0000, 0x2_0008, 0x4_0000, 1 << 28, !0 >> 32];
    let mut calls = Vec::new();
    for architecture in machine.architectures() {
        for (name, _) in SYSCALLS {
            for abi in architecture.abis {
                let Some(number) = Syscall::named(name).number(*abi) else { continue };
                for (first, third) in FIRST.iter().flat_map(|first| [(*first, 0), (*first, 9)]) {
                    let args = [first, 0, third, 0, 0, 0];
                    calls.push((Call { number, architecture: architecture.audit, args }, *name));
                }
            }
        }
    }
    calls
}
