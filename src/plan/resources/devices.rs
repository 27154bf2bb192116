//! Devices: which ones may be made and opened.
//!
//! v1 has a controller with a list of rules; on v2 the same rules become a BPF program.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::{Action, Settings, Version};
use crate::error::Result;
use crate::plan::device_filter::{self, Access, Kind, Rule};

/// What every runtime allows whatever the specification says: making nodes of any kind,
/// which gives no access yet, and the devices without secrets of runtime-spec's "Default
/// Devices".
const DEFAULTS: &[Rule] = &[
    default_rule(Kind::Character, None, None, Access::MKNOD),
    default_rule(Kind::Block, None, None, Access::MKNOD),
    // null, zero, full, random, urandom
    default_rule(Kind::Character, Some(1), Some(3), Access::ALL),
    default_rule(Kind::Character, Some(1), Some(5), Access::ALL),
    default_rule(Kind::Character, Some(1), Some(7), Access::ALL),
    default_rule(Kind::Character, Some(1), Some(8), Access::ALL),
    default_rule(Kind::Character, Some(1), Some(9), Access::ALL),
    // tty, console, ptmx
    default_rule(Kind::Character, Some(5), Some(0), Access::ALL),
    default_rule(Kind::Character, Some(5), Some(1), Access::ALL),
    default_rule(Kind::Character, Some(5), Some(2), Access::ALL),
    // the slaves of ptys
    default_rule(Kind::Character, Some(136), None, Access::ALL),
];

const fn default_rule(kind: Kind, major: Option<u32>, minor: Option<u32>, access: Access) -> Rule {
    Rule { allow: true, kind, major, minor, access }
}

pub(super) fn add(settings: &mut Settings, devices: &[LinuxDeviceCgroup]) -> Result<()> {
    let rules = devices.iter().enumerate().map(|(index, device)| {
        let field = format!("devices[{index}]");
        rule(settings, device, &field).map(|rule| (rule, field))
    });
    let mut rules: Vec<(Rule, String)> = rules.collect::<Result<_>>()?;
    // What comes before a rule about everything doesn't matter any more.
    if let Some(last) = rules.iter().rposition(|(rule, _)| rule.is_about_everything()) {
        rules.drain(..last);
    }
    let denies = |(rule, _): &&(Rule, String)| !rule.allow;
    if !settings.devices {
        // Ordinary users can't make nodes, and open what its owner lets them: the usual
        // list, which denies all and allows some, gives them nothing. Another one would.
        let specific = rules.iter().filter(denies).find(|(rule, _)| !rule.is_about_everything());
        return match specific {
            None => Ok(()),
            Some((_, field)) => Err(settings.refuse(field, "only root can deny devices")),
        };
    }
    let field = match rules.iter().find(denies) {
        Some((_, field)) => field.clone(),
        // A new cgroup has the rights of its parent, and nothing takes them away.
        None if !settings.is_update() => return Ok(()),
        None => match rules.first() {
            Some((_, field)) => field.clone(),
            None => return Ok(()),
        },
    };
    rules.extend(DEFAULTS.iter().map(|rule| (*rule, field.clone())));
    settings.device_rules = Some(rules.iter().map(|(rule, _)| *rule).collect());
    match settings.needs("devices", &field)? {
        Version::V1 => {
            let rules = match changes(settings, &rules, &field)? {
                Some(changes) => changes,
                None => rules,
            };
            for (rule, field) in &rules {
                let file = if rule.allow { "devices.allow" } else { "devices.deny" };
                for line in rule.lines() {
                    settings.write("devices", file, line, field)?;
                }
            }
        }
        Version::V2 => {
            let rules: Vec<Rule> = rules.iter().map(|(rule, _)| *rule).collect();
            let program = device_filter::compile(&rules);
            settings.push("devices", Action::DeviceFilter(program), &field)?;
        }
    }
    Ok(())
}

/// What changes from the list that a v1 cgroup has now to another one. Denying all first,
/// as for a new container, would leave a running one without any device for a moment.
/// `None` when not both are lists of what is allowed while all else is denied.
fn changes(
    settings: &Settings,
    rules: &[(Rule, String)],
    field: &str,
) -> Result<Option<Vec<(Rule, String)>>> {
    let Some(now) = settings.now.and_then(|now| now.devices().as_ref()) else {
        return Ok(None);
    };
    let now =
        now.iter().map(|device| rule(settings, device, field).map(|rule| (rule, field.to_owned())));
    let now: Vec<(Rule, String)> = now.collect::<Result<_>>()?;
    let allowed = |rules: &[(Rule, String)]| match rules {
        [(first, _), rest @ ..] if !first.allow && first.is_about_everything() => {
            rest.iter().all(|(rule, _)| rule.allow).then(|| rest.to_vec())
        }
        _ => None,
    };
    let (Some(now), Some(wanted)) = (allowed(&now), allowed(rules)) else {
        return Ok(None);
    };
    let missing_in = |list: &[(Rule, String)], rule: &Rule| list.iter().all(|(r, _)| r != rule);
    // Denying comes first: it may name a kind of access that is allowed anew.
    let denied = now.iter().filter(|(rule, _)| missing_in(&wanted, rule));
    let mut changes: Vec<_> =
        denied.map(|(rule, field)| (Rule { allow: false, ..*rule }, field.clone())).collect();
    changes.extend(wanted.iter().filter(|(rule, _)| missing_in(&now, rule)).cloned());
    Ok(Some(changes))
}

fn rule(settings: &Settings, device: &LinuxDeviceCgroup, field: &str) -> Result<Rule> {
    let refuse = |part: &str, reason: String| settings.refuse(&format!("{field}.{part}"), reason);
    let kind = match device.typ() {
        None | Some(LinuxDeviceType::A) => Kind::Any,
        Some(LinuxDeviceType::B) => Kind::Block,
        Some(LinuxDeviceType::C | LinuxDeviceType::U) => Kind::Character,
        Some(LinuxDeviceType::P) => {
            return Err(refuse("type", "a FIFO is no device of the kernel's".to_owned()));
        }
    };
    let number = |number: Option<i64>, part: &str| match number {
        None | Some(-1) => Ok(None),
        Some(number) => u32::try_from(number)
            .map(Some)
            .map_err(|_| refuse(part, format!("{number} is no device number"))),
    };
    let letters = device.access().as_deref().unwrap_or_default();
    let access = letters.chars().try_fold(Access::NONE, |access, letter| match letter {
        'r' => Ok(access | Access::READ),
        'w' => Ok(access | Access::WRITE),
        'm' => Ok(access | Access::MKNOD),
        _ => Err(refuse("access", format!("{letters:?} has more in it than r, w and m"))),
    })?;
    if access == Access::NONE {
        return Err(refuse("access", "it must name some of r, w and m".to_owned()));
    }
    let (major, minor) = (number(device.major(), "major")?, number(device.minor(), "minor")?);
    Ok(Rule { allow: device.allow(), kind, major, minor, access })
}
