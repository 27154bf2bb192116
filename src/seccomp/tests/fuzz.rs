//! Random profiles: each is refused by its path, or gives programs that the kernel takes
//! (`bpf_check_classic` and `seccomp_check_filter` in the kernel's sources).

use super::*;
use crate::chance::{Chance, fuzz};
use crate::seccomp::bpf::LONGEST;

/// What the kernel asks of a program before it installs it.
fn assert_loadable(program: &[libc::sock_filter]) {
    assert!((1..=LONGEST).contains(&program.len()), "{} instructions", program.len());
    for (at, instruction) in program.iter().enumerate() {
        let libc::sock_filter { code, jt, jf, k } = *instruction;
        let behind = program.len() - at - 1;
        match code {
            // A word of seccomp_data.
            0x20 => assert!(k.is_multiple_of(4) && k < 64, "{at}: a load from {k}"),
            0x54 => {}
            0x05 => assert!((k as usize) < behind, "{at}: a jump by {k} of {behind}"),
            0x15 | 0x25 | 0x35 => {
                assert!(usize::from(jt.max(jf)) < behind, "{at}: {jt}, {jf} of {behind}");
            }
            0x06 => {}
            _ => panic!("{at}: instruction {code:#x}"),
        }
    }
    assert_eq!(program.last().expect("one").code, 0x06, "it runs off its end");
}

fn any_profile(chance: &mut Chance) -> Value {
    let actions =
        ["ALLOW", "ERRNO", "KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "TRACE", "LOG", "NOTIFY"];
    let architectures = ["X86_64", "X86", "X32", "AARCH64", "ARM", "RISCV64", "S390X", "NATIVE"];
    let operators = ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"];
    let flags = ["LOG", "SPEC_ALLOW", "TSYNC", "WAIT_KILLABLE_RECV"];
    let values = [0, 1, 5, 0x8000_0000, 0xffff_ffff, 1 << 32, u64::MAX - 1, u64::MAX];
    let action = |chance: &mut Chance| match chance.below(20) {
        0 => chance.text(&actions),
        _ => format!("SCMP_ACT_{}", chance.one(&actions)),
    };
    let errno = |chance: &mut Chance| match chance.below(6) {
        0 => json!(*chance.one(&[0, 1, 38, 4095, 4096, 65535, 65536, u32::MAX])),
        _ => Value::Null,
    };
    let mut rules = Vec::new();
    let most = *chance.one(&[1, 12, 12, 12, 400]);
    for _ in 0..chance.below(most) {
        let names: Vec<String> = (0..=chance.below(8))
            .map(|_| match chance.below(30) {
                0 => chance.text(&["read", "ipc", "socketcall"]),
                1 => chance.one(MULTIPLEXED).0.to_owned(),
                _ => chance.one(SYSCALLS).0.to_owned(),
            })
            .collect();
        let args: Vec<Value> = (0..chance.below(4))
            .map(|_| {
                let index = *chance.one(&[0, 0, 1, 1, 2, 3, 4, 5, 5, 5, 5, 6]);
                json!({
                    "index": index,
                    "op": format!("SCMP_CMP_{}", chance.one(&operators)),
                    "value": chance.one(&values),
                    "valueTwo": chance.one(&values),
                })
            })
            .collect();
        rules.push(json!({
            "names": names, "action": action(chance), "errnoRet": errno(chance), "args": args,
        }));
    }
    let some = |chance: &mut Chance, prefix: &str, list: &[&str]| -> Vec<String> {
        (0..chance.below(4)).map(|_| format!("{prefix}{}", chance.one(list))).collect()
    };
    json!({
        "defaultAction": action(chance),
        "defaultErrnoRet": errno(chance),
        "architectures": some(chance, "SCMP_ARCH_", &architectures),
        "flags": some(chance, "SECCOMP_FILTER_FLAG_", &flags),
        "listenerPath": "/run/listener",
        "syscalls": rules,
    })
}

#[test]
fn any_profile_gives_a_program_that_the_kernel_takes_or_is_refused() {
    let (mut programs, mut refusals) = (0, 0);
    let count = fuzz(300, |_, chance| {
        let json = any_profile(chance);
        let Ok(profile) = serde_json::from_value::<LinuxSeccomp>(json) else { return };
        for machine in Machine::ALL {
            match compile(&profile, Some(machine)) {
                Ok(filter) => {
                    let program = filter.program.instructions();
                    assert_loadable(program);
                    for _ in 0..20 {
                        let number = chance.below(600) as u32 | (chance.below(2) as u32) << 30;
                        let architecture =
                            *chance.one(&[X86_64, I386, 0xc000_00b7, 0x4000_0028, 0xc000_00f3]);
                        let args = [0; 6].map(|_: u64| chance.next() >> chance.below(64));
                        let (_, steps) = run(program, Call { number, architecture, args });
                        assert!(steps <= program.len());
                    }
                    programs += 1;
                }
                Err(refusal) => {
                    assert!(refusal.path.starts_with("linux.seccomp"), "{refusal:?}");
                    refusals += 1;
                }
            }
        }
    });
    let enough = count.is_none_or(|count| programs > count / 2 && refusals > 0);
    assert!(enough, "{programs} programs, {refusals} refusals");
}
