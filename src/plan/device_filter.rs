//! Device rules, and the BPF program that they are on cgroup v2.
//!
//! The kernel asks the program for each mknod(2) and open(2) of a device: which type and
//! number, and which kinds of access at once. For each kind of access the last rule that
//! speaks of it decides, so the program looks at the rules from the last to the first and
//! forgets the kinds that were allowed. Instructions are numbers of 64 bits
//! (linux/bpf.h, `struct bpf_insn`); loading them is the business of `sys`.
//!
//! The kernel's verifier follows every path through the program, and ends one early where it
//! knows no more than on one before. So each test loads what it looks at anew: a number kept
//! in a register would be known on the paths on which it was the one looked for, and each of
//! them followed to the end. Rules in a row about one kind or one major share its test.

/// One entry of `linux.resources.devices`, or a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) allow: bool,
    pub(super) kind: Kind,
    /// `None`: all of them.
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: Access,
}

/// Which nodes a rule speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Any,
    Block,
    Character,
}

/// Kinds of access, a bit each (`BPF_DEVCG_ACC_*`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Access(u8);

impl Access {
    pub(super) const NONE: Access = Access(0);
    pub(super) const MKNOD: Access = Access(1);
    pub(super) const READ: Access = Access(2);
    pub(super) const WRITE: Access = Access(4);
    pub(super) const ALL: Access = Access(7);

    pub(super) fn letters(self) -> String {
        let named = [(Access::READ, 'r'), (Access::WRITE, 'w'), (Access::MKNOD, 'm')];
        named.iter().filter(|(bit, _)| self.0 & bit.0 != 0).map(|(_, letter)| letter).collect()
    }
}

impl std::ops::BitOr for Access {
    type Output = Access;

    fn bitor(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }
}

impl Rule {
    /// Whether no former rule matters after this one.
    pub(super) fn is_about_everything(&self) -> bool {
        self.kind == Kind::Any && (self.major, self.minor) == (None, None) && self.decides()
    }

    /// Whether no former rule matters for the devices that this one speaks of.
    fn decides(&self) -> bool {
        self.access == Access::ALL
    }

    /// The rule in the words of v1's devices.allow and devices.deny. There `a` means all
    /// of everything, whatever follows it.
    pub(super) fn lines(&self) -> Vec<String> {
        if self.is_about_everything() {
            return vec!["a".to_owned()];
        }
        let number = |number: Option<u32>| number.map_or("*".to_owned(), |n| n.to_string());
        let kinds: &[char] = match self.kind {
            Kind::Any => &['b', 'c'],
            Kind::Block => &['b'],
            Kind::Character => &['c'],
        };
        let (major, minor) = (number(self.major), number(self.minor));
        let access = self.access.letters();
        kinds.iter().map(|kind| format!("{kind} {major}:{minor} {access}")).collect()
    }
}

/// Numbers of `BPF_DEVCG_DEV_*`.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;

/// Registers: the answer, the context, what is asked for and not yet allowed, and a part of
/// the context to look at.
const ANSWER: u8 = 0;
const CONTEXT: u8 = 1;
const ACCESS: u8 = 2;
const PART: u8 = 3;

/// Parts of `struct bpf_cgroup_dev_ctx`, in bytes: access << 16 | type, major, minor.
const ACCESS_AND_TYPE: i16 = 0;
const MAJOR: i16 = 4;
const MINOR: i16 = 8;

/// How many rules may share a test: a jump over their instructions, eight each at most, has
/// to fit 16 bits.
const SHARED: usize = 1024;

/// The program for these rules. Without any, or where none speaks of a device, it is
/// allowed, as in a new cgroup of v1.
pub(super) fn compile(rules: &[Rule]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, ACCESS, CONTEXT, ACCESS_AND_TYPE, 0),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
    ];
    let is_about_all = |rule: &&Rule| rule.is_about_everything();
    let otherwise = rules.iter().rev().find(is_about_all).is_none_or(|rule| rule.allow);
    let rules: Vec<Rule> =
        rules.iter().rev().take_while(|rule| !is_about_all(rule)).copied().collect();
    for rules in rules.chunk_by(|a, b| a.kind == b.kind).flat_map(|same| same.chunks(SHARED)) {
        program.extend(of_one_kind(rules));
    }
    program.extend(answer(otherwise));
    program
}

fn of_one_kind(rules: &[Rule]) -> Vec<u64> {
    let rules = up_to(rules, |rule| rule.decides() && (rule.major, rule.minor) == (None, None));
    let majors = rules.chunk_by(|a, b| a.major == b.major).flat_map(of_one_major).collect();
    let load = [
        instruction(LOAD_WORD, PART, CONTEXT, ACCESS_AND_TYPE, 0),
        instruction(AND, PART, 0, 0, 0xffff),
    ];
    let kind = match rules.first().map(|rule| rule.kind) {
        None | Some(Kind::Any) => None,
        Some(Kind::Block) => Some(BLOCK),
        Some(Kind::Character) => Some(CHARACTER),
    };
    only(&load, kind, majors)
}

fn of_one_major(rules: &[Rule]) -> Vec<u64> {
    let load = |part| [instruction(LOAD_WORD, PART, CONTEXT, part, 0)];
    let minor = |rule: &Rule| only(&load(MINOR), rule.minor.map(u32::cast_signed), body(rule));
    let major = rules.first().and_then(|rule| rule.major);
    let minors = up_to(rules, |rule| rule.decides() && rule.minor.is_none()).iter();
    only(&load(MAJOR), major.map(u32::cast_signed), minors.flat_map(minor).collect())
}

/// The rules to the first that leaves nothing to those after it, with that one: the kernel
/// refuses programs with instructions that are never reached.
fn up_to(rules: &[Rule], is_last: impl Fn(&Rule) -> bool) -> &[Rule] {
    rules.iter().position(is_last).map_or(rules, |last| &rules[..=last])
}

/// Jumps over the body when what is loaded is another number.
fn only(load: &[u64], wanted: Option<i32>, body: Vec<u64>) -> Vec<u64> {
    let Some(wanted) = wanted else {
        return body;
    };
    let mut program = load.to_vec();
    program.push(instruction(JUMP_UNEQUAL, PART, 0, body.len() as i16, wanted));
    program.extend(body);
    program
}

/// What happens to a device that the rule speaks of.
fn body(rule: &Rule) -> Vec<u64> {
    let access = i32::from(rule.access.0);
    let mut body = match rule.allow {
        _ if rule.decides() => Vec::new(),
        // When nothing is left to be allowed, that's it.
        true => vec![
            instruction(AND, ACCESS, 0, 0, !access),
            instruction(JUMP_UNEQUAL, ACCESS, 0, 2, 0),
        ],
        false => {
            vec![instruction(JUMP_IF_ANY, ACCESS, 0, 1, access), instruction(JUMP, 0, 0, 2, 0)]
        }
    };
    body.extend(answer(rule.allow));
    body
}

fn answer(allow: bool) -> [u64; 2] {
    [instruction(MOVE, ANSWER, 0, 0, i32::from(allow)), instruction(EXIT, 0, 0, 0, 0)]
}

/// Codes of instructions; arithmetic and jumps compare 32 bits where they can.
const LOAD_WORD: u8 = 0x61;
const MOVE: u8 = 0xb4;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP: u8 = 0x05;
const JUMP_UNEQUAL: u8 = 0x56;
const JUMP_IF_ANY: u8 = 0x46;
const EXIT: u8 = 0x95;

/// `struct bpf_insn` as a number in memory order: code, registers, offset, immediate.
/// The registers' half-bytes change places on big-endian machines.
fn instruction(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
    let [o0, o1] = offset.to_ne_bytes();
    let [i0, i1, i2, i3] = immediate.to_ne_bytes();
    u64::from_ne_bytes([code, registers, o0, o1, i0, i1, i2, i3])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a program as the kernel would; panics on what its verifier would refuse.
    fn run(program: &[u64], kind: i32, (major, minor): (u32, u32), access: Access) -> bool {
        let context = [u32::from(access.0) << 16 | kind.cast_unsigned(), major, minor];
        let mut registers = [0u32; 11];
        let mut at = 0;
        loop {
            let [code, pair, o0, o1, i0, i1, i2, i3] = program[at].to_ne_bytes();
            let (to, from) = (usize::from(pair & 15), usize::from(pair >> 4));
            let offset = usize::try_from(i16::from_ne_bytes([o0, o1])).expect("no jumps back");
            let immediate = i32::from_ne_bytes([i0, i1, i2, i3]).cast_unsigned();
            at += 1;
            match code {
                LOAD_WORD => {
                    assert_eq!(from, 1, "only the context can be loaded from");
                    registers[to] = context[offset / 4];
                }
                MOVE => registers[to] = immediate,
                AND => registers[to] &= immediate,
                SHIFT_RIGHT => registers[to] >>= immediate,
                JUMP => at += offset,
                JUMP_UNEQUAL if registers[to] != immediate => at += offset,
                JUMP_IF_ANY if registers[to] & immediate != 0 => at += offset,
                JUMP_UNEQUAL | JUMP_IF_ANY => {}
                EXIT => return registers[0] != 0,
                _ => panic!("instruction {code:#x}"),
            }
        }
    }

    /// Which instructions can be reached at all.
    fn reached(program: &[u64]) -> Vec<bool> {
        let mut reached = vec![false; program.len()];
        let mut open = vec![0];
        while let Some(at) = open.pop() {
            if std::mem::replace(&mut reached[at], true) {
                continue;
            }
            let [code, _, o0, o1, ..] = program[at].to_ne_bytes();
            let far = at + 1 + usize::try_from(i16::from_ne_bytes([o0, o1])).unwrap();
            match code {
                EXIT => {}
                JUMP => open.push(far),
                JUMP_UNEQUAL | JUMP_IF_ANY => open.extend([at + 1, far]),
                _ => open.push(at + 1),
            }
        }
        reached
    }

    const fn rule(
        allow: bool,
        kind: Kind,
        major: Option<u32>,
        minor: Option<u32>,
        access: Access,
    ) -> Rule {
        Rule { allow, kind, major, minor, access }
    }

    const DENY_ALL: Rule = rule(false, Kind::Any, None, None, Access::ALL);
    const NULL: Rule = rule(true, Kind::Character, Some(1), Some(3), Access::ALL);

    /// Per kind of access, the last rule that speaks of it decides.
    fn meant(rules: &[Rule], kind: i32, (major, minor): (u32, u32), access: Access) -> bool {
        let speaks = |rule: &Rule, bit: u8| {
            rule.access.0 & bit != 0
                && rule.major.is_none_or(|found| found == major)
                && rule.minor.is_none_or(|found| found == minor)
                && match rule.kind {
                    Kind::Any => true,
                    Kind::Block => kind == BLOCK,
                    Kind::Character => kind == CHARACTER,
                }
        };
        [1, 2, 4].into_iter().filter(|bit| access.0 & bit != 0).all(|bit| {
            rules.iter().rev().find(|rule| speaks(rule, bit)).is_none_or(|rule| rule.allow)
        })
    }

    #[test]
    fn what_engines_send_allows_null_and_denies_the_disk() {
        let program = compile(&[DENY_ALL, NULL]);
        assert!(run(&program, CHARACTER, (1, 3), Access::READ | Access::WRITE));
        assert!(!run(&program, CHARACTER, (1, 1), Access::READ));
        assert!(!run(&program, BLOCK, (1, 3), Access::READ));
        assert!(!run(&program, BLOCK, (8, 0), Access::MKNOD));
    }

    #[test]
    fn every_list_of_rules_does_what_it_says() {
        let kinds = [Kind::Any, Kind::Block, Kind::Character];
        let mut seed = 1u32;
        let mut pick = |count: u32| {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
            (seed >> 16) % count
        };
        for _ in 0..500 {
            let rules: Vec<Rule> = (0..pick(7))
                .map(|_| Rule {
                    allow: pick(2) == 0,
                    kind: kinds[pick(3) as usize],
                    major: [None, Some(1), Some(u32::MAX)][pick(3) as usize],
                    minor: [None, Some(3)][pick(2) as usize],
                    access: Access(1 + pick(7) as u8),
                })
                .collect();
            let program = compile(&rules);
            assert!(reached(&program).iter().all(|reached| *reached), "{rules:?}");
            for kind in [BLOCK, CHARACTER] {
                for number in [(1, 3), (1, 4), (2, 3), (u32::MAX, 0)] {
                    for access in 1..8 {
                        let access = Access(access);
                        assert_eq!(
                            run(&program, kind, number, access),
                            meant(&rules, kind, number, access),
                            "{rules:?} {kind} {number:?} {access:?}"
                        );
                    }
                }
            }
        }
    }

    /// What a comparison leaves known must not be looked at by the next: the verifier would
    /// follow each path on.
    #[test]
    fn every_comparison_loads_what_it_compares() {
        let rules = [DENY_ALL, rule(true, Kind::Block, None, Some(4), Access::READ), NULL];
        let codes: Vec<(u8, u8)> = compile(&rules)
            .iter()
            .map(|instruction| instruction.to_ne_bytes())
            .map(|[code, registers, ..]| (code, registers & 15))
            .collect();
        let compares = |at: &usize| codes[*at] == (JUMP_UNEQUAL, PART);
        let compared: Vec<usize> = (0..codes.len()).filter(compares).collect();
        assert_eq!(compared.len(), 5, "{codes:?}");
        for at in compared {
            let before = if codes[at - 1] == (AND, PART) { at - 2 } else { at - 1 };
            assert_eq!(codes[before], (LOAD_WORD, PART), "{codes:?}");
        }
    }

    #[test]
    fn thousands_of_rules_are_no_further_than_a_jump_goes() {
        let minors = 0..5000;
        let each = |minor| rule(true, Kind::Character, Some(7), Some(minor), Access::READ);
        let rules: Vec<Rule> = [DENY_ALL].into_iter().chain(minors.clone().map(each)).collect();
        let program = compile(&rules);
        for minor in minors.step_by(499) {
            assert!(run(&program, CHARACTER, (7, minor), Access::READ));
            assert!(!run(&program, CHARACTER, (7, minor), Access::ALL));
            assert!(!run(&program, CHARACTER, (8, minor), Access::READ));
        }
        assert!(!run(&program, BLOCK, (7, 3), Access::READ));
    }

    #[test]
    fn v1_gets_one_line_a_kind() {
        assert_eq!(DENY_ALL.lines(), ["a"]);
        assert_eq!(NULL.lines(), ["c 1:3 rwm"]);
        let partial = rule(false, Kind::Any, None, None, Access::MKNOD);
        assert_eq!(partial.lines(), ["b *:* m", "c *:* m"]);
    }
}
