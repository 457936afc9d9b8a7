//! How loaded is this server?
//!
//! Read each second from the kernel's files below a root directory (`/`, or a test's own).
//! What can't be read is missing from the [`Load`], or the load is missing when nothing
//! could be said without it; the log hears of it once, not each second.

mod cgroup;
mod cpu;
mod procfs;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proto::{Load, Username};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use crate::host;
use crate::inventory::{ActiveSession, InventoryHandle};
use cgroup::Prediction;
pub(crate) use cpu::{MAX_MHZ, MIN_MHZ};

/// Reads the load of this server. Keeps what the prediction must remember.
#[derive(Debug)]
pub struct LoadReader {
    root: PathBuf,
    mhz: Option<u32>,
    prediction: Prediction,
    uids: BTreeMap<Username, Option<u32>>,
}

impl LoadReader {
    /// Reads from the files below `root`. An administrator's `capacity_mhz` wins over what
    /// the processor says.
    #[must_use]
    pub fn new(root: PathBuf, capacity_mhz: Option<u32>) -> Self {
        Self {
            root,
            mhz: capacity_mhz,
            prediction: Prediction::default(),
            uids: BTreeMap::new(),
        }
    }

    /// Reads the load; none when the load averages, the memory or the number of
    /// processors can't be read. Blocks.
    pub fn read(&mut self, sessions: &[ActiveSession]) -> Option<Load> {
        let averages = procfs::load_averages(&self.text("proc/loadavg")?)?;
        let memory = procfs::memory(&self.text("proc/meminfo")?)?;
        let cores = self.cores()?;
        let mhz = self.mhz();
        Some(Load {
            cores,
            mhz,
            memory_total_mb: memory.total_mb,
            memory_used_mb: memory.used_mb,
            predicted: self.predicted(sessions, mhz),
            load1: averages.load1,
            load5: averages.load5,
            pressure_cpu: self.pressure("cpu"),
            pressure_memory: self.pressure("memory"),
        })
    }

    fn cores(&self) -> Option<u32> {
        let online = self.text("sys/devices/system/cpu/online");
        online
            .and_then(|list| cpu::online(&list))
            .or_else(|| cpu::listed(&self.text("proc/cpuinfo")?))
    }

    /// Found once: it does not change while the agent runs.
    fn mhz(&mut self) -> u32 {
        if let Some(mhz) = self.mhz {
            return mhz;
        }
        let found = self
            .cpufreq("cpuinfo_max_freq")
            .or_else(|| self.cpufreq("base_frequency"))
            .or_else(|| cpu::from_cpuinfo(&self.text("proc/cpuinfo")?))
            .or_else(|| self.device_tree());
        if found.is_none() {
            let mhz = cpu::DEFAULT_MHZ;
            tracing::info!(
                mhz,
                "processor tells no frequency, set capacity_mhz if this is wrong"
            );
        }
        let mhz = found.unwrap_or(cpu::DEFAULT_MHZ);
        self.mhz = Some(mhz);
        mhz
    }

    fn cpufreq(&self, file: &str) -> Option<u32> {
        let texts: Vec<String> = (0..cpu::MAX_CORES)
            .map_while(|n| self.text(&format!("sys/devices/system/cpu/cpu{n}/cpufreq/{file}")))
            .collect();
        cpu::from_cpufreq(texts.iter().map(String::as_str))
    }

    fn device_tree(&self) -> Option<u32> {
        let cpu0 = self
            .root
            .join("proc/device-tree/cpus/cpu@0/clock-frequency");
        cpu::from_device_tree(&fs::read(cpu0).ok()?)
    }

    fn pressure(&self, of: &str) -> Option<f64> {
        procfs::pressure(&self.text(&format!("proc/pressure/{of}"))?)
    }

    /// None where there is no cgroup v2 with a slice for users.
    fn predicted(&mut self, sessions: &[ActiveSession], mhz: u32) -> Option<f64> {
        let slices = USER_SLICES.iter().map(|slice| self.root.join(slice));
        let slice = slices
            .into_iter()
            .find(|slice| slice.join("cpu.stat").is_file())?;
        let mut usage = BTreeMap::new();
        for session in sessions {
            let Some(uid) = self.uid(&session.user) else {
                continue;
            };
            if let Some(used) = slice_usage(&slice, uid) {
                usage.insert(session.user.clone(), used);
            }
        }
        self.uids
            .retain(|user, _| sessions.iter().any(|session| session.user == *user));
        Some(self.prediction.predict(sessions, &usage, mhz))
    }

    /// Asked once per user with running sessions: name services can be slow.
    fn uid(&mut self, user: &Username) -> Option<u32> {
        if !self.uids.contains_key(user) {
            self.uids.insert(user.clone(), host::uid_of(user));
        }
        self.uids.get(user).copied().flatten()
    }

    fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root.join(path)).ok()
    }
}

fn slice_usage(user_slice: &Path, uid: u32) -> Option<Duration> {
    let stat = user_slice.join(format!("user-{uid}.slice/cpu.stat"));
    cgroup::cpu_usage(&fs::read_to_string(stat).ok()?)
}

/// Tells the inventory the load each second until `stop`. The first reading is there
/// before the second one is due.
pub async fn run(mut reader: LoadReader, inventory: InventoryHandle, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_readable = true;
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let Ok(sessions) = inventory.active_sessions().await else {
            return;
        };
        let reading = tokio::task::spawn_blocking(move || {
            let load = reader.read(&sessions);
            (reader, load)
        });
        // Only a stopping runtime drops the task.
        let Ok((back, load)) = reading.await else {
            return;
        };
        reader = back;
        if was_readable != load.is_some() {
            was_readable = load.is_some();
            if was_readable {
                tracing::info!("load can be read again");
            } else {
                tracing::warn!("load can't be read: /proc/loadavg, /proc/meminfo or processors");
            }
        }
        if let Some(load) = load
            && inventory.set_load(load).await.is_err()
        {
            return;
        }
    }
}

/// The placement counts on news once a second.
const INTERVAL: Duration = Duration::from_secs(1);

/// Where users' slices are: cgroup v2 alone, or beside version 1.
const USER_SLICES: [&str; 2] = [
    "sys/fs/cgroup/user.slice",
    "sys/fs/cgroup/unified/user.slice",
];

#[cfg(test)]
mod tests;
