//! What keeps passwords out of core dumps, and the process out of odd inheritances?

use std::io;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::stat::{Mode, umask};

/// No core dumps and no tracing by others, for this process and those that it starts.
pub(crate) fn apply() -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    prctl::set_dumpable(false)?;
    umask(Mode::from_bits_truncate(0o077));
    Ok(())
}
