//! What fuzzers choose with: numbers that look random and are the same on every machine.
//!
//! `MINIRUN_FUZZ=N` sets how many inputs each tries, `MINIRUN_FUZZ_SEED=S` repeats one that
//! was reported. (cargo-fuzz isn't used: libFuzzer's view of the branches that were taken
//! needs a nightly compiler, and these know their formats instead.)

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// xorshift64*.
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    pub fn one<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }

    /// A text of these pieces and of what has broken parsers, often of one piece alone.
    #[allow(dead_code, reason = "each crate of fuzzers uses its own part of this")]
    pub fn text(&mut self, pieces: &[&str]) -> String {
        let odd = [
            "",
            " ",
            "-",
            "+",
            ".",
            "..",
            "/",
            ":",
            ",",
            "=",
            "0",
            "1",
            "-1",
            "9",
            "4294967295",
            "4294967296",
            "18446744073709551616",
            "1e9",
            "0x1",
            "nan",
            "inf",
            "\0",
            "\n",
            "\\",
            "\u{202e}",
            "\u{1f980}",
            "\u{130}",
            "\u{df}",
            "%s",
            "{}",
        ];
        let count = self.below(7);
        let piece = |_| match self.below(3) {
            0 => *self.one(&odd),
            _ => *self.one(pieces),
        };
        (0..=count).map(piece).collect()
    }
}

/// Calls with one seed after the other; says which one panics. Gives how many there were,
/// or `None` when a single one was asked for.
pub fn fuzz(rounds: u64, mut round: impl FnMut(u64, &mut Chance)) -> Option<u64> {
    let number = |variable| std::env::var(variable).ok()?.parse().ok();
    let first = number("MINIRUN_FUZZ_SEED");
    let count = if first.is_some() { 1 } else { number("MINIRUN_FUZZ").unwrap_or(rounds) };
    for seed in (first.unwrap_or(1)..).take(count as usize) {
        let outcome = catch_unwind(AssertUnwindSafe(|| round(seed, &mut Chance::new(seed))));
        if let Err(panic) = outcome {
            println!("to repeat this: MINIRUN_FUZZ_SEED={seed}");
            resume_unwind(panic);
        }
    }
    first.is_none().then_some(count)
}
