//! Block devices: weights and throttles.

use oci_spec::runtime::{LinuxBlockIo, LinuxThrottleDevice};

use super::{Action, Settings, Version};
use crate::error::Result;

pub(super) fn add(settings: &mut Settings, block_io: &LinuxBlockIo) -> Result<()> {
    let is_v1 = settings.version("blkio") == Some(Version::V1);
    let controller = if is_v1 { "blkio" } else { "io" };
    weights(settings, block_io, controller, is_v1)?;
    let throttles: [(&Option<Vec<LinuxThrottleDevice>>, _, _, _); 4] = [
        (
            block_io.throttle_read_bps_device(),
            "blkio.throttle.read_bps_device",
            "rbps",
            "throttleReadBpsDevice",
        ),
        (
            block_io.throttle_write_bps_device(),
            "blkio.throttle.write_bps_device",
            "wbps",
            "throttleWriteBpsDevice",
        ),
        (
            block_io.throttle_read_iops_device(),
            "blkio.throttle.read_iops_device",
            "riops",
            "throttleReadIOPSDevice",
        ),
        (
            block_io.throttle_write_iops_device(),
            "blkio.throttle.write_iops_device",
            "wiops",
            "throttleWriteIOPSDevice",
        ),
    ];
    for (devices, v1_file, v2_key, field) in throttles {
        for (index, throttle) in devices.iter().flatten().enumerate() {
            let field = format!("blockIO.{field}[{index}]");
            let (major, minor) = (throttle.major(), throttle.minor());
            let rate = match (throttle.rate(), is_v1) {
                // Both mean no limit.
                (0, false) => "max".to_owned(),
                (rate, _) => rate.to_string(),
            };
            let (file, value) = match is_v1 {
                true => (v1_file, format!("{major}:{minor} {rate}")),
                false => ("io.max", format!("{major}:{minor} {v2_key}={rate}")),
            };
            settings.write(controller, file, value, &field)?;
        }
    }
    Ok(())
}

fn weights(
    settings: &mut Settings,
    block_io: &LinuxBlockIo,
    controller: &'static str,
    is_v1: bool,
) -> Result<()> {
    let leaf_reason = "the kernel dropped leaf weights with the CFQ scheduler (Linux 5.0)";
    if block_io.leaf_weight().is_some_and(|weight| weight != 0) {
        return Err(settings.refuse("blockIO.leafWeight", leaf_reason));
    }
    if let Some(weight) = block_io.weight().filter(|weight| *weight != 0) {
        let field = "blockIO.weight";
        check(settings, weight, field)?;
        let choices = match is_v1 {
            true => vec![("blkio.weight", weight.into()), ("blkio.bfq.weight", weight.into())],
            false => vec![("io.bfq.weight", weight.into()), ("io.weight", io_weight(weight))],
        };
        let choices = choices.into_iter().map(|(file, value)| (file.into(), value.to_string()));
        settings.push(controller, Action::WriteFirst(choices.collect()), field)?;
    }
    for (index, device) in block_io.weight_device().iter().flatten().enumerate() {
        let field = format!("blockIO.weightDevice[{index}]");
        if device.leaf_weight().is_some_and(|weight| weight != 0) {
            return Err(settings.refuse(&format!("{field}.leafWeight"), leaf_reason));
        }
        let Some(weight) = device.weight().filter(|weight| *weight != 0) else {
            continue;
        };
        check(settings, weight, &field)?;
        let choices = match is_v1 {
            true => vec![
                ("blkio.weight_device", weight.into()),
                ("blkio.bfq.weight_device", weight.into()),
            ],
            false => vec![("io.bfq.weight", weight.into()), ("io.weight", io_weight(weight))],
        };
        let (major, minor) = (device.major(), device.minor());
        let choices = choices
            .into_iter()
            .map(|(file, value)| (file.into(), format!("{major}:{minor} {value}")));
        settings.push(controller, Action::WriteFirst(choices.collect()), &field)?;
    }
    Ok(())
}

fn check(settings: &Settings, weight: u16, field: &str) -> Result<()> {
    if (10..=1000).contains(&weight) {
        return Ok(());
    }
    Err(settings.refuse(field, format!("{weight} is not in the range from 10 to 1000")))
}

/// A weight of v1 (10 to 1000) as one of v2's io.weight (1 to 10000); bfq's is as v1's.
fn io_weight(weight: u16) -> u64 {
    1 + (u64::from(weight) - 10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::io_weight;

    #[test]
    fn both_ends_of_the_weights_meet() {
        assert_eq!([10, 500, 1000].map(io_weight), [1, 4950, 10_000]);
    }
}
