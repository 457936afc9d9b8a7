//! What of the caller's surroundings could still reach us? Nothing, after this.

use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd as _, IntoRawFd as _, OwnedFd};
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl, open};
use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{alarm, chdir, dup2_stderr, dup2_stdout, getpid, getsid, setsid};
use shim::Refusal;
use shim::own_file::OwnFile;

use crate::sys;

/// Makes descriptors, environment, signals, limits, mask and working directory our own.
pub(crate) fn reset() -> Result<(), Refusal> {
    hold_standard_descriptors()?;
    sys::close_other_descriptors().map_err(failed("closing descriptors"))?;
    sys::clear_environment().map_err(failed("clearing the environment"))?;
    sys::reset_signals();
    let all = SigSet::all();
    all.thread_unblock().map_err(failed("unblocking signals"))?;
    leave_terminal()?;
    umask(Mode::from_bits_truncate(PRIVATE));
    for limit in LIMITS {
        limit.reset()?;
    }
    lose_protection()?;
    chdir("/").map_err(failed("leaving the working directory"))?;
    // After the drop the agent may not signal this process, so it ends by itself. The
    // alarm outlives execve(2).
    alarm::set(LONGEST_RUN_SECONDS);
    Ok(())
}

/// Puts /dev/null where one of the first three descriptors is closed, so that no file that
/// is opened later can become the standard output.
fn hold_standard_descriptors() -> Result<(), Refusal> {
    for _ in 0..3 {
        let nothing = open("/dev/null", OFlag::O_RDWR, Mode::empty());
        let nothing = nothing.map_err(failed("opening /dev/null"))?;
        if nothing.as_raw_fd() > 2 {
            break;
        }
        // It stays open under its number.
        let _ = nothing.into_raw_fd();
    }
    Ok(())
}

/// Where memory runs out, what runs for a user ends like any other process of a user, and not
/// after them, as the agent that has called does.
fn lose_protection() -> Result<(), Refusal> {
    let step = "giving up the caller's protection from the lack of memory";
    let score = fs::read_to_string(OOM_SCORE).map_err(failed(step))?;
    if score.starts_with('-') {
        fs::write(OOM_SCORE, "0").map_err(failed(step))?;
    }
    Ok(())
}

/// Leaves the caller's terminal: whose controlling terminal it is could type into it, for the
/// caller to run, when this has ended.
///
/// What is printed is to be seen there all the same, but through descriptors that only write:
/// who reads from a terminal takes what is typed to others.
///
/// A session of our own has none. Who leads a group of processes can have no other session,
/// but can give up its terminal. Who leads the session would hang up on all others in it: a
/// child goes on instead.
fn leave_terminal() -> Result<(), Refusal> {
    if let Some(terminal) = to_write_only(&io::stdout(), "/proc/self/fd/1")? {
        dup2_stdout(terminal).map_err(failed("writing to the terminal"))?;
    }
    if let Some(terminal) = to_write_only(&io::stderr(), "/proc/self/fd/2")? {
        dup2_stderr(terminal).map_err(failed("writing to the terminal"))?;
    }
    if setsid().is_ok() {
        return Ok(());
    }
    let terminal = match open("/dev/tty", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()) {
        Ok(terminal) => terminal,
        Err(Errno::ENXIO) => return Ok(()),
        Err(error) => return Err(failed("looking for a terminal")(error)),
    };
    let session = getsid(None).map_err(failed("looking which session this is"))?;
    if session == getpid() {
        sys::go_on_in_a_child().map_err(failed("leaving the terminal to a parent"))?;
        setsid().map_err(failed("beginning a session"))?;
    } else {
        sys::give_up_terminal(&terminal).map_err(failed("giving up the terminal"))?;
    }
    Ok(())
}

/// Opens a descriptor anew, only to write, if it is a terminal that can be read from, too. One
/// that can't be written is not made one that can: the caller may have no right to that.
fn to_write_only(
    descriptor: &(impl AsFd + IsTerminal),
    name: &str,
) -> Result<Option<OwnedFd>, Refusal> {
    if !descriptor.is_terminal() {
        return Ok(None);
    }
    let step = "opening the terminal";
    let flags = fcntl(descriptor.as_fd(), FcntlArg::F_GETFL).map_err(failed(step))?;
    match OFlag::from_bits_truncate(flags) & OFlag::O_ACCMODE {
        OFlag::O_WRONLY => Ok(None),
        OFlag::O_RDWR => {
            let flags = OFlag::O_WRONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
            let opened = open(name, flags, Mode::empty());
            opened.map(Some).map_err(failed(step))
        }
        _ => Err(failed(step)(Errno::EBADF)),
    }
}

/// Looks at the file that this process runs. The kernel's own link leads to it, whatever
/// its name is now.
pub(crate) fn own_file() -> Result<OwnFile, Refusal> {
    let stat = File::open("/proc/self/exe").and_then(|file| file.metadata());
    let stat = stat.map_err(failed("looking at this program's file"))?;
    Ok(OwnFile {
        owner: stat.uid(),
        mode: stat.mode(),
    })
}

/// A limit that is set, and what a container that forbids to raise it must leave us.
struct Limit {
    resource: Resource,
    usual: rlim_t,
    enough: rlim_t,
}

impl Limit {
    const fn new(resource: Resource, usual: rlim_t, enough: rlim_t) -> Self {
        Self {
            resource,
            usual,
            enough,
        }
    }

    fn reset(&self) -> Result<(), Refusal> {
        if setrlimit(self.resource, self.usual, self.usual).is_ok() {
            return Ok(());
        }
        let step = "lifting the caller's limits";
        let (_, hard) = getrlimit(self.resource).map_err(failed(step))?;
        if hard < self.enough {
            return Err(failed(step)(Errno::EPERM));
        }
        setrlimit(self.resource, hard.min(self.usual), hard).map_err(failed(step))
    }
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::Process(step, error.into())
}

/// Enough for a hundred desktops of one account, and for each program of x2goserver, but not
/// without end: the user may do as they like with a process that has become theirs. No core:
/// it would hold what root may read.
const LIMITS: &[Limit] = &[
    Limit::new(Resource::RLIMIT_CORE, 0, 0),
    Limit::new(Resource::RLIMIT_CPU, 60, 60),
    Limit::new(Resource::RLIMIT_FSIZE, GIBIBYTE, 16 * MEBIBYTE),
    Limit::new(Resource::RLIMIT_DATA, 2 * GIBIBYTE, 256 * MEBIBYTE),
    Limit::new(Resource::RLIMIT_AS, 4 * GIBIBYTE, 512 * MEBIBYTE),
    Limit::new(Resource::RLIMIT_NPROC, 16_384, 64),
    Limit::new(Resource::RLIMIT_STACK, 8 * MEBIBYTE, MEBIBYTE),
    Limit::new(Resource::RLIMIT_NOFILE, 1024, 64),
];

const MEBIBYTE: rlim_t = 1024 * 1024;
const GIBIBYTE: rlim_t = 1024 * MEBIBYTE;

/// From -1000, never ended, to 1000 (proc_pid_oom_score_adj(5)).
const OOM_SCORE: &str = "/proc/self/oom_score_adj";

/// New files are for the user only.
const PRIVATE: u32 = 0o077;

/// Suspending takes well under ten seconds on a loaded server.
const LONGEST_RUN_SECONDS: u32 = 60;
