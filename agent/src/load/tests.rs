use std::fs;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::{any, proptest};
use proto::{Load, SessionId, Username};
use tempfile::TempDir;

use super::{LoadReader, cgroup, cpu, procfs};
use crate::inventory::ActiveSession;

/// A directory that looks like the root of a server.
struct Root(TempDir);

impl Root {
    fn server() -> Self {
        let root = Self(tempfile::tempdir().unwrap());
        root.write("proc/loadavg", "0.50 0.25 0.24 1/91 17787\n");
        root.write(
            "proc/meminfo",
            "MemTotal: 16000000 kB\nMemAvailable: 12000000 kB\n",
        );
        root.write(
            "proc/pressure/cpu",
            "some avg10=12.50 avg60=1.25 avg300=1.49 total=1\n",
        );
        root.write(
            "proc/pressure/memory",
            "some avg10=1.00 avg60=1.25 avg300=1.49 total=1\n",
        );
        root.write("sys/devices/system/cpu/online", "0-3\n");
        root
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.0.path().join(path)).unwrap();
    }

    fn read(&self) -> Option<Load> {
        LoadReader::new(self.0.path().to_owned(), None).read(&[])
    }

    fn mhz(&self) -> u32 {
        self.read().unwrap().mhz
    }
}

fn expected() -> Load {
    Load {
        cores: 4,
        mhz: 2400,
        memory_total_mb: 16_384,
        memory_used_mb: 4096,
        predicted: None,
        load1: 0.5,
        load5: 0.25,
        pressure_cpu: Some(0.125),
        pressure_memory: Some(0.01),
    }
}

#[test]
fn everything_is_read_from_below_the_root() {
    assert_eq!(Root::server().read(), Some(expected()));
}

#[test]
fn what_is_not_there_is_missing_and_takes_nothing_else_with_it() {
    let root = Root::server();
    root.remove("proc/pressure/cpu");
    assert_eq!(
        root.read(),
        Some(Load {
            pressure_cpu: None,
            ..expected()
        })
    );
    root.write("proc/pressure/memory", "nonsense");
    let without = Load {
        pressure_cpu: None,
        pressure_memory: None,
        ..expected()
    };
    assert_eq!(root.read(), Some(without));
    root.remove("sys/devices/system/cpu/online");
    assert_eq!(root.read(), None);
    root.write("proc/cpuinfo", "processor\t: 0\n\nprocessor\t: 1\n");
    assert_eq!(
        root.read(),
        Some(Load {
            cores: 2,
            ..without
        })
    );
    root.remove("proc/meminfo");
    assert_eq!(root.read(), None);
}

#[test]
fn the_frequency_comes_from_the_best_source_there_is() {
    let root = Root::server();
    root.write("proc/device-tree/cpus/cpu@0/clock-frequency", "");
    assert_eq!(root.mhz(), 2400);
    let hz = 1_500_000_000u32.to_be_bytes();
    fs::write(
        root.0
            .path()
            .join("proc/device-tree/cpus/cpu@0/clock-frequency"),
        hz,
    )
    .unwrap();
    assert_eq!(root.mhz(), 1500);
    root.write("proc/cpuinfo", "model name : X @ 2.90GHz\n");
    assert_eq!(root.mhz(), 2900);
    root.write(
        "sys/devices/system/cpu/cpu0/cpufreq/base_frequency",
        "3000000\n",
    );
    assert_eq!(root.mhz(), 3000);
    root.write(
        "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
        "3600000\n",
    );
    root.write(
        "sys/devices/system/cpu/cpu1/cpufreq/cpuinfo_max_freq",
        "3400000\n",
    );
    // The momentary one, which is never looked at.
    root.write(
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq",
        "800000\n",
    );
    assert_eq!(root.mhz(), 3500);
    let mut reader = LoadReader::new(root.0.path().to_owned(), Some(2000));
    assert_eq!(reader.read(&[]).unwrap().mhz, 2000);
}

#[test]
fn the_demand_is_predicted_from_the_slices_of_users() {
    for slice in [
        "sys/fs/cgroup/user.slice",
        "sys/fs/cgroup/unified/user.slice",
    ] {
        let root = Root::server();
        root.write(&format!("{slice}/cpu.stat"), "usage_usec 1\n");
        // root is the one user that every machine has.
        root.write(
            &format!("{slice}/user-0.slice/cpu.stat"),
            "usage_usec 600000000\n",
        );
        let session = |name: &str| ActiveSession {
            id: SessionId::parse(name).unwrap(),
            user: Username::parse(name).unwrap(),
            active: Duration::from_secs(600),
        };
        let mut reader = LoadReader::new(root.0.path().to_owned(), None);
        let predicted = reader
            .read(&[session("root"), session("no-such-user")])
            .unwrap()
            .predicted;
        let expected = (120.0 + 600.0) / 1200.0 + 0.2;
        assert!(
            (predicted.unwrap() - expected).abs() < 1e-9,
            "{predicted:?}"
        );
        assert_eq!(reader.read(&[]).unwrap().predicted, Some(0.0));
    }
}

#[test]
fn this_machine_can_be_read() {
    let load = LoadReader::new(Path::new("/").to_owned(), None)
        .read(&[])
        .unwrap();
    assert!(load.cores > 0 && load.memory_total_mb > 0, "{load:?}");
    assert!(load.memory_used_mb <= load.memory_total_mb, "{load:?}");
    println!("{load:?}");
}

proptest! {
    #[test]
    fn no_text_of_a_strange_kernel_panics(
        key in "processor|model name|bogomips|flags|MemTotal|MemAvailable|usage_usec|some avg10=",
        separator in "[:= \t-]{0,3}",
        value in "[0-9@., -]{0,40}(GHz|MHz|kB)?|\\PC{0,20}",
        bytes in proptest::collection::vec(any::<u8>(), 0..10),
    ) {
        let text = format!("{key}{separator}{value}\n{value}");
        let _ = (procfs::load_averages(&value), procfs::memory(&text), procfs::pressure(&text));
        let _ = (cpu::online(&value), cpu::listed(&text), cpu::from_cpuinfo(&text));
        let _ = (cpu::from_cpufreq([value.as_str()]), cpu::from_device_tree(&bytes));
        let _ = cgroup::cpu_usage(&text);
    }
}
