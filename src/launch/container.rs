//! The container's side: walks the list from clone3 to execve.
//!
//! This runs in a copy of one thread of a process that may have had many. Nothing
//! here allocates, takes a lock or panics; what a step needs was made ready before
//! clone3. A failed step leaves its errno in the journal and ends the process.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::stat::{Mode, SFlag, stat, umask};
use nix::unistd::{AccessFlags, access, chdir, sethostname, setsid, write};

use super::home::Home;
use super::inside::Parent;
use super::journal::Journal;
use super::{
    CONSOLE, DONE, FAILED, HANDED_OVER, Ready, devices, hand_over, hook, id_maps, inside,
    intermediate, itself, labels, listener, masks, mounts, procfs, pty, root,
};
use crate::plan::op::{Hook, HookStage, Op, TerminalSize};
use crate::plan::{Plan, Side, Step};
use crate::protection;
use crate::sys::terminal::WindowSize;
use crate::sys::{self, Result};

/// Descriptors and values that outlive a step.
pub(super) struct Container<'a> {
    pub(super) plan: &'a Plan,
    pub(super) ready: &'a Ready<'a>,
    pub(super) journal: &'a Journal,
    /// The socket to the runtime; closing it says that the target runs.
    pub(super) sync: BorrowedFd<'a>,
    root: Option<OwnedFd>,
    /// The directory that the step before worked in, if that has covered nothing of it.
    parent: Option<Parent<'a>>,
    slave: Option<OwnedFd>,
    /// The connection to `start`, once it has come.
    start: Option<OwnedFd>,
    kernel: mounts::Kernel,
    proc: procfs::Proc,
    masks: masks::Masks,
    caller_umask: Mode,
    home: Option<Home>,
    /// Whether the working directory could be entered before the change of user.
    in_cwd: bool,
}

impl<'a> Container<'a> {
    pub(super) fn new(
        plan: &'a Plan,
        ready: &'a Ready<'a>,
        journal: &'a Journal,
        sync: BorrowedFd<'a>,
    ) -> Self {
        // Modes of files and devices are meant as they stand in the plan.
        let caller_umask = umask(Mode::empty());
        Container {
            plan,
            ready,
            journal,
            sync,
            root: None,
            parent: None,
            slave: None,
            start: None,
            kernel: mounts::Kernel::default(),
            proc: procfs::Proc::default(),
            masks: masks::Masks::default(),
            caller_umask,
            home: None,
            in_cwd: false,
        }
    }

    /// Carries out the container's steps after clone3; returns when one failed.
    pub(super) fn walk(self) -> i32 {
        protection::close_mount();
        // The process ends with this, and some descriptors have been closed under their owners.
        let mut this = std::mem::ManuallyDrop::new(self);
        let first = this.plan.clone_index() + 1;
        this.carry_out_from(first)
    }

    fn carry_out_from(&mut self, first: usize) -> i32 {
        let plan = self.plan;
        let after = plan.clone_index() + 1;
        for (index, step) in plan.steps.iter().enumerate().skip(first) {
            let before = plan.steps.get(index - 1).map(|step| step.side);
            // A change of side is the only message: whoever comes next waits for it.
            let met = match (before, step.side) {
                (Some(Side::Container), Side::Runtime) if !plan.is_meanwhile(index) => {
                    sys::message::send(self.sync, DONE, None)
                }
                (Some(Side::Runtime), Side::Container) if index > after => self.await_runtime(),
                _ => Ok(()),
            };
            let outcome = met.and_then(|()| match step.side {
                Side::Container => self.record(index, step),
                // A hook of the runtime's may mount something.
                Side::Runtime | Side::Intermediate => {
                    self.parent = None;
                    Ok(())
                }
            });
            if let Err(errno) = outcome {
                self.journal.fail(index, errno);
                self.tell_start(index, &step.op, errno);
                return FAILED;
            }
        }
        FAILED
    }

    fn await_runtime(&self) -> Result<()> {
        match sys::message::receive(self.sync)? {
            Some(_) => Ok(()),
            // The runtime has failed or is dead, and says itself what of.
            None => sys::process::exit(FAILED),
        }
    }

    fn join_network(&self) -> Result<()> {
        match sys::message::receive(self.ready.network.ok_or(Errno::EBADF)?)? {
            Some((_, Some(network))) => setns(network, CloneFlags::CLONE_NEWNET),
            // There is none, and the runtime knows why.
            _ => sys::process::exit(FAILED),
        }
    }

    fn record(&mut self, index: usize, step: &'a Step) -> Result<()> {
        self.journal.begin(index);
        if matches!(&step.op, Op::Seccomp { filter, .. } if !filter.permits_clock) {
            self.journal.stop_clock();
        }
        match self.carry_out(index, &step.op) {
            Err(errno) if step.tolerates.contains(&errno) => self.journal.tolerate(index, errno),
            outcome => outcome?,
        }
        self.journal.end(index);
        Ok(())
    }

    fn carry_out(&mut self, index: usize, op: &'a Op) -> Result<()> {
        // A step that covers nothing of it puts it back.
        let mut parent = self.parent.take();
        match op {
            Op::MapOwnId { map, line } => id_maps::write_own(*map, line),
            Op::EnterTime { offsets } => labels::enter_time(offsets),
            Op::SessionKeyring { name, permissions } => labels::session_keyring(name, *permissions),
            Op::AppArmor { profile } => labels::apparmor(&self.proc, profile),
            Op::SelinuxLabel { label } => labels::selinux(&self.proc, label),
            Op::OomScore { score } => itself::set_oom_score(score),
            Op::Stdio => self.connect_stdio(),
            Op::NullDevice => masks::reopen_null(self.root.as_ref().map(AsFd::as_fd)),
            Op::DieWithParent => self.die_with_parent(),
            Op::Undumpable => sys::identity::set_undumpable(),
            Op::JoinCgroup { tasks } => {
                match self.ready.tasks.iter().find(|(step, _)| *step == index) {
                    Some((_, tasks)) => write(tasks, b"0").map(drop),
                    None => itself::write_file(tasks, b"0"),
                }
            }
            Op::JoinNamespace { namespace } => intermediate::join_namespace(self.ready, *namespace),
            Op::JoinNetwork => self.join_network(),
            Op::JoinProcess { namespaces } => intermediate::join_process(self.ready, *namespaces),
            Op::Unshare { namespaces } => unshare(*namespaces),
            Op::LoopbackUp => sys::network::loopback_up().map(drop),
            Op::NewMounts => {
                self.proc = procfs::Proc::held()?;
                intermediate::join_namespace(self.ready, CloneFlags::CLONE_NEWNS)?;
                unshare(CloneFlags::CLONE_NEWNS)
            }
            Op::PropagateMounts { propagation } | Op::PropagateRoot { propagation } => {
                root::propagate(*propagation)
            }
            Op::PrivateParent { path } => root::make_parent_private(path),
            Op::OpenRootfs { path } => {
                self.root = Some(root::open_rootfs(path)?);
                Ok(())
            }
            Op::BindRootfs { path, nodev, tree: None } => {
                self.root = Some(root::bind_rootfs(path, *nodev)?);
                Ok(())
            }
            Op::BindRootfs { tree: Some(index), .. } => {
                let tree = self.ready.trees.get(*index).ok_or(Errno::EBADF)?;
                self.root = Some(root::attach_rootfs(tree)?);
                Ok(())
            }
            Op::OverlayRootfs { path, nodev, userxattr } => {
                self.root = Some(root::overlay_rootfs(path, *nodev, *userxattr)?);
                Ok(())
            }
            Op::Mount(new) => {
                mounts::mount_new(self.root()?, new, &mut parent)?;
                self.parent = parent;
                self.note_mount(&new.target)
            }
            Op::Bind(bind) => {
                mounts::bind(self.root()?, bind, self.ready.trees, &mut parent)?;
                self.parent = parent;
                self.note_mount(&bind.target)
            }
            Op::Remount(remount) => mounts::remount(self.root()?, remount),
            Op::Device(device) => {
                devices::device(self.root()?, device, &mut parent)?;
                self.parent = parent;
                Ok(())
            }
            Op::Symlink { path, target } => {
                devices::symlink(self.root()?, path, target, &mut parent)?;
                self.parent = parent;
                Ok(())
            }
            Op::Console { size, owner } => {
                let pty = devices::console(self.root()?)?;
                self.open_console(pty, *size, *owner)
            }
            Op::Terminal { size, owner } => {
                let root = sys::file::open(c"/", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
                self.open_console(pty::open(root.as_fd())?, *size, *owner)
            }
            Op::Mask { path } => {
                let root = self.root.as_ref().ok_or(Errno::EBADF)?;
                self.masks.mask(&|| self.kernel.open(root.as_fd(), path))
            }
            Op::ReadonlyPath { path } => {
                masks::make_readonly(self.kernel.open(self.root()?, path)?.as_fd())
            }
            Op::MakeDir { path } => inside::open_or_make_dir(self.root()?, path).map(drop),
            Op::ReadonlyRootfs => root::make_readonly(self.root()?),
            Op::Sysctl { file, value } => self.proc.write_parameter(file, value),
            Op::Domainname { name } => sys::identity::setdomainname(name),
            Op::PivotRoot { cut } => {
                self.proc = procfs::Proc::default();
                root::pivot(self.root()?, *cut)
            }
            Op::MoveRoot => root::move_over(self.root()?),
            Op::Chroot => root::enter(self.root()?),
            Op::Hostname { name } => sethostname(name),
            Op::Rlimit { resource, soft, hard } => {
                nix::sys::resource::setrlimit(*resource, *soft, *hard)
            }
            Op::CpuAffinity { cpus, .. } => sys::schedule::sched_setaffinity(cpus),
            Op::Schedule(schedule) => itself::set_scheduler(schedule),
            Op::IoPriority { class, priority } => sys::schedule::ioprio_set(*class, *priority),
            Op::Personality { linux32 } => sys::schedule::personality(*linux32),
            Op::MemoryPolicy(policy) => sys::schedule::set_mempolicy(policy.mode, &policy.nodes),
            Op::LimitBounding { keep } => itself::limit_bounding(*keep),
            Op::ClearSecurebits => sys::identity::clear_securebits(),
            Op::KeepCapabilities => sys::identity::keep_capabilities(),
            Op::SetGroups { gids } => sys::identity::setgroups(gids),
            Op::SetGid { gid } => sys::identity::setresgid(*gid),
            Op::Seccomp { filter, listener: None } => {
                sys::seccomp::set_filter(filter.program.instructions(), filter.flags)
            }
            Op::Seccomp { filter, listener: Some(_) } => {
                listener::install(filter, self.journal, self.sync)
            }
            Op::SetUid { uid } => sys::identity::setresuid(*uid),
            Op::SetCapabilities { sets } => {
                sys::identity::capset(sets.effective, sets.permitted, sets.inheritable)
            }
            Op::RaiseAmbient { set } => {
                itself::capabilities(*set).try_for_each(sys::identity::raise_ambient)
            }
            Op::Umask { mask } => {
                umask(mask.map_or(self.caller_umask, Mode::from_bits_truncate));
                Ok(())
            }
            Op::NoNewPrivs => sys::identity::set_no_new_privs(),
            Op::OwnPipes { uid } => itself::own_pipes(*uid),
            Op::Home { uid } => {
                self.home = Some(Home::look_up(*uid));
                Ok(())
            }
            Op::Chdir { path } => {
                chdir(path.as_c_str())?;
                self.in_cwd = true;
                Ok(())
            }
            Op::CheckDir { path } => {
                if !self.in_cwd {
                    chdir(path.as_c_str())?;
                }
                sys::process::check_working_directory()
            }
            Op::CloseInherited { first } => self.close_inherited(*first),
            Op::Hook(hook) => self.run_hook(index, hook),
            Op::FindProgram { candidates } => self.find_program(candidates),
            Op::HandOver => self.hand_over(),
            Op::Fork => self.fork(index),
            Op::Session { controlling_terminal } => self.start_session(*controlling_terminal),
            Op::Exec(exec) => Err(self.exec(&exec.candidates)),
            // The others are the runtime's, and `walk` gives only the container's.
            _ => Err(Errno::ENOSYS),
        }
    }

    fn root(&self) -> Result<BorrowedFd<'_>> {
        self.root.as_ref().map(AsFd::as_fd).ok_or(Errno::EBADF)
    }

    fn note_mount(&mut self, target: &CStr) -> Result<()> {
        let root = self.root.as_ref().ok_or(Errno::EBADF)?;
        self.kernel.mounted(root.as_fd(), target)
    }

    fn connect_stdio(&self) -> Result<()> {
        for (number, fd) in self.ready.stdio.iter().enumerate() {
            if let Some(fd) = fd {
                sys::descriptors::dup_onto(fd.as_fd(), number as i32)?;
            }
        }
        Ok(())
    }

    fn die_with_parent(&self) -> Result<()> {
        sys::identity::set_parent_death_signal(Signal::SIGKILL as i32)?;
        // It may have died before it could be told so.
        if sys::message::is_closed(self.sync) {
            sys::process::exit(FAILED);
        }
        Ok(())
    }

    fn open_console(
        &mut self,
        (master, slave): (OwnedFd, OwnedFd),
        size: Option<TerminalSize>,
        owner: u32,
    ) -> Result<()> {
        if let Some(TerminalSize { rows, columns }) = size {
            sys::terminal::set_window_size(slave.as_fd(), WindowSize { rows, columns })?;
        }
        nix::unistd::fchown(&slave, Some(owner.into()), None)?;
        sys::message::send(self.sync, CONSOLE, Some(master.as_fd()))?;
        self.slave = Some(slave);
        Ok(())
    }

    fn run_hook(&self, index: usize, hook: &Hook) -> Result<()> {
        let found = self.ready.hooks.iter().find(|(step, ..)| *step == index);
        let (_, argv, envp) = found.ok_or(Errno::EINVAL)?;
        let [creating, created] = self.ready.states.ok_or(Errno::EBADF)?;
        let state = if hook.stage == HookStage::StartContainer { created } else { creating };
        hook::run_inside(hook, (argv, envp), state.as_fd(), self.journal)
    }

    /// The search of [`exec`](Self::exec), beforehand.
    fn find_program(&self, candidates: &[std::ffi::CString]) -> Result<()> {
        let mut failure = Errno::ENOENT;
        for (index, path) in candidates.iter().enumerate() {
            let executable = stat(path.as_c_str()).and_then(|found| {
                match inside::file_type(found.st_mode) == SFlag::S_IFDIR {
                    true => Err(Errno::EACCES),
                    false => access(path.as_c_str(), AccessFlags::X_OK),
                }
            });
            match executable {
                Ok(()) => return Ok(()),
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => {
                    self.journal.found_program(index);
                    failure = errno;
                }
            }
        }
        Err(failure)
    }

    fn hand_over(&mut self) -> Result<()> {
        let listener = self.ready.listener.ok_or(Errno::EBADF)?;
        sys::message::send(self.sync, HANDED_OVER, None)?;
        sys::descriptors::close_inherited(self.sync.as_raw_fd());
        self.start = Some(hand_over::await_start(listener)?);
        Ok(())
    }

    /// Close-on-exec would come too late: execve looks its path up first, and one through
    /// /proc/self/fd and a directory of the host's would lead to a program there
    /// (CVE-2024-21626). Who waits for `start` must hold nothing of the runtime's anyway: its
    /// caller waits for the end of pipes, and the next verb for the container's lock.
    fn close_inherited(&self, first: u32) -> Result<()> {
        if let Some(slave) = self.slave.as_ref().filter(|_| self.plan.hands_over()) {
            itself::connect_to(slave.as_fd())?;
        }
        let number = |fd: Option<BorrowedFd<'_>>| fd.map_or(-1, |fd| fd.as_raw_fd());
        let states = self.ready.states;
        let mut keep = [
            number(self.ready.listener),
            self.sync.as_raw_fd(),
            number(self.slave.as_ref().map(AsFd::as_fd)),
            number(states.map(|states| states[0].as_fd())),
            number(states.map(|states| states[1].as_fd())),
        ];
        sys::descriptors::close_all_but(first as i32, &mut keep)
    }

    fn tell_start(&self, index: usize, op: &Op, errno: Errno) {
        let (first, words) = &self.ready.words;
        let words = index.checked_sub(*first).and_then(|index| words.get(index));
        if let (Some(start), Some(words)) = (&self.start, words) {
            hand_over::tell(start.as_fd(), op, errno, self.journal.hook_status(), words);
        }
    }

    /// This process is init from here on and never comes back: the other one goes on with the
    /// list, and init waits until it has executed the target.
    fn fork(&mut self, index: usize) -> Result<()> {
        let journal = self.journal;
        crate::init::take_name(self.ready.command_line);
        let target = sys::process::vfork(&mut || {
            journal.end(index);
            self.carry_out_from(index + 1)
        })?;
        crate::init::run(target, journal)
    }

    fn start_session(&self, controlling_terminal: bool) -> Result<()> {
        setsid()?;
        let Some(slave) = &self.slave else {
            return Ok(());
        };
        itself::connect_to(slave.as_fd())?;
        if controlling_terminal { sys::terminal::set_controlling() } else { Ok(()) }
    }

    /// Tries the candidates as execvp(3) does: a directory that lacks the program or
    /// may not be searched doesn't end the search, but the latter is remembered.
    fn exec(&self, candidates: &[std::ffi::CString]) -> Errno {
        sys::signal::reset(self.ready.ignored);
        let mut failure = Errno::ENOENT;
        let home = self.home.as_ref().and_then(Home::entry);
        for (index, path) in candidates.iter().enumerate() {
            match sys::process::execve(path, &self.ready.argv, &self.ready.envp, home) {
                // The file may exist and its interpreter not; from here it can be told apart.
                Errno::ENOENT | Errno::ENOTDIR => {
                    if access(path.as_c_str(), AccessFlags::F_OK).is_ok() {
                        self.journal.found_program(index);
                    }
                }
                errno => {
                    self.journal.found_program(index);
                    failure = errno;
                    if errno != Errno::EACCES {
                        break;
                    }
                }
            }
        }
        failure
    }
}
