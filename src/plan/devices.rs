//! Device nodes: those that every container has, and those of `linux.devices`.

use std::path::Path;

use nix::errno::Errno;
use oci_spec::runtime::{LinuxDevice, LinuxDeviceType, Spec};

use super::Steps;
use super::namespaces::Layout;
use super::op::{Device, DeviceKind, DeviceSource, Op};
use crate::error::Result;
use crate::host::Host;

/// Devices that every container has (runtime-spec, "Default Devices").
const DEVICES: &[(&str, u32, u32)] = &[
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
];

/// Names that programs expect below /dev (runtime-spec, "Dev symbolic links").
const LINKS: &[(&str, &str)] = &[
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/ptmx", "pts/ptmx"),
];

/// Permissions of a device for which none are given.
const MODE: u32 = 0o666;

/// The largest numbers that the kernel's dev_t holds: 12 and 20 bits.
const MAJOR_MAX: i64 = (1 << 12) - 1;
const MINOR_MAX: i64 = (1 << 20) - 1;

/// The default devices and links, but for those that the specification gives itself.
pub(super) fn defaults(steps: &mut Steps, spec: &Spec, host: &Host, layout: &Layout) -> Result<()> {
    let given = |path: &str| listed(spec).any(|device| device.path() == Path::new(path));
    for &(path, major, minor) in DEVICES.iter().filter(|(path, ..)| !given(path)) {
        let device = Device {
            path: steps.c_string("", path)?,
            kind: DeviceKind::Character,
            major,
            minor,
            mode: MODE,
            uid: 0,
            gid: 0,
            from: source(DeviceKind::Character, host, layout),
        };
        steps.container(Op::Device(device), "");
    }
    for &(path, target) in LINKS {
        let (path, target) = (steps.c_string("", path)?, steps.c_string("", target)?);
        // The root filesystem may have them already.
        steps.tolerant(Op::Symlink { path, target }, "", &[Errno::EEXIST]);
    }
    Ok(())
}

/// `linux.devices`. With `dev_is_bound` the container has the host's own /dev, and what is
/// below it is the host's business.
pub(super) fn asked_for(
    steps: &mut Steps,
    spec: &Spec,
    host: &Host,
    layout: &Layout,
    dev_is_bound: bool,
) -> Result<()> {
    for (index, device) in listed(spec).enumerate() {
        let place = format!("linux.devices[{index}]");
        let op = Op::Device(one(steps, device, &place, host, layout)?);
        // The container's ptmx is that of its own devpts, whatever number is asked for.
        let is_ptmx = device.path() == Path::new("/dev/ptmx");
        if is_ptmx || (dev_is_bound && device.path().starts_with("/dev")) {
            continue;
        }
        steps.container(op, &place);
    }
    Ok(())
}

fn listed(spec: &Spec) -> impl Iterator<Item = &LinuxDevice> {
    let linux = spec.linux().as_ref();
    linux.and_then(|linux| linux.devices().as_ref()).into_iter().flatten()
}

fn one(
    steps: &Steps,
    device: &LinuxDevice,
    place: &str,
    host: &Host,
    layout: &Layout,
) -> Result<Device> {
    let at = |field: &str| format!("{place}.{field}");
    let refuse = |field, reason| Err(steps.error(&at(field), "make a device", reason));
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => DeviceKind::Character,
        LinuxDeviceType::B => DeviceKind::Block,
        LinuxDeviceType::P => DeviceKind::Fifo,
        LinuxDeviceType::A => return refuse("type", "the type must be c, b, u or p"),
    };
    if !device.path().is_absolute() || device.path().file_name().is_none() {
        return refuse("path", "the path must be absolute and end in a name");
    }
    let number = |value: i64, max: i64, field| match u32::try_from(value) {
        Ok(number) if value <= max => Ok(number),
        _ => {
            let reason = format!("{value} is not between 0 and {max}");
            Err(steps.error(&at(field), "make a device", reason))
        }
    };
    Ok(Device {
        path: steps.c_string(at("path"), device.path().as_os_str().as_encoded_bytes())?,
        kind,
        major: number(device.major(), MAJOR_MAX, "major")?,
        minor: number(device.minor(), MINOR_MAX, "minor")?,
        // Engines pass the whole st_mode, type and all.
        mode: device.file_mode().map_or(MODE, |mode| mode & 0o7777),
        uid: device.uid().unwrap_or(0),
        gid: device.gid().unwrap_or(0),
        from: source(kind, host, layout),
    })
}

/// In a user namespace even root may not make device nodes (mknod(2)); there the host's
/// are bound, which costs three times as much.
fn source(kind: DeviceKind, host: &Host, layout: &Layout) -> DeviceSource {
    match kind {
        DeviceKind::Fifo => DeviceSource::New,
        _ if layout.has_user() || host.in_user_namespace => DeviceSource::Host,
        _ => DeviceSource::New,
    }
}
