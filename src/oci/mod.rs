//! The runtime-spec's side: what a container has when its user asked for nothing else, and
//! what can be asked for.

pub(crate) mod annotations;
pub(crate) mod bundle;
pub(crate) mod config;
pub(crate) mod defaults;
pub(crate) mod features;
