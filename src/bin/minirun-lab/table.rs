//! The labs by chapter: the one list that there is of them. `.ci/examples`, `.ci/rootless`
//! and the tests go by it.

use std::process::ExitCode;

/// One experiment.
pub struct Lab {
    pub chapter: &'static str,
    /// The name of its file in examples/.
    module: &'static str,
    /// What it proves.
    pub claim: &'static str,
    /// What a reader may look for, and the claim doesn't say.
    pub keywords: &'static str,
    pub main: fn() -> ExitCode,
}

impl Lab {
    pub fn name(&self) -> String {
        self.module.replace('_', "-")
    }

    /// Names are taken with dashes or, as cargo has them, with underscores.
    pub fn is_called(&self, name: &str) -> bool {
        self.module == name.replace('-', "_")
    }
}

/// Rows of: the file's name twice, the claim, the words to be found by.
macro_rules! labs {
    ($($chapter:literal { $($module:ident $path:literal $claim:literal $keywords:literal)* })*) => {
        $($(#[path = $path] mod $module;)*)*

        pub const LABS: &[Lab] = &[$($(Lab {
            chapter: $chapter,
            module: stringify!($module),
            claim: $claim,
            keywords: $keywords,
            main: $module::main,
        },)*)*];
    };
}

labs! {
    "programs, kernel, system calls" {
        system_calls "../../../examples/system_calls.rs"
            "a program reaches a device by system calls, and in no other way"
            "hello world, strace, ptrace, trace, count by kind, privileged instruction"
        user_time "../../../examples/user_time.rs"
            "system calls take system time, computing takes user time alone"
            "user time, getppid loop, pure loop, one CPU, getrusage, sar"
    }
    "processes" {
        fork_returns_twice "../../../examples/fork_returns_twice.rs"
            "fork returns twice: the child's pid to the parent, 0 to the child"
            "fork, parent, child"
        execve_keeps_pid "../../../examples/execve_keeps_pid.rs"
            "execve puts another program into the process, whose pid stays"
            "fork + execve, exec, program"
        posix_spawn "../../../examples/posix_spawn.rs"
            "posix_spawn starts a program without touching the caller's memory"
            "vfork, fork + execve, page faults"
        process_tree "../../../examples/process_tree.rs"
            "a container's processes are one tree below its PID 1, seen from either side"
            "parent, child, pstree, host pid, NSpid"
        process_states "../../../examples/process_states.rs"
            "a process is in one state at a time, and only R takes processor time"
            "states R, S, D, T, Z, idle, sleeping, stopped, zombie, process table"
        terminal_jobs "../../../examples/terminal_jobs.rs"
            "the terminal obeys and reaches its foreground; a daemon has none"
            "foreground, background, daemon, session, Ctrl-C, SIGHUP"
        pid1_reaps_zombies "../../../examples/pid1_reaps_zombies.rs"
            "orphans become children of PID 1, and vanish only if it waits for them"
            "zombie, reaping, orphan, init, wait"
    }
    "memory" {
        memory_layout "../../../examples/memory_layout.rs"
            "code, data, bss and heap lie low, the stack high; heap grows up, stack down"
            "layout, code, text, data, bss, heap, stack, /proc/self/maps, growth"
        copy_on_write "../../../examples/copy_on_write.rs"
            "a fork shares all pages, and each is copied when it is first written to"
            "fork, page faults, shared pages, RSS, PSS"
        demand_paging "../../../examples/demand_paging.rs"
            "a page gets memory when it is first touched, by one page fault"
            "mmap, execve, page faults, major, minor"
    }
    "communication" {
        shared_memory "../../../examples/shared_memory.rs"
            "a child's memory is its own; only what is mapped as shared is common"
            "fork, mmap, 1000 and 2000"
        signals "../../../examples/signals.rs"
            "signals do what signal(7) says, and only SIGKILL and SIGSTOP can't be caught"
            "default actions, handler, SIGUSR1, progress as of dd, stop, continue, kill"
        pid1_signals "../../../examples/pid1_signals.rs"
            "PID 1 gets what it has a handler for; SIGKILL, SIGSTOP from outside alone"
            "init, SIGTERM, kill -9 1, pid namespace"
        pipes "../../../examples/pipes.rs"
            "a pipe is a stream of limited size, whose small writes stay whole"
            "pipeline, EPIPE, SIGPIPE, EAGAIN, end of file"
        sockets "../../../examples/sockets.rs"
            "every byte arrives, in order, by pipes, UNIX sockets and TCP"
            "UNIX socket, lo, speed, stream, datagram, credentials"
        core_dump "../../../examples/core_dump.rs"
            "a core dump needs a signal for it, a limit above 0, and a dumpable process"
            "SIGABRT, RLIMIT_CORE, ulimit -c, core_pattern, crash"
    }
    "exclusive control" {
        file_lock "../../../examples/file_lock.rs"
            "only a lock that is tested and taken in one step keeps every update"
            "flock, lock file, O_EXCL, lost updates, race, 1,000 increments"
        compare_exchange "../../../examples/compare_exchange.rs"
            "an exchange that is refused when the number has changed loses no update"
            "compare-and-exchange, compare-and-swap, atomic, spin lock, lost updates"
    }
    "threads" {
        threads_share "../../../examples/threads_share.rs"
            "threads share a pid and memory but no LWP; processes share none of them"
            "thread, LWP, tid, /proc/PID/task"
        thread_cost "../../../examples/thread_cost.rs"
            "a process costs more than a thread, in time and in page faults"
            "creation cost, fork, clone, pthread_create"
        context_switches "../../../examples/context_switches.rs"
            "who waits leaves the processor by itself; who never waits is taken off it"
            "voluntary, nonvoluntary, scheduler, affinity, preemption"
        kernel_threads "../../../examples/kernel_threads.rs"
            "kernel threads are the machine's; a container sees none"
            "kernel thread, kthreadd, kworker"
    }
    "namespaces" {
        proc_isolation "../../../examples/proc_isolation.rs"
            "a pid namespace numbers its processes from 1 and sees no others"
            "pid namespace, ps, masked /proc"
        proc_pid "../../../examples/proc_pid.rs"
            "a process is a directory in both /procs until its parent waits for it"
            "/proc/PID, background loop, kill -9"
        net_loopback "../../../examples/net_loopback.rs"
            "127.0.0.1 is another address in another network namespace"
            "net namespace, lo"
        ipc_isolation "../../../examples/ipc_isolation.rs"
            "message queues are seen in their own IPC namespace only"
            "ipc namespace, System V, POSIX queue"
        mount_pivot_root "../../../examples/mount_pivot_root.rs"
            "the container's / is the root filesystem, and no path or mount crosses it"
            "mnt namespace, mount namespace, chroot"
        uts_hostname "../../../examples/uts_hostname.rs"
            "a host name belongs to a UTS namespace, not to the machine"
            "uts namespace, hostname"
        user_ids "../../../examples/user_ids.rs"
            "root inside is whom the id map names outside, and has rights inside alone"
            "user namespace, uid, id map, rootless"
        cgroup_root "../../../examples/cgroup_root.rs"
            "a container's own cgroup is the root of its cgroup namespace"
            "cgroup namespace"
        time_offsets "../../../examples/time_offsets.rs"
            "uptime belongs to a time namespace, the time of day to the machine"
            "time namespace, clock"
    }
    "limits" {
        limit_memory "../../../examples/limit_memory.rs"
            "no container has more memory than its limit: who asks for more is killed"
            "memory cgroup, OOM killer"
        limit_cpu "../../../examples/limit_cpu.rs"
            "processes are stopped when their cgroup has used its processor time up"
            "cpu cgroup, quota, throttling"
        limit_pids "../../../examples/limit_pids.rs"
            "fork fails in a container that has as many processes as it may have"
            "pids cgroup, fork bomb"
    }
    "security" {
        capabilities "../../../examples/capabilities.rs"
            "what uid 0 may do are its capabilities, each by itself"
            "capability, root, bounding set"
        seccomp_filter "../../../examples/seccomp_filter.rs"
            "a filter answers system calls by their number and arguments alone"
            "seccomp, BPF, system call filter"
        no_new_privs "../../../examples/no_new_privs.rs"
            "with no_new_privs an execve gives no privileges, set-uid or not"
            "no_new_privs, set-uid, sudo, ping"
    }
}
