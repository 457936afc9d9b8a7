//! What of the caller's surroundings could still reach us? Nothing, after this.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, rlim_t, setrlimit};
use nix::sys::signal::SigSet;
use nix::sys::stat::{Mode, umask};
use nix::unistd::{alarm, chdir};
use shim::Refusal;
use shim::own_file::OwnFile;

use crate::sys;

/// Makes descriptors, environment, signals, limits, mask and working directory our own.
pub(crate) fn reset() -> Result<(), Refusal> {
    sys::close_other_descriptors().map_err(failed("closing descriptors"))?;
    sys::clear_environment().map_err(failed("clearing the environment"))?;
    sys::reset_signals();
    let all = SigSet::all();
    all.thread_unblock().map_err(failed("unblocking signals"))?;
    umask(Mode::from_bits_truncate(PRIVATE));
    for (resource, limit) in LIMITS {
        reset_limit(*resource, *limit)?;
    }
    chdir("/").map_err(failed("leaving the working directory"))?;
    // After the drop the agent may not signal this process, so it ends by itself. The
    // alarm outlives execve(2).
    alarm::set(LONGEST_RUN_SECONDS);
    Ok(())
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

/// Sets a limit, or where a container forbids to raise it, takes what is allowed.
fn reset_limit(resource: Resource, limit: rlim_t) -> Result<(), Refusal> {
    if setrlimit(resource, limit, limit).is_ok() {
        return Ok(());
    }
    getrlimit(resource)
        .and_then(|(_, hard)| setrlimit(resource, hard.min(limit), hard))
        .map_err(failed("resetting limits"))
}

fn failed<E: Into<io::Error>>(step: &'static str) -> impl FnOnce(E) -> Refusal {
    move |error| Refusal::Process(step, error.into())
}

/// What a program is usually started with. No core: it would hold what root may read.
const LIMITS: &[(Resource, rlim_t)] = &[
    (Resource::RLIMIT_CORE, 0),
    (Resource::RLIMIT_CPU, RLIM_INFINITY),
    (Resource::RLIMIT_FSIZE, RLIM_INFINITY),
    (Resource::RLIMIT_DATA, RLIM_INFINITY),
    (Resource::RLIMIT_AS, RLIM_INFINITY),
    (Resource::RLIMIT_NPROC, RLIM_INFINITY),
    (Resource::RLIMIT_STACK, 8 * 1024 * 1024),
    (Resource::RLIMIT_NOFILE, 1024),
];

/// New files are for the user only.
const PRIVATE: u32 = 0o077;

/// Suspending takes well under ten seconds on a loaded server.
const LONGEST_RUN_SECONDS: u32 = 60;
