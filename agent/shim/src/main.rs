//! In which order does the setuid program act?
//!
//! 1. Nothing of the caller's stays: descriptors, environment, signals, terminal, mask,
//!    limits, working directory ([`sys`], [`surroundings`]).
//! 2. The program's own file is as packaged ([`shim::own_file`]).
//! 3. The request is read: argv, or without operands `SSH_ORIGINAL_COMMAND`; nothing else
//!    ([`shim::request`]).
//! 4. The caller's real user is the broker's account or root ([`shim::caller`]).
//! 5. The target is looked up, by name and by number; root and system accounts are refused
//!    ([`shim::target`]).
//! 6. Root is given up for good, and that is verified ([`privileges`]). For what needs no
//!    user, the caller's own rights are taken, which may be root's.
//! 7. The task is done as the target user: a program of x2goserver takes this process's
//!    place ([`exec`]), or a key file is edited ([`keys`]).
//!
//! Nothing has an effect before step 6. Nothing at all runs before step 1: the C library
//! starts [`start`] itself, since the runtime of Rust's standard library would open files
//! and set signals first. That also saves a fifth of the memory.

#![no_main]

mod accounts;
mod exec;
mod keys;
mod privileges;
mod surroundings;
mod sys;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;

use shim::answer::{self, KernelFiles, OK};
use shim::location::Location;
use shim::request::Task;
use shim::target::Target;
use shim::{Refusal, Request, authorized_keys, caller};

use exec::Program;
use privileges::Dropped;

/// Runs once and returns the exit code.
fn start() -> u8 {
    match run() {
        Ok(()) => 0,
        Err(refusal) => {
            // Nobody is left to tell when this fails.
            let _ = writeln!(std::io::stderr(), "x2gobroker-agent: {refusal}");
            refusal.code()
        }
    }
}

fn run() -> Result<(), Refusal> {
    let operands: Vec<OsString> = std::env::args_os().skip(1).collect();
    let asked = std::env::var_os("SSH_ORIGINAL_COMMAND");
    surroundings::reset()?;
    shim::own_file::check(surroundings::own_file()?, privileges::effective_user())?;
    let operands: Vec<&OsStr> = operands.iter().map(OsString::as_os_str).collect();
    let request = Request::read(&operands, asked.as_deref())?;
    let real_user = privileges::real_user();
    let allowed = caller::authorise(real_user, || accounts::number_of(caller::ACCOUNT))?;
    match request {
        Request::AsUser(name, task) => {
            let found = accounts::by_name(name.as_str());
            let target = Target::accept(&name, found, accounts::by_number)?;
            let dropped = privileges::become_target(allowed, &target)?;
            act(&dropped, &target, &task)
        }
        Request::Ping => {
            privileges::become_caller(allowed)?;
            print(&[OK])
        }
        Request::AvailableTasks => {
            privileges::become_caller(allowed)?;
            let tasks = answer::available_tasks(Program::ListSessions.is_installed());
            print(&[OK, &tasks])
        }
        Request::CheckLoad => {
            privileges::become_caller(allowed)?;
            let read = |name| fs::read_to_string(name).unwrap_or_default();
            let files = KernelFiles {
                loadavg: &read("/proc/loadavg"),
                meminfo: &read("/proc/meminfo"),
                cpuinfo: &read("/proc/cpuinfo"),
                min_free: &read("/proc/sys/vm/min_free_kbytes"),
            };
            print(&[OK, &answer::load(files)])
        }
    }
}

/// Does a task as its user.
fn act(dropped: &Dropped, target: &Target, task: &Task) -> Result<(), Refusal> {
    match task {
        Task::ListSessions => {
            exec::replace(dropped, target, Program::ListSessions, &["--all-servers"])
        }
        Task::ListDesktops => exec::replace(dropped, target, Program::ListDesktops, &[]),
        Task::GetServers => exec::replace(dropped, target, Program::GetServers, &[]),
        Task::SuspendSession(id) => {
            exec::replace(dropped, target, Program::SuspendSession, &[id.as_str()])
        }
        Task::TerminateSession(id) => {
            exec::replace(dropped, target, Program::TerminateSession, &[id.as_str()])
        }
        Task::FindBusyServers | Task::FindBusyServersBySessionStats => {
            let servers = exec::output(dropped, Program::GetServers)?;
            print(&[OK, &answer::busy_servers(&servers)])
        }
        Task::AddKey(line, file) => {
            let location = Location::of(file, target.account())?;
            let edit = |content: &[u8]| authorized_keys::add(content, line);
            keys::edit(dropped, &location, keys::Missing::Create, edit)?;
            print(&[OK])
        }
        Task::RemoveKey(line, file) => {
            let location = Location::of(file, target.account())?;
            let edit = |content: &[u8]| authorized_keys::remove(content, line);
            keys::edit(dropped, &location, keys::Missing::Leave, edit)?;
            print(&[OK])
        }
        Task::Unknown => Ok(()),
    }
}

fn print(texts: &[&str]) -> Result<(), Refusal> {
    let mut out = std::io::stdout().lock();
    let all = texts.concat();
    let written = out.write_all(all.as_bytes()).and_then(|()| out.flush());
    written.map_err(Refusal::Output)
}
