//! An assembler for the kernel's classic BPF (Linux' networking/filter.rst).
//!
//! Jumps lead forward only, so a program is written from its end: whatever an instruction
//! leads to is there already, and what is there is used again instead of being written
//! twice. A conditional jump reaches 255 instructions far; beyond that a copy or a long
//! jump is put within its reach.

use std::collections::BTreeMap;

use libc::sock_filter;

/// Longer programs are refused by the kernel (`BPF_MAXINSNS`).
pub(super) const LONGEST: usize = 4096;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const GOTO: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

/// Instructions as seccomp(2) takes them.
#[derive(Clone)]
pub struct Program(Vec<sock_filter>);

impl Program {
    /// Each instruction as a number: jf, jt, code, k from the most significant byte on.
    pub(super) fn packed(words: &[u64]) -> Self {
        let instruction = |word: &u64| sock_filter {
            code: (word >> 32) as u16,
            jt: (word >> 48) as u8,
            jf: (word >> 56) as u8,
            k: *word as u32,
        };
        Program(words.iter().map(instruction).collect())
    }

    pub(crate) fn instructions(&self) -> &[sock_filter] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        let fields = |i: &sock_filter| (i.code, i.jt, i.jf, i.k);
        self.0.iter().map(fields).eq(other.0.iter().map(fields))
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Program({} instructions)", self.0.len())
    }
}

/// A comparison of the accumulator with a constant, both unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Test {
    Equal,
    Above,
    AtLeast,
}

impl Test {
    fn code(self) -> u16 {
        let operation = match self {
            Test::Equal => libc::BPF_JEQ,
            Test::Above => libc::BPF_JGT,
            Test::AtLeast => libc::BPF_JGE,
        };
        (libc::BPF_JMP | operation | libc::BPF_K) as u16
    }
}

/// An instruction, by how many stand behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Label(usize);

/// A word of `seccomp_data` by offset and mask, what it is compared with, and what that
/// leads to.
type Branch = ((u32, u32), Test, u32, Label, Label);

/// A program while it is written, last instruction first.
#[derive(Default)]
pub(super) struct Assembler {
    reversed: Vec<sock_filter>,
    /// The last of each value; there are few.
    returns: Vec<(u32, Label)>,
    gotos: BTreeMap<Label, Label>,
    branches: BTreeMap<Branch, Label>,
}

impl Assembler {
    /// Ends the program with a `SECCOMP_RET_*` value.
    pub(super) fn end(&mut self, value: u32) -> Label {
        self.known_end(value).unwrap_or_else(|| self.write_end(value))
    }

    /// Compares what is in the accumulator; it may hold something else at both targets.
    pub(super) fn test(&mut self, test: Test, with: u32, yes: Label, no: Label) -> Label {
        if yes == no { yes } else { self.write_test(test, with, yes, no) }
    }

    /// Loads a word of `seccomp_data`, given by offset and mask, and compares it.
    pub(super) fn load_and_test(
        &mut self,
        word: (u32, u32),
        test: Test,
        with: u32,
        yes: Label,
        no: Label,
    ) -> Label {
        let branch = (word, test, with, yes, no);
        if yes == no {
            return yes;
        }
        if let Some(known) = self.branches.get(&branch) {
            return *known;
        }
        let (offset, mask) = word;
        if mask == u32::MAX {
            let (yes, no) = (self.behind_load(yes, offset), self.behind_load(no, offset));
            self.write_test(test, with, yes, no);
        } else {
            self.write_test(test, with, yes, no);
            self.write(AND, mask, 0, 0);
        }
        let label = self.write(LOAD, offset, 0, 0);
        self.branches.insert(branch, label);
        label
    }

    /// Loads a word and goes on.
    pub(super) fn load(&mut self, offset: u32, next: Label) -> Label {
        if next.0 + 1 != self.reversed.len() {
            self.goto(next);
        }
        self.write(LOAD, offset, 0, 0)
    }

    pub(super) fn len(&self) -> usize {
        self.reversed.len()
    }

    pub(super) fn finish(mut self) -> Program {
        self.reversed.reverse();
        Program(self.reversed)
    }

    fn write_test(&mut self, test: Test, with: u32, yes: Label, no: Label) -> Label {
        // What is put within reach of the second target moves the first one away.
        let yes = self.within_reach(yes, 1);
        let no = self.within_reach(no, 0);
        let (jt, jf) = (self.distance(yes) as u8, self.distance(no) as u8);
        self.write(test.code(), with, jt, jf)
    }

    /// A target that would load what the accumulator holds anyway is entered behind that.
    fn behind_load(&self, target: Label, offset: u32) -> Label {
        let at = &self.reversed[target.0];
        if at.code == LOAD && at.k == offset { Label(target.0 - 1) } else { target }
    }

    /// The target, or something that leads there and stays near while `more` is written.
    fn within_reach(&mut self, target: Label, more: usize) -> Label {
        let is_near = |label: Label| self.distance(label) + more <= usize::from(u8::MAX);
        if is_near(target) {
            return target;
        }
        let at = self.reversed[target.0];
        if at.code == RETURN {
            let known = self.known_end(at.k).filter(|label| is_near(*label));
            return known.unwrap_or_else(|| self.write_end(at.k));
        }
        let known = self.gotos.get(&target).copied();
        known.filter(|label| is_near(*label)).unwrap_or_else(|| self.goto(target))
    }

    fn known_end(&self, value: u32) -> Option<Label> {
        self.returns.iter().find(|(known, _)| *known == value).map(|(_, label)| *label)
    }

    fn write_end(&mut self, value: u32) -> Label {
        let label = self.write(RETURN, value, 0, 0);
        self.returns.retain(|(known, _)| *known != value);
        self.returns.push((value, label));
        label
    }

    fn goto(&mut self, target: Label) -> Label {
        let label = self.write(GOTO, self.distance(target) as u32, 0, 0);
        self.gotos.insert(target, label);
        label
    }

    /// How many instructions the next one written would have to skip.
    fn distance(&self, target: Label) -> usize {
        self.reversed.len() - 1 - target.0
    }

    fn write(&mut self, code: u16, k: u32, jt: u8, jf: u8) -> Label {
        self.reversed.push(sock_filter { code, jt, jf, k });
        Label(self.reversed.len() - 1)
    }
}
