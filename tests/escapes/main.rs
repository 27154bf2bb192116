//! Every published weakness of runc, crun, youki and bubblewrap that a runtime of this kind
//! can have, each as an attack. A test first carries the attack out where the defence is
//! missing (by plain calls and paths, or on a peer that has the weakness) and sees it work;
//! then against minirun, where it must fail with a clear error and leave the host intact.
//!
//! | weakness | of | test |
//! |---|---|---|
//! | CVE-2015-3627, CVE-2024-21626 | runc | `descriptors::{no_descriptor_of_the_host…, the_working_directory…}` |
//! | CVE-2024-21626, the program's path | runc | `descriptors::a_program_is_not_reached…` |
//! | a container without mount namespace, entered | - | `descriptors::exec_stays_in_a_changed_root` |

#[path = "../support/mod.rs"]
mod support;

mod bundle;
mod descriptors;
