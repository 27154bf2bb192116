//! The runtime-spec's side: what a container has when its user asked for nothing else.

pub(crate) mod bundle;
pub(crate) mod defaults;
