//! minirun: parse, carry out, exit.

#![cfg_attr(not(test), no_main)]

#[cfg(test)]
#[path = "../tests/support/chance.rs"]
mod chance;
#[cfg_attr(test, allow(dead_code, reason = "the tests have a main of their own"))]
mod cli;

#[global_allocator]
static ALLOCATOR: minirun::Arena = minirun::Arena;

#[cfg(all(target_arch = "x86_64", target_env = "musl"))]
minirun::copying!(minirun::copy);

#[cfg(not(test))]
minirun::program!(cli::main: fn(minirun::Arguments));
