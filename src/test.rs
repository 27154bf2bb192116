//! A Rust test's body in a fresh container: as root of its own machine, in effect, without
//! the files, processes and network of this one.

use std::any::type_name;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::command::Container;
use crate::error::Result;

/// Which call of a test's the process in the container is there for.
const MARK: &str = "MINIRUN_TEST_INSIDE";
/// The status by which it says that the body has run to its end. A test program that didn't
/// find the test ends with 0.
const HELD: u8 = 93;
/// That of a Rust program that panics.
const PANICKED: u8 = 101;

/// Runs the rest of a test in a container: the test program is started once more in there,
/// for this one test, and `body` is called when it comes to this call. What stands before the
/// call happens on both sides, what stands behind it on the outside only.
///
/// The body's output is the test's. When the body panics, or the process ends in any other
/// way, this panics with all that it wrote.
///
/// ```no_run
/// # #![allow(clippy::test_attr_in_doctest)]
/// use minirun::{Container, Result, test};
///
/// #[test]
/// fn a_host_name_can_be_set() -> Result<()> {
///     test::inside(Container::empty().hostname("box"), || {
///         let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
///         assert_eq!(name, "box\n");
///     })
/// }
/// ```
///
/// # Errors
/// When the container can't be made; the body hasn't run then.
///
/// # Panics
/// When the body fails, or the test's name can't be told: it is the thread's, and on the main
/// thread (`--test-threads=1`) that of the function in which the closure is written.
#[track_caller]
pub fn inside<F: FnOnce()>(container: &Container, body: F) -> Result<()> {
    thread_local!(static CALLS: Cell<u32> = const { Cell::new(0) });
    let call = CALLS.replace(CALLS.get() + 1).to_string();
    match std::env::var(MARK) {
        Ok(mark) if mark == call => end(body),
        // The body of an earlier call had a container of its own.
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let name = match std::thread::current().name() {
        Some(name) if name != "main" => name.to_owned(),
        _ => function_of(type_name::<F>()).to_owned(),
    };
    let mut command = container.itself()?;
    command.args(["--exact", &name, "--include-ignored", "--nocapture", "--test-threads=1"]);
    command.env(MARK, call);
    for variable in ["RUST_BACKTRACE", "RUST_LIB_BACKTRACE"] {
        if let Ok(value) = std::env::var(variable) {
            command.env(variable, value);
        }
    }
    let output = command.output()?;
    let [stdout, stderr] = [&output.stdout, &output.stderr].map(|s| String::from_utf8_lossy(s));
    match (output.status.exit_code(), output.status.signal()) {
        (HELD, None) => {
            // By macros, which the test harness listens to.
            print!("{stdout}");
            eprint!("{stderr}");
            Ok(())
        }
        (0, _) => panic!("{name} in its container: the test program ended without it\n{stdout}"),
        (_, Some(signal)) => {
            panic!("{name} in its container: killed by signal {signal}\n{stdout}{stderr}")
        }
        (code, None) => panic!("{name} in its container: status {code}\n{stdout}{stderr}"),
    }
}

/// Whether this process is the one in a container that [`inside`] has started.
pub fn is_inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// The process inside has nothing else to do: the harness would start the rest of its life.
fn end(body: impl FnOnce()) -> ! {
    let held = catch_unwind(AssertUnwindSafe(body)).is_ok();
    std::process::exit(i32::from(if held { HELD } else { PANICKED }))
}

/// `krate::module::function::{{closure}}` without the crate and what lies in the function.
fn function_of(type_name: &str) -> &str {
    let path = type_name.split_once("::").map_or(type_name, |(_, path)| path);
    path.split_once("::{{").map_or(path, |(function, _)| function)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closure_tells_its_function() {
        fn name<F: FnOnce()>(_: F) -> &'static str {
            function_of(type_name::<F>())
        }
        let nested = || name(|| ());
        let path = "test::tests::a_closure_tells_its_function";
        assert_eq!([name(|| ()), nested()], [path, path]);
    }
}
