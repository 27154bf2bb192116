//! The ABIs through which a program can make system calls, and their numbers.

use oci_spec::runtime::Arch;

use super::tables::{ARM_PRIVATE, NONE, SYSCALLS};

/// Set in the numbers of x32's system calls (`__X32_SYSCALL_BIT`).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// A machine that containers run on, by what it can execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machine {
    /// x86_64, which runs x32 and i386 programs too.
    X86_64,
    /// aarch64, which runs 32-bit arm programs too.
    Aarch64,
    /// riscv64.
    Riscv64,
}

impl Machine {
    /// The one that this was built for.
    pub const NATIVE: Option<Machine> = if cfg!(target_arch = "x86_64") {
        Some(Machine::X86_64)
    } else if cfg!(target_arch = "aarch64") {
        Some(Machine::Aarch64)
    } else if cfg!(target_arch = "riscv64") {
        Some(Machine::Riscv64)
    } else {
        None
    };

    #[cfg(test)]
    pub(super) const ALL: [Machine; 3] = [Machine::X86_64, Machine::Aarch64, Machine::Riscv64];

    /// Its own ABI first; the kernel tells those of one architecture apart by the number.
    pub(super) fn architectures(self) -> &'static [Architecture] {
        match self {
            Machine::X86_64 => &[
                Architecture { audit: 0xc000_003e, abis: &[Abi::X86_64, Abi::X32] },
                Architecture { audit: 0x4000_0003, abis: &[Abi::I386] },
            ],
            Machine::Aarch64 => &[
                Architecture { audit: 0xc000_00b7, abis: &[Abi::Aarch64] },
                Architecture { audit: 0x4000_0028, abis: &[Abi::Arm] },
            ],
            Machine::Riscv64 => &[Architecture { audit: 0xc000_00f3, abis: &[Abi::Riscv64] }],
        }
    }

    /// What a profile calls it.
    pub(super) fn architecture(self) -> Arch {
        match self {
            Machine::X86_64 => Arch::ScmpArchX86_64,
            Machine::Aarch64 => Arch::ScmpArchAarch64,
            Machine::Riscv64 => Arch::ScmpArchRiscv64,
        }
    }

    /// What profiles of engines written in Go call it.
    pub(super) fn name_in_go(self) -> &'static str {
        match self {
            Machine::X86_64 => "amd64",
            Machine::Aarch64 => "arm64",
            Machine::Riscv64 => "riscv64",
        }
    }

    /// The ABI of its 64-bit programs, which every profile covers.
    pub(super) fn own(self) -> Abi {
        match self {
            Machine::X86_64 => Abi::X86_64,
            Machine::Aarch64 => Abi::Aarch64,
            Machine::Riscv64 => Abi::Riscv64,
        }
    }
}

/// What the kernel calls an architecture (`AUDIT_ARCH_*` of linux/audit.h).
#[derive(Debug)]
pub(super) struct Architecture {
    pub(super) audit: u32,
    pub(super) abis: &'static [Abi],
}

/// A way to number system calls and to pass their arguments: a column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X32,
    I386,
    Aarch64,
    Arm,
    Riscv64,
}

impl Abi {
    pub(super) fn of(arch: Arch) -> Option<Abi> {
        match arch {
            Arch::ScmpArchX86_64 => Some(Abi::X86_64),
            Arch::ScmpArchX32 => Some(Abi::X32),
            Arch::ScmpArchX86 => Some(Abi::I386),
            Arch::ScmpArchAarch64 => Some(Abi::Aarch64),
            Arch::ScmpArchArm => Some(Abi::Arm),
            Arch::ScmpArchRiscv64 => Some(Abi::Riscv64),
            _ => None,
        }
    }

    /// The bits of an argument that are looked at; a profile's values are cut off there.
    /// (x32 could pass more in places; libseccomp looks at no more either.)
    pub(super) fn argument_bits(self) -> u64 {
        match self {
            Abi::X86_64 | Abi::Aarch64 | Abi::Riscv64 => u64::MAX,
            Abi::X32 | Abi::I386 | Abi::Arm => u64::from(u32::MAX),
        }
    }

    /// The first number of this ABI in its architecture.
    #[inline]
    pub(super) fn first(self) -> u32 {
        if self == Abi::X32 { X32_BIT } else { 0 }
    }

    /// The number in a row of the table.
    fn number(self, row: usize) -> Option<u32> {
        let (name, numbers) = SYSCALLS.get(row)?;
        // riscv64 and aarch64 follow the same list of the kernel's (asm-generic/unistd.h).
        let column = match (self, *name) {
            (Abi::X86_64, _) => 0,
            (Abi::X32, _) => 1,
            (Abi::I386, _) => 2,
            (Abi::Riscv64, "renameat") => return None,
            (Abi::Riscv64, "riscv_hwprobe") => return Some(258),
            (Abi::Riscv64, "riscv_flush_icache") => return Some(259),
            (Abi::Aarch64 | Abi::Riscv64, _) => 3,
            (Abi::Arm, _) => 4,
        };
        match numbers[column] {
            NONE => None,
            number => Some(self.first() | u32::from(number.unsigned_abs())),
        }
    }
}

/// A system call's name, looked up once for all ABIs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Syscall<'a> {
    pub(super) name: &'a str,
    row: Option<usize>,
}

impl<'a> Syscall<'a> {
    pub(super) fn named(name: &'a str) -> Self {
        Syscall { name, row: SYSCALLS.binary_search_by_key(&name, |row| row.0).ok() }
    }

    #[cfg(test)]
    pub(super) fn is_known(self) -> bool {
        self.row.is_some() || self.private_number(Abi::Arm).is_some()
    }

    /// Finds names quickly that come in the order of the table, as they do in profiles: each
    /// is looked for a little way behind the one before it first.
    pub(super) fn all(names: &'a [String]) -> impl Iterator<Item = Self> {
        names.iter().scan(0, |next, name| {
            let mut ahead = SYSCALLS[*next..].iter().take(8);
            let found = match ahead.position(|row| row.0 == name) {
                Some(distance) => Self { name, row: Some(*next + distance) },
                None => Self::named(name),
            };
            *next = found.row.map_or(*next, |row| row + 1);
            Some(found)
        })
    }

    /// Its number in the table that an ABI shares with others; it grows with the kernel.
    pub(super) fn number(self, abi: Abi) -> Option<u32> {
        abi.number(self.row?)
    }

    /// Its number among those of arm's own, which are far beyond all others.
    pub(super) fn private_number(self, abi: Abi) -> Option<u32> {
        if abi != Abi::Arm || self.row.is_some() {
            return None;
        }
        ARM_PRIVATE.iter().find(|(name, _)| *name == self.name).map(|(_, number)| *number)
    }
}
