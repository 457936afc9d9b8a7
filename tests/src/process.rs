//! How does a test run a program so that it never outlives the test, and can be asked?

mod proc;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::wait::{Progress, wait_for};
use proc::{children, cpu_time, cpu_time_of_children, resident_kb};

/// A running child process with its output in a file.
///
/// It is killed and reaped when this value is dropped, also by a panic.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    /// The process that signals and measurements go to: the child itself, or the child of
    /// a wrapper such as nsenter.
    subject: u32,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with both outputs appended to `log`, and no input.
    ///
    /// # Errors
    /// When the log can't be written or the program can't be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, command.stdin(Stdio::null()), log)
    }

    /// Starts `command` with an input that ends when this process ends, however it ends: a
    /// program that leaves at the end of its input can't outlive a test that was killed.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_tied(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        Self::start_with(name, command.stdin(Stdio::piped()), log)
    }

    fn start_with(name: &str, command: &mut Command, log: &Path) -> anyhow::Result<Self> {
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("opening the log {}", log.display()))?;
        let child = command
            .stdout(output.try_clone().context("sharing the log")?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {name}: {command:?}"))?;
        let subject = child.id();
        let log = log.to_owned();
        Ok(Self {
            name: name.to_owned(),
            child,
            subject,
            log,
            ended: None,
        })
    }

    /// Makes signals and measurements go to the one child of this process, which is a
    /// wrapper such as nsenter or unshare.
    ///
    /// # Errors
    /// When it has no child in time.
    pub fn unwrap_child(mut self) -> anyhow::Result<Self> {
        let wrapper = self.child.id();
        let found = wait_for(CHILD_LIMIT, || {
            if let Some(status) = self.poll() {
                return Progress::Failed(format!("{} ended: {status}", self.name));
            }
            match children(wrapper).first() {
                Some(child) => Progress::Ready(*child),
                None => Progress::NotYet(format!("{} has no child yet", self.name)),
            }
        });
        self.subject = found.with_context(|| self.story())?;
        Ok(self)
    }

    /// The name that it was started under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The process id, as this process's namespace sees it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.subject
    }

    /// The file with its output.
    #[must_use]
    pub fn log_path(&self) -> &Path {
        &self.log
    }

    /// Whether it has not ended yet.
    pub fn is_running(&mut self) -> bool {
        self.poll().is_none()
    }

    /// Sends SIGTERM.
    ///
    /// # Errors
    /// When the signal can't be sent.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal("TERM")
    }

    /// Sends the signal `name` (`TERM`, `HUP`, `STOP`, …), unless it has ended.
    ///
    /// # Errors
    /// When the signal can't be sent.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        send_signal(self.subject, name).with_context(|| format!("signalling {}", self.name))
    }

    /// Kills it by SIGKILL and returns once it is reaped.
    ///
    /// # Errors
    /// When it is still there after the limit.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.poll().is_none() {
            self.signal("KILL")?;
            self.wait_exit(KILL_LIMIT)?;
        }
        Ok(())
    }

    /// Waits until it has ended by itself, and reaps it.
    ///
    /// # Errors
    /// When it still runs after `limit`; the text carries the end of its log.
    pub fn wait_exit(&mut self, limit: Duration) -> anyhow::Result<ExitStatus> {
        let ended = wait_for(limit, || match self.poll() {
            Some(status) => Progress::Ready(status),
            None => Progress::NotYet(format!("{} still runs", self.name)),
        });
        ended.with_context(|| self.story())
    }

    /// Waits until its log has a line with all of `words`, and returns the first such line.
    ///
    /// # Errors
    /// When it ended or `limit` passed without one; the text carries the end of its log.
    pub fn wait_for_log(&mut self, limit: Duration, words: &[&str]) -> anyhow::Result<String> {
        let seen = wait_for(limit, || {
            let running = self.is_running();
            match self.log_lines(words).into_iter().next() {
                Some(line) => Progress::Ready(line),
                None if running => {
                    Progress::NotYet(format!("{} has not logged {words:?}", self.name))
                }
                None => Progress::Failed(format!("{} ended without logging {words:?}", self.name)),
            }
        });
        seen.with_context(|| self.story())
    }

    /// Returns the lines of its log that hold all of `words`.
    #[must_use]
    pub fn log_lines(&self, words: &[&str]) -> Vec<String> {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let wanted = |line: &&str| words.iter().all(|word| line.contains(word));
        text.lines().filter(wanted).map(str::to_owned).collect()
    }

    /// Returns the last part of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&self.log).unwrap_or_else(|error| format!("(no log: {error})"))
    }

    /// Returns its name and the last part of its log, for the text of an error.
    #[must_use]
    pub fn story(&self) -> String {
        format!(
            "--- end of the log of {} ---\n{}\n---",
            self.name,
            self.log_tail().trim_end()
        )
    }

    /// Returns its resident memory in KiB.
    ///
    /// # Errors
    /// When it has ended.
    pub fn rss_kb(&self) -> anyhow::Result<u64> {
        resident_kb(self.subject).with_context(|| format!("{} has ended", self.name))
    }

    /// Returns the CPU time that it has used so far, user and system.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        cpu_time(self.subject).with_context(|| format!("{} has ended", self.name))
    }

    /// Returns the CPU time of the processes that it has started and seen end.
    ///
    /// # Errors
    /// When it has ended.
    pub fn cpu_of_children(&self) -> anyhow::Result<Duration> {
        cpu_time_of_children(self.subject).with_context(|| format!("{} has ended", self.name))
    }

    /// Returns how it has ended, or `None` while it runs.
    fn poll(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().ok().flatten();
        }
        self.ended
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.poll().is_none() {
            // An error here means that it is already gone; the wrapper is killed as well, in
            // case it has outlived its child.
            let _ = self.signal("KILL");
            if self.wait_exit(KILL_LIMIT).is_err() {
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
        }
    }
}

/// Prepares to start `program`; the one place of the harness that may.
#[expect(
    clippy::disallowed_methods,
    reason = "starting programs is what this crate is for"
)]
#[must_use]
pub fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// Runs `command` to its end and returns its standard output.
///
/// # Errors
/// When it can't be started or ends with another code than 0; the text carries its output.
pub fn run(command: &mut Command) -> anyhow::Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting {command:?}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{text}{complaint}",
        output.status
    );
    Ok(text)
}

/// Sends a signal by name. The shell's own `kill` needs no package.
fn send_signal(pid: u32, name: &str) -> anyhow::Result<()> {
    run(command("sh").arg("-c").arg(format!("kill -{name} {pid}"))).map(drop)
}

/// Returns the last part of a file, from the start of a line.
fn tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let cut = if length > TAIL_BYTES {
        text.find('\n').map_or(0, |idx| idx + 1)
    } else {
        0
    };
    Ok(text.get(cut..).unwrap_or_default().to_owned())
}

/// About forty lines: enough to see why a program failed, little enough to read.
const TAIL_BYTES: u64 = 4096;
/// A wrapper forks at once; a loaded machine may take a while to run it.
const CHILD_LIMIT: Duration = Duration::from_secs(10);
/// SIGKILL works at once unless the kernel is busy with the process's memory.
const KILL_LIMIT: Duration = Duration::from_secs(10);
