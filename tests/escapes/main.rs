//! Every published weakness of runc, crun, youki and bubblewrap that a runtime of this kind
//! can have, each as an attack. A test first carries the attack out where the defence is
//! missing (by plain calls and paths, or on a peer that has the weakness) and sees it work;
//! then against minirun, where it must fail with a clear error and leave the host intact.
//!
//! | weakness | of | test |
//! |---|---|---|
//! | CVE-2015-3627 | runc | `descriptors::no_descriptor_of_the_host…` |
//! | CVE-2015-3631, CVE-2019-16884 | runc | `proc::nothing_stands_in_for_proc` |
//! | CVE-2016-3697 | runc | `process::users…` |
//! | CVE-2016-9962 | runc | `process::who_comes_in…` |
//! | CVE-2017-5226, CVE-2023-28100 | bubblewrap, flatpak | `process::the_callers_terminal…` |
//! | CVE-2019-5736 | runc | `binary::a_container_of_root…`; as a user `…_of_its_owner…` |
//! | CVE-2019-18837 | crun | `places::what_is_mounted_or_made…` |
//! | CVE-2019-19921, CVE-2023-27561, CVE-2023-28642 | runc | `proc::proc_and_sys…` |
//! | CVE-2021-30465, CVE-2024-45310 | runc, youki | `races::a_swapped_directory…` |
//! | CVE-2021-43784 | runc | `limits::what_is_too_long…` |
//! | CVE-2022-24769, -27650, -29162, CVE-2025-27612 | Docker, crun, runc, youki | `process::nothing_is_inherited…` |
//! | CVE-2023-25809 | runc | `limits::the_hosts_cgroups…` |
//! | CVE-2024-21626 | runc | `descriptors::{a_program…, the_working_directory…}` |
//! | CVE-2025-31133, CVE-2025-62161 | runc, youki | `proc::masks…`, `races::masks…` |
//! | CVE-2025-52565 | runc | `places::the_console…`, `races::the_console…` |
//! | CVE-2025-52881, CVE-2025-62596 | runc, youki | `proc::writes…`, `races::masks…` |
//! | CVE-2025-54867 | youki | `proc::proc_and_sys…` |
//! | CVE-2026-30892 | crun | `process::users…` |
//! | CVE-2026-41579 | runc | `places::a_dev_that_leads_out…` |
//! | CVE-2026-87766 | bubblewrap | `places::what_is_mounted_or_made…` |
//! | CVE-2026-88264 | crun | `places::the_console…` |
//! | CVE-2026-88265 | crun | `places::a_fake_null_device…` |
//! | GHSA-3q8j | youki | `races::masks…` |
//! | the caller's securebits | all | `process::giving_root_up…` |
//! | cgroups too deep to be removed | minirun | `limits::cgroups_are_removed…` |
//! | permissions given to a swapped mount | minirun | `races::permissions…` |
//! | the root on a shared mount | all | `places::mounts_do_not_travel…` |
//! | a container without mount namespace, entered | minirun | `descriptors::exec_stays…` |
//! | a process made in a pod, looked into | minirun | `process::who_comes_in…` |
//!
//! Left out: what needs a set-uid binary, which minirun isn't (CVE-2016-8659, CVE-2019-12439,
//! CVE-2020-5291, CVE-2026-41163), and libkrun (CVE-2025-24965).

#[path = "../support/mod.rs"]
mod support;

mod binary;
mod bundle;
mod descriptors;
mod limits;
mod places;
mod proc;
mod process;
mod races;
