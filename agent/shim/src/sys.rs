//! What has no safe function? The only unsafe code of the project: the entry point, and
//! calls that nix does not have or can't make safe.

#![expect(unsafe_code, reason = "no safe function does what these do")]

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// Where the C library starts the program, with no code of a runtime before it.
///
/// The arguments are left to the standard library, which has them from the GNU C library.
#[cfg(target_env = "gnu")]
// SAFETY: this is the one function of that name in the program, and it has the type that
// the C library calls.
#[unsafe(no_mangle)]
extern "C" fn main(_count: libc::c_int, _vector: *const *const libc::c_char) -> libc::c_int {
    crate::start().into()
}

/// Closes every descriptor but the first three, whatever the caller left open.
///
/// # Errors
/// When the kernel can't: Linux has close_range(2) since 5.9.
pub(crate) fn close_other_descriptors() -> io::Result<()> {
    let (first, last, flags) = (3, libc::c_uint::MAX, 0);
    // SAFETY: nothing in this process owns a descriptor yet, so none is closed under its
    // owner; the call takes numbers only.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Gives every signal its default action again.
pub(crate) fn reset_signals() {
    // All zero is the default action, no flags and an empty mask, in the kernel's own form
    // on every architecture; none has a larger form.
    let default = [0_u64; 8];
    let nothing = std::ptr::null_mut::<u64>();
    for number in 1..=LAST_SIGNAL {
        // SAFETY: the kernel only reads from `default`, no handler is installed, and no
        // other thread runs. Not signal(3), which leaves out two of them. KILL and STOP
        // answer with an error that means nothing here.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                default.as_ptr(),
                nothing,
                MASK_BYTES,
            )
        };
    }
}

/// Makes `terminal`, which is the controlling terminal of this process, none of it any more.
///
/// # Errors
/// When the kernel won't.
pub(crate) fn give_up_terminal(terminal: &OwnedFd) -> io::Result<()> {
    // SAFETY: the descriptor is open, and this request takes no argument.
    let result = unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCNOTTY) };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Returns in a child of this process. The process itself only waits for it, still as root so
/// that the target user can't touch it, and ends as the child does.
///
/// # Errors
/// When there can be no child.
pub(crate) fn go_on_in_a_child() -> io::Result<()> {
    // SAFETY: no other thread runs, so the child has all of the process that there is.
    let child = unsafe { libc::fork() };
    match child {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(()),
        child => {
            let code = end_of(Pid::from_raw(child));
            // SAFETY: ends the process; nothing was written that could be lost.
            unsafe { libc::_exit(code) }
        }
    }
}

/// Waits until a child has ended, and returns its exit code, or as a shell does, 128 and the
/// number of the signal.
fn end_of(child: Pid) -> libc::c_int {
    loop {
        match waitpid(child, None) {
            Ok(WaitStatus::Exited(_, code)) => return code,
            Ok(WaitStatus::Signaled(_, signal, _)) => return 128 + signal as libc::c_int,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return libc::EXIT_FAILURE,
        }
    }
}

/// Forgets the environment, so that neither the C library nor a name service module that
/// is loaded later finds any of the caller's.
///
/// # Errors
/// When the C library has no memory for an empty one.
pub(crate) fn clear_environment() -> io::Result<()> {
    // SAFETY: no other thread runs, and nobody keeps a pointer into the environment: what
    // was read of it has been copied.
    let result = unsafe { libc::clearenv() };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::other("no empty environment"))
    }
}

/// The largest signal number of Linux on all its architectures but one, MIPS.
const LAST_SIGNAL: libc::c_int = 64;
/// A bit for each.
const MASK_BYTES: usize = 8;
