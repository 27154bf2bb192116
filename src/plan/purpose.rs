//! What every operation is for, in words for a reader new to containers.
//!
//! `plan` and `--explain` show them beside what is done, which is in `words.rs`.

use nix::mount::MsFlags;

use super::op::{DeviceKind, Op};

impl Op {
    /// What the operation isolates or protects, for a reader new to containers.
    pub fn purpose(&self) -> &'static str {
        match self {
            Op::CreateCgroup { .. } => {
                "a group of processes that the kernel counts and limits together"
            }
            Op::EnableControllers { .. } => "a limit works only where all parents hand it down",
            Op::InheritCpuset { .. } => "no process can join a cpuset without processors",
            Op::MoveProcesses { .. } => "the limit is for all that runs in the container",
            Op::WriteCgroup { .. } | Op::WriteFirst { .. } => {
                "the kernel holds the whole group to this setting"
            }
            Op::CheckUsage { .. } => "a limit below what is in use would kill processes at once",
            Op::DeviceFilter { .. } => "other devices can be neither opened nor made",
            Op::CheckUnit { .. } => "another container's unit is none to change or to stop",
            Op::StartUnit(_) => {
                "systemd has a say about all cgroups, and looks after this one with the others"
            }
            Op::JoinUnit { .. } => "an ordinary user can't move it there from outside the session",
            Op::SetUnit { .. } => "systemd sets its own limits again when it is loaded anew",
            Op::MakeNetwork => {
                "it takes longer than all others together, so it is made beside all that follows"
            }
            Op::Clone { .. } => {
                "a new process that sees its own pids, network, IPC, mounts and host name"
            }
            Op::MapIds { .. } | Op::MapOwnId { .. } => "root inside is an ordinary user outside",
            Op::MoveNetDevice { .. } => "the container has this device for itself alone",
            Op::EnterTime { .. } => "a container moved here finds its clocks where they were",
            Op::SessionKeyring { .. } => "the caller's keys stay the caller's",
            Op::AppArmor { .. } | Op::SelinuxLabel { .. } => {
                "a policy of this machine limits what the target can do"
            }
            Op::OomScore { .. } => "how soon the kernel kills it when memory runs out",
            Op::Record => "whoever deletes it has to find it, also when minirun is killed now",
            Op::Listen { .. } => "start comes later, and from another process",
            Op::OpenNamespace { .. } => "a container can share what another one has",
            Op::Intermediate => "the runtime itself never changes its namespaces",
            Op::JoinNamespace { .. } | Op::JoinProcess { .. } => {
                "from here on this part of the world is the other container's"
            }
            Op::Narrate => "this list comes before the target's own output",
            Op::RenderState => "a hook reads from its standard input which container it is for",
            Op::Hook(_) => "the engine has its own part in setting the container up",
            Op::Stdio => "the target reads and writes where the caller says",
            Op::NullDevice => "an engine may have opened its own for reading alone",
            Op::DieWithParent => "nothing stays behind when minirun is killed",
            Op::Undumpable => {
                "the target can't look into init or reach the host's binary through it"
            }
            Op::JoinCgroup { .. } => "the limits hold before anything of the container runs",
            Op::Unshare { .. } => "the container's own cgroup looks like the root of all",
            Op::LoopbackUp | Op::JoinNetwork => "127.0.0.1 works inside, and leads nowhere else",
            Op::OpenKernelMounts => "it has one mount; the host's are many, and to copy takes time",
            Op::NewMounts => "none of the host's mounts is in it, so the runtime has opened some",
            Op::PropagateMounts { propagation } => match propagation.kind {
                MsFlags::MS_PRIVATE => {
                    "no mount made here shows up on the host, nor the other way round"
                }
                _ => "no mount made here shows up on the host; what the host mounts may show here",
            },
            Op::PrivateParent { .. } => "the mounts below the root filesystem stay off the host's",
            Op::OpenRootfs { .. } => "everything below is found from here",
            Op::BindRootfs { nodev: true, .. } => {
                "pivot_root needs a mount; device nodes that the directory has can't be opened"
            }
            Op::BindRootfs { .. } => "pivot_root needs a mount, not just a directory",
            Op::OverlayRootfs { .. } => "writes go to memory, the directory stays as it is",
            Op::Mount(mount) => mount.purpose(),
            Op::OpenTree(_) => "the container's process can't open it, or may not map its ids",
            Op::Bind(_) => "a piece of the host, only as far as the options say",
            Op::Remount(_) => "what is mounted stays, only how it may be used changes",
            Op::Device(device) if device.kind == DeviceKind::Fifo => "a named pipe",
            Op::Device(_) => "a device without secrets; the host's disks have no node here",
            Op::Symlink { .. } => "a name that programs expect",
            Op::Console { .. } | Op::Terminal { .. } => {
                "the target gets a terminal of its own, the host's stays out of reach"
            }
            Op::Mask { .. } => "the host's kernel would show or risk too much here",
            Op::ReadonlyPath { .. } => {
                "this belongs to the whole machine and can't be changed from inside"
            }
            Op::MakeDir { .. } => "the target starts in it",
            Op::ReadonlyRootfs => "the target can't change its own system",
            Op::Sysctl { .. } => "the kernel keeps this parameter for each namespace apart",
            Op::PivotRoot { .. } => "the host's file system is gone: there is no path back to it",
            Op::MoveRoot => "the host's file system is covered: there is no path back to it",
            Op::Chroot => "paths start here; the host's mounts are shared",
            Op::PropagateRoot { .. } => "whether copies of the root see the mounts made in it",
            Op::Hostname { .. } | Op::Domainname { .. } => "the host's own name stays as it is",
            Op::Rlimit { .. } => "a limit for each single process",
            Op::CpuAffinity { .. } => "the others are left to other work",
            Op::Schedule(_) => "how much processor time it gets beside others",
            Op::IoPriority { .. } => "how its disk accesses queue beside others'",
            Op::Personality { .. } => "which machine uname shows",
            Op::MemoryPolicy(_) => "which memory is near enough",
            Op::LimitBounding { .. } => "no program can ever get the other capabilities back",
            Op::ClearSecurebits => "execve and changes of uid treat capabilities as usual",
            Op::KeepCapabilities => "the next step would clear them",
            Op::SetGroups { .. } => "the caller's groups give no rights inside",
            Op::Seccomp { listener: Some(_), .. } => {
                "the kernel asks a process of the engine's about some system calls"
            }
            Op::Seccomp { .. } => {
                "the kernel refuses the system calls that the target shouldn't need"
            }
            Op::SetGid { .. } | Op::SetUid { .. } => "who the target is",
            Op::SetCapabilities { .. } => "root's power in pieces: only these are left",
            Op::RaiseAmbient { .. } => "a target that isn't root keeps them over execve",
            Op::Umask { .. } => "which permissions new files don't get",
            Op::NoNewPrivs => "set-uid programs inside give nothing",
            Op::OwnPipes { .. } => "programs that open /dev/stdout anew get it",
            Op::Home { .. } => "programs keep their settings there",
            Op::CheckDir { .. } => "it must not lie on the host (CVE-2024-21626)",
            Op::Chdir { .. } => "where the target starts",
            Op::CloseInherited { .. } => "no descriptor of the host leaks in",
            Op::FindProgram { .. } => "create says at once what start couldn't run",
            Op::HandOver => "create ends here; the engine says when the target shall run",
            Op::Fork => "init forwards signals, reaps orphans, and ends with the target",
            Op::Session { .. } => "Ctrl-C and job control reach the target and nobody else",
            Op::Exec(_) => "the program itself, from here on",
        }
    }
}
