//! Profiles from files: the runtime-spec's form, and that of Docker, podman and Kubernetes,
//! where rules depend on capabilities, machine and kernel (`includes`, `excludes`, `archMap`).

use std::collections::HashSet;

use oci_spec::runtime::{Capability, LinuxSeccomp};
use serde_json::{Map, Value};

use super::{Machine, Refusal};
use crate::json::{self, Misfit};

/// What the conditions of rules are about.
#[derive(Debug)]
pub(crate) struct Container<'a> {
    pub(crate) machine: Machine,
    pub(crate) kernel: (u32, u32),
    pub(crate) bounding: &'a HashSet<Capability>,
}

/// The profile as the runtime-spec has it, with the rules that are for this container. One
/// that is in that form already is left as it is.
///
/// # Errors
/// What isn't understood, by its path in the file.
pub(crate) fn resolve(mut profile: Value, container: &Container) -> Result<LinuxSeccomp, Refusal> {
    let Some(fields) = profile.as_object_mut() else {
        return Err(Refusal::new("", "a profile is an object with a defaultAction"));
    };
    if let Some(map) = fields.remove("archMap").filter(|map| !map.is_null()) {
        if fields.get("architectures").is_some_and(|list| *list != Value::Array(Vec::new())) {
            let reason = "it stands beside architectures; they are two ways to say one thing";
            return Err(Refusal::new("archMap", reason));
        }
        fields.insert("architectures".to_owned(), architectures(&map, container.machine)?.into());
    }
    if let Some(rules) = fields.get_mut("syscalls").and_then(Value::as_array_mut) {
        let mut kept = Vec::with_capacity(rules.len());
        for (index, mut rule) in std::mem::take(rules).into_iter().enumerate() {
            if applies(&mut rule, container, &format!("syscalls[{index}]"))? {
                kept.push(rule);
            }
        }
        *rules = kept;
    }
    json::parse(profile.to_string().as_bytes()).map_err(|Misfit { path, reason }| {
        // A place in this text is none in the file.
        let reason = reason.rsplit_once(" at line ").map_or(&*reason, |(reason, _)| reason);
        Refusal::new(path, reason)
    })
}

/// The machine's row of an `archMap`.
fn architectures(map: &Value, machine: Machine) -> Result<Vec<Value>, Refusal> {
    let own = serde_json::to_value(machine.architecture()).unwrap_or_default();
    let rows = map.as_array().ok_or_else(|| Refusal::new("archMap", "it is no list"))?;
    let Some(row) = rows.iter().find(|row| row["architecture"] == own) else {
        return Ok(vec![own]);
    };
    let others = row["subArchitectures"].as_array().cloned().unwrap_or_default();
    Ok([own].into_iter().chain(others).collect())
}

/// Whether a rule is for this container. What only this form has is taken out of it.
fn applies(rule: &mut Value, container: &Container, path: &str) -> Result<bool, Refusal> {
    let Some(rule) = rule.as_object_mut() else { return Ok(true) };
    if let Some(name) = rule.remove("name").filter(|name| *name != "") {
        // One name, before there were lists.
        rule.insert("names".to_owned(), Value::Array(vec![name]));
    }
    let says_errno = rule.get("errno").is_some_and(|errno| *errno != "");
    if says_errno && rule.get("errnoRet").is_none_or(Value::is_null) {
        let reason = "an errno by its name alone isn't understood; errnoRet gives its number";
        return Err(Refusal::new(format!("{path}.errno"), reason));
    }
    for (field, wanted) in [("includes", true), ("excludes", false)] {
        let Some(Value::Object(conditions)) = rule.remove(field) else { continue };
        let path = format!("{path}.{field}");
        for found in hold(&conditions, container, &path)? {
            if found != wanted {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Which conditions hold. All capabilities that a rule includes are needed, while one that it
/// excludes is enough, so each of them is a condition of its own.
fn hold(
    conditions: &Map<String, Value>,
    container: &Container,
    path: &str,
) -> Result<Vec<bool>, Refusal> {
    let mut found = Vec::new();
    for (name, value) in conditions {
        let wrong = |reason: String| Refusal::new(format!("{path}.{name}"), reason);
        let words: Vec<&str> = match value {
            Value::Null => continue,
            Value::String(word) => vec![word],
            Value::Array(list) => list.iter().filter_map(Value::as_str).collect(),
            other => return Err(wrong(format!("{other} is no list of names"))),
        };
        match name.as_str() {
            "caps" => {
                for word in words {
                    let capability = word.strip_prefix("CAP_").unwrap_or(word).parse();
                    let capability: Capability =
                        capability.map_err(|_| wrong(format!("{word} is no capability")))?;
                    found.push(container.bounding.contains(&capability));
                }
            }
            "arches" if words.is_empty() => {}
            "arches" => found.push(words.contains(&container.machine.name_in_go())),
            "minKernel" => {
                let least = words.first().and_then(|word| {
                    let (major, minor) = word.split_once('.')?;
                    Some((major.parse().ok()?, minor.parse().ok()?))
                });
                let least: (u32, u32) =
                    least.ok_or_else(|| wrong(format!("{value} is no version such as 4.8")))?;
                found.push(container.kernel >= least);
            }
            _ => return Err(wrong("this condition isn't understood".to_owned())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resolved(profile: Value) -> Result<LinuxSeccomp, Refusal> {
        let bounding = HashSet::from([Capability::SysChroot, Capability::Kill]);
        let machine = Machine::X86_64;
        resolve(profile, &Container { machine, kernel: (5, 14), bounding: &bounding })
    }

    #[test]
    fn rules_are_kept_by_capability_machine_and_kernel() {
        let rule = |name: &str, includes: Value, excludes: Value| {
            json!({
                "name": name, "action": "SCMP_ACT_ALLOW", "comment": "",
                "includes": includes, "excludes": excludes,
            })
        };
        let none = || json!({});
        let profile = resolved(json!({
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [
                { "architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"] },
                { "architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"] },
            ],
            "syscalls": [
                rule("always", none(), none()),
                rule("capable", json!({ "caps": ["CAP_SYS_CHROOT", "CAP_KILL"] }), none()),
                rule("half", json!({ "caps": ["CAP_SYS_CHROOT", "CAP_SYS_ADMIN"] }), none()),
                rule("without", none(), json!({ "caps": ["CAP_SYS_ADMIN"] })),
                rule("excluded", none(), json!({ "caps": ["CAP_SYS_ADMIN", "CAP_KILL"] })),
                rule("here", json!({ "arches": ["x86", "amd64"] }), none()),
                rule("elsewhere", json!({ "arches": ["arm64"] }), none()),
                rule("old", json!({ "minKernel": "4.8" }), json!({ "arches": [] })),
                rule("new", json!({ "minKernel": "5.15" }), none()),
            ],
        }));
        let profile = profile.unwrap();
        let names = profile.syscalls().iter().flatten().map(|rule| rule.names()[0].as_str());
        let names: Vec<&str> = names.collect();
        assert_eq!(names, ["always", "capable", "without", "here", "old"]);
        let architectures = profile.architectures().iter().flatten();
        let architectures: Vec<String> = architectures.map(ToString::to_string).collect();
        assert_eq!(architectures, ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_its_path() {
        let with = |rule: Value| json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] });
        let conditional = |includes: Value| {
            with(json!({ "names": ["x"], "action": "SCMP_ACT_LOG", "includes": includes }))
        };
        for (profile, path) in [
            (json!([]), ""),
            (json!({ "defaultAction": "NO" }), "defaultAction"),
            (json!({ "architectures": ["SCMP_ARCH_X86"], "archMap": [] }), "archMap"),
            (conditional(json!({ "caps": ["CAP_NONE"] })), "syscalls[0].includes.caps"),
            (conditional(json!({ "minKernel": "x" })), "syscalls[0].includes.minKernel"),
            (conditional(json!({ "moon": ["full"] })), "syscalls[0].includes.moon"),
            (
                with(json!({ "names": ["x"], "action": "SCMP_ACT_ERRNO", "errno": "EIO" })),
                "syscalls[0].errno",
            ),
        ] {
            assert_eq!(resolved(profile).expect_err(path).path, path);
        }
    }
}
