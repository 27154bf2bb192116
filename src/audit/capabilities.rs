//! Which capabilities reach beyond a container, and how far.

use caps::Capability;

use super::Grade::{self, Dangerous, Weak};

/// A capability, and what its holder can do where no user namespace confines it
/// (capabilities(7)). The others end at the container's own files and processes.
pub(super) const REACHING: &[(Capability, Grade, &str)] = &[
    (Capability::CAP_SYS_ADMIN, Dangerous, "mounts, enters namespaces, and is root in most ways"),
    (Capability::CAP_SYS_MODULE, Dangerous, "loads code into the kernel"),
    (Capability::CAP_SYS_RAWIO, Dangerous, "reads and writes the machine's memory and ports"),
    (Capability::CAP_SYS_PTRACE, Dangerous, "reads and changes every process that it sees"),
    (Capability::CAP_DAC_READ_SEARCH, Dangerous, "opens the host's files by their numbers"),
    (Capability::CAP_BPF, Dangerous, "loads programs into the kernel"),
    (Capability::CAP_SYS_BOOT, Dangerous, "restarts the machine, or gives it another kernel"),
    (Capability::CAP_SYS_TIME, Dangerous, "sets the machine's clock"),
    (Capability::CAP_MAC_ADMIN, Dangerous, "changes the policy of security modules"),
    (Capability::CAP_MAC_OVERRIDE, Dangerous, "isn't bound to the policy of security modules"),
    (Capability::CAP_PERFMON, Weak, "observes the whole machine's kernel and programs"),
    (Capability::CAP_SYSLOG, Weak, "reads the kernel's messages and addresses"),
    (Capability::CAP_NET_ADMIN, Weak, "configures its network, by much code of the kernel's"),
    (Capability::CAP_NET_RAW, Weak, "makes packets as if from others on its network"),
    (Capability::CAP_MKNOD, Weak, "makes device nodes; the cgroup says which it may open"),
    (Capability::CAP_SYS_RESOURCE, Weak, "overrides limits and quotas"),
    (Capability::CAP_SYS_NICE, Weak, "takes processor time from everybody"),
    (Capability::CAP_IPC_LOCK, Weak, "locks memory without limit"),
    (Capability::CAP_IPC_OWNER, Weak, "uses everybody's System V objects that it sees"),
    (Capability::CAP_SYS_TTY_CONFIG, Weak, "hangs up terminals"),
    (Capability::CAP_SYS_PACCT, Weak, "switches process accounting"),
    (Capability::CAP_AUDIT_CONTROL, Weak, "switches the kernel's audit"),
    (Capability::CAP_AUDIT_READ, Weak, "reads the kernel's audit"),
    (Capability::CAP_AUDIT_WRITE, Weak, "writes to the kernel's audit"),
    (Capability::CAP_LINUX_IMMUTABLE, Weak, "makes files that can't be removed"),
    (Capability::CAP_WAKE_ALARM, Weak, "wakes the machine up"),
    (Capability::CAP_BLOCK_SUSPEND, Weak, "keeps the machine awake"),
    (Capability::CAP_CHECKPOINT_RESTORE, Weak, "chooses the pids of new processes"),
];
