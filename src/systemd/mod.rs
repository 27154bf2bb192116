//! systemd over D-Bus: a container's transient unit, from its start to its end.
//!
//! Only callers who said `--systemd-cgroup` come here. What a unit is to be like is decided
//! in `plan`, which writes its properties as text; here they become messages.

mod connection;
mod signature;
mod units;
mod value;
mod wire;

pub(crate) use units::{Systemd, Unit};
pub(crate) use value::Value;
