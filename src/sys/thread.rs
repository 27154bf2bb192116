//! A thread without what the standard library keeps for each: hooks and a name, a packet for
//! its result, and a mapping of its own for the stack, which together take as long as the
//! start of the thread itself.

use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use super::{Errno, Result, syscall};

/// What a thread does, and the descriptor that it does it with.
pub struct Work {
    /// Gives what came of it.
    pub run: fn(OwnedFd) -> Result<()>,
    /// Its to close.
    pub fd: OwnedFd,
}

/// A thread that is at work, or done with it.
pub struct Thread {
    /// Until it has been waited for.
    id: Option<libc::pthread_t>,
    /// The thread's until it has ended.
    _stack: Vec<u64>,
}

impl Thread {
    /// Begins it, on a stack that takes up the room of a vector; 32 KiB do for a few system
    /// calls.
    ///
    /// # Errors
    /// `EAGAIN` when a limit on processes is reached, `EINVAL` when the stack is smaller than
    /// 16 KiB (pthread_create(3), pthread_attr_setstack(3)).
    pub fn begin(work: Box<Work>, mut stack: Vec<u64>) -> Result<Thread> {
        let work = Box::into_raw(work);
        let room = (stack.as_mut_ptr().cast(), stack.capacity() * size_of::<u64>());
        let mut attributes = MaybeUninit::uninit();
        let mut id = MaybeUninit::uninit();
        // SAFETY: the attributes are used after they were initialised; the stack is aligned as
        // integers of its kind are, holds nothing, and lives until the thread has ended; `run`
        // gets the work, once.
        let answer = unsafe {
            libc::pthread_attr_init(attributes.as_mut_ptr());
            match libc::pthread_attr_setstack(attributes.as_mut_ptr(), room.0, room.1) {
                0 => libc::pthread_create(id.as_mut_ptr(), attributes.as_ptr(), run, work.cast()),
                failed => failed,
            }
        };
        if answer != 0 {
            // SAFETY: no thread has got it.
            drop(unsafe { Box::from_raw(work) });
            return Err(Errno::from_raw(answer));
        }
        // SAFETY: pthread_create has succeeded, and so written it.
        let id = unsafe { id.assume_init() };
        leave_processor(id);
        Ok(Thread { id: Some(id), _stack: stack })
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What its work came to.
    pub fn finish(mut self) -> Result<()> {
        self.join()
    }

    fn join(&mut self) -> Result<()> {
        let Some(id) = self.id.take() else {
            return Ok(());
        };
        let mut answer = std::ptr::null_mut();
        // SAFETY: it has been neither joined nor detached before.
        unsafe { libc::pthread_join(id, &mut answer) };
        match answer as i32 {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // Nobody asks any more what came of it, but its stack goes.
        let _ = self.join();
    }
}

/// Has a thread that was just made run on another processor than this: some kernels put it here,
/// where it waits until its maker does, although others are idle. What hinders that, a single
/// processor for example, is no loss.
fn leave_processor(id: libc::pthread_t) {
    if let (Ok(own), Ok(allowed)) = (own_processor(), Processors::allowed()) {
        let Processors(others) = allowed.without(own);
        // SAFETY: the thread hasn't been joined, and the mask is as long as is said.
        unsafe { libc::pthread_setaffinity_np(id, size_of_val(&others), others.as_ptr().cast()) };
    }
}

/// Leaves a processor to whoever was just put there to run, if this thread is on it: until the
/// kernel notices by itself that another is idle, that takes as long as a container's mounts.
/// This thread may run where it could before. What hinders that is no loss.
pub fn leave_to_other(processor: u32) {
    if own_processor() == Ok(processor)
        && let Ok(allowed) = Processors::allowed()
        && allowed.without(processor).allow().is_ok()
    {
        // Not the way back, but that it is allowed.
        let _ = allowed.allow();
    }
}

/// The processor that this thread runs on (getcpu(2)).
fn own_processor() -> Result<u32> {
    let mut own = 0u32;
    // SAFETY: the number is written in its bounds.
    unsafe { syscall(libc::SYS_getcpu, [&raw mut own as u64, 0, 0, 0, 0, 0]) }.map(|_| own)
}

/// A set of processors, a bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Processors([u64; size_of::<libc::cpu_set_t>() / 8]);

impl Processors {
    /// Those that this thread may run on (sched_getaffinity(2)).
    fn allowed() -> Result<Self> {
        let mut set = Processors([0; _]);
        let args = [0, size_of_val(&set.0) as u64, set.0.as_mut_ptr() as u64, 0, 0, 0];
        // SAFETY: the mask is written in its bounds.
        unsafe { syscall(libc::SYS_sched_getaffinity, args) }.map(|_| set)
    }

    fn without(mut self, processor: u32) -> Self {
        if let Some(word) = self.0.get_mut(processor as usize / 64) {
            *word &= !(1 << (processor % 64));
        }
        self
    }

    /// Has this thread run on these (sched_setaffinity(2)), as soon as this returns.
    fn allow(&self) -> Result<()> {
        let args = [0, size_of_val(&self.0) as u64, self.0.as_ptr() as u64, 0, 0, 0];
        // SAFETY: the mask is as long as is said.
        unsafe { syscall(libc::SYS_sched_setaffinity, args) }.map(drop)
    }
}

/// The thread's first function; gives an errno, 0 for none.
extern "C" fn run(work: *mut c_void) -> *mut c_void {
    // SAFETY: `begin` gives this thread a box of its own.
    let Work { run, fd } = *unsafe { Box::from_raw(work.cast::<Work>()) };
    run(fd).map_or_else(|errno| errno as usize, |()| 0) as *mut c_void
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use nix::sched::{CpuSet, sched_getaffinity};
    use nix::unistd::Pid;

    use super::*;

    fn stack() -> Vec<u64> {
        Vec::with_capacity(8192)
    }

    #[test]
    fn it_works_with_its_descriptor_and_tells_what_came_of_it() {
        let (mut ours, its) = std::io::pipe().unwrap();
        let run = |fd: OwnedFd| File::from(fd).write_all(b"at work").map_err(|_| Errno::EIO);
        let thread = Thread::begin(Box::new(Work { run, fd: its.into() }), stack()).unwrap();
        let mut said = String::new();
        ours.read_to_string(&mut said).unwrap();
        assert_eq!((said.as_str(), thread.finish()), ("at work", Ok(())));
        let (ours, _) = std::io::pipe().unwrap();
        let work = Box::new(Work { run: |_| Err(Errno::EXDEV), fd: ours.into() });
        assert_eq!(Thread::begin(work, stack()).unwrap().finish(), Err(Errno::EXDEV));
    }

    #[test]
    fn it_leaves_its_makers_processor_to_its_maker() {
        fn processors() -> usize {
            let set = sched_getaffinity(Pid::from_raw(0)).unwrap();
            (0..CpuSet::count()).filter(|cpu| set.is_set(*cpu).unwrap()).count()
        }
        let (mut ours, its) = UnixStream::pair().unwrap();
        let run = |fd: OwnedFd| {
            let mut its = UnixStream::from(fd);
            // It may have begun before its processors were chosen.
            its.read_exact(&mut [0]).map_err(|_| Errno::EIO)?;
            its.write_all(&processors().to_ne_bytes()).map_err(|_| Errno::EIO)
        };
        let _thread = Thread::begin(Box::new(Work { run, fd: its.into() }), stack()).unwrap();
        ours.write_all(&[0]).unwrap();
        let mut left = 0usize.to_ne_bytes();
        ours.read_exact(&mut left).unwrap();
        assert_eq!(usize::from_ne_bytes(left), processors().saturating_sub(1).max(1));
    }

    #[test]
    fn a_processor_is_left_and_may_be_come_back_to() {
        let before = Processors::allowed().unwrap();
        let has_others = before.without(own_processor().unwrap()).0 != [0; _];
        let moves = || {
            let own = own_processor().unwrap();
            leave_to_other(own);
            own_processor() != Ok(own)
        };
        // The kernel may have brought it back before it was asked.
        assert_eq!((0..1000).any(|_| moves()), has_others);
        assert_eq!(Processors::allowed(), Ok(before));
    }

    #[test]
    fn without_room_for_a_stack_there_is_none() {
        let (ours, _) = std::io::pipe().unwrap();
        let work = Box::new(Work { run: |_| Ok(()), fd: ours.into() });
        assert_eq!(Thread::begin(work, Vec::with_capacity(64)).err(), Some(Errno::EINVAL));
    }
}
