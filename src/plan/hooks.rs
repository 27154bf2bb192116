//! Hooks: programs of the engine's at certain points of a container's life
//! (runtime-spec, "POSIX-platform Hooks").
//!
//! Those that run before the target does are steps; poststart and poststop belong to the
//! verbs, which get them ready to run from [`of_stage`].

use oci_spec::runtime::Spec;

use super::op::{Hook, HookStage, Op};
use super::{Side, Steps};
use crate::error::Result;

/// prestart and createRuntime in the runtime's namespaces, createContainer in the
/// container's, all before pivot_root.
pub(super) fn create(steps: &mut Steps, spec: &Spec) -> Result<()> {
    for stage in [HookStage::Prestart, HookStage::CreateRuntime] {
        for (hook, path) in read(steps, spec, stage)? {
            steps.runtime(Op::Hook(hook), &path);
        }
    }
    let inside = read(steps, spec, HookStage::CreateContainer)?;
    if !inside.is_empty() || !read(steps, spec, HookStage::StartContainer)?.is_empty() {
        steps.push(Side::Runtime, Op::RenderState, "hooks", &[]);
    }
    for (hook, path) in inside {
        steps.container(Op::Hook(hook), &path);
    }
    // They run later, but create is the time to refuse them.
    for stage in [HookStage::Poststart, HookStage::Poststop] {
        read(steps, spec, stage)?;
    }
    Ok(())
}

/// startContainer, in the container, right before its program.
pub(super) fn start(steps: &mut Steps, spec: &Spec) -> Result<()> {
    for (mut hook, path) in read(steps, spec, HookStage::StartContainer)? {
        if hook.envp.is_empty() {
            let env = spec.process().as_ref().and_then(|process| process.env().as_ref());
            for entry in env.into_iter().flatten() {
                hook.envp.push(steps.c_string("process.env", entry.as_str())?);
            }
        }
        steps.container(Op::Hook(hook), &path);
    }
    Ok(())
}

/// The hooks of a stage that is no step, with their config.json paths.
///
/// # Errors
/// A hook that can't be run as it stands, by its path.
pub(crate) fn of_stage(spec: &Spec, stage: HookStage) -> Result<Vec<(Hook, String)>> {
    read(&Steps::new(&[]), spec, stage)
}

/// Whether hooks run when the mounts are done, and before the container's root is entered.
pub(super) fn run_before_root(spec: &Spec) -> bool {
    [HookStage::Prestart, HookStage::CreateRuntime, HookStage::CreateContainer]
        .into_iter()
        .any(|stage| of_stage(spec, stage).map_or(true, |hooks| !hooks.is_empty()))
}

fn read(steps: &Steps, spec: &Spec, stage: HookStage) -> Result<Vec<(Hook, String)>> {
    let Some(hooks) = spec.hooks() else {
        return Ok(Vec::new());
    };
    // The field is deprecated, and engines still use it.
    #[allow(deprecated)]
    let list = match stage {
        HookStage::Prestart => hooks.prestart(),
        HookStage::CreateRuntime => hooks.create_runtime(),
        HookStage::CreateContainer => hooks.create_container(),
        HookStage::StartContainer => hooks.start_container(),
        HookStage::Poststart => hooks.poststart(),
        HookStage::Poststop => hooks.poststop(),
    };
    let mut ready = Vec::new();
    for (index, hook) in list.iter().flatten().enumerate() {
        let path = format!("hooks.{}[{index}]", stage.words());
        let what = "read a hook";
        if !hook.path().is_absolute() {
            return Err(steps.error(&format!("{path}.path"), what, "it must be an absolute path"));
        }
        let timeout = match hook.timeout() {
            None => None,
            Some(seconds @ 1..=0x7fff_ffff) => Some(seconds as u32),
            Some(_) => {
                let reason = "it must be a positive number of seconds";
                return Err(steps.error(&format!("{path}.timeout"), what, reason));
            }
        };
        let program = hook.path().as_os_str().as_encoded_bytes();
        let strings = |field: &str, list: &Option<Vec<String>>| -> Result<Vec<_>> {
            let at = format!("{path}.{field}");
            list.iter().flatten().map(|text| steps.c_string(&at, text.as_str())).collect()
        };
        let mut argv = strings("args", hook.args())?;
        if argv.is_empty() {
            argv.push(steps.c_string(format!("{path}.path"), program)?);
        }
        ready.push((
            Hook {
                stage,
                path: steps.c_string(format!("{path}.path"), program)?,
                argv,
                envp: strings("env", hook.env())?,
                timeout,
            },
            path,
        ));
    }
    Ok(ready)
}
