//! The table against the kernel's headers, where they are installed.

use std::io::Write;

use super::*;

/// From lines like `#define __NR_name number`; x32's add a bit to the number.
fn numbers(header: &str) -> Vec<(&str, u32)> {
    header
        .lines()
        .filter_map(|line| {
            let (name, number) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            let number = number.trim_start_matches("(__X32_SYSCALL_BIT + ").trim_end_matches(')');
            Some((name, number.parse().ok()?))
        })
        .collect()
}

#[test]
fn the_table_has_what_the_installed_headers_have() {
    for (abi, file, bit) in [
        (Abi::X86_64, "unistd_64.h", 0),
        (Abi::X32, "unistd_x32.h", X32_BIT),
        (Abi::I386, "unistd_32.h", 0),
    ] {
        let path = format!("/usr/include/x86_64-linux-gnu/asm/{file}");
        let Ok(header) = std::fs::read_to_string(&path) else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: no {path}; linux-libc-dev has it");
            continue;
        };
        let numbers = numbers(&header);
        assert!(numbers.len() > 300, "{path}: {}", numbers.len());
        for (name, number) in numbers {
            assert_eq!(Syscall::named(name).number(abi), Some(number | bit), "{name} in {path}");
        }
    }
}
