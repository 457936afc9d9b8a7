//! How many processors are there, and how fast is one of them?
//!
//! The frequency is the maximum or base one, never the momentary one: an idle server
//! clocks down and would look weak. The first source that knows wins:
//!
//! 1. `capacity_mhz` of the agent's configuration;
//! 2. `cpufreq/cpuinfo_max_freq` of the processors, then `cpufreq/base_frequency`: the
//!    mean, since big and little cores differ;
//! 3. `@ 2.40GHz` in the model name of `/proc/cpuinfo` (Intel, also in virtual machines);
//! 4. half the bogomips of an x86 processor with a constant time stamp counter, which is
//!    its base frequency (AMD in virtual machines);
//! 5. `clock-frequency` of the device tree (some ARM boards);
//! 6. 2400 MHz, the reference: most ARM servers and their virtual machines tell nothing.

/// Counts the processors in a list such as `0-3,8`: `/sys/devices/system/cpu/online`.
pub(super) fn online(list: &str) -> Option<u32> {
    let mut count = 0u32;
    for range in list.trim().split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (1..=MAX_CORES).contains(&count).then_some(count)
}

/// Counts the processors of `/proc/cpuinfo`, which lists those that are on line.
pub(super) fn listed(cpuinfo: &str) -> Option<u32> {
    let count = entries(cpuinfo)
        .filter(|(key, _)| *key == "processor")
        .count();
    u32::try_from(count)
        .ok()
        .filter(|count| (1..=MAX_CORES).contains(count))
}

/// The mean of the frequencies that cpufreq's files state in kHz.
pub(super) fn from_cpufreq<'a>(files: impl IntoIterator<Item = &'a str>) -> Option<u32> {
    let (mut sum, mut n) = (0u64, 0u64);
    for text in files {
        let khz: u64 = text.trim().parse().ok()?;
        sum = sum.checked_add(khz)?;
        n += 1;
    }
    plausible(sum.checked_div(n)? / 1000)
}

/// What the processor's model name or its bogomips say.
pub(super) fn from_cpuinfo(cpuinfo: &str) -> Option<u32> {
    let value = |key: &str| entries(cpuinfo).find_map(|(k, value)| (k == key).then_some(value));
    value("model name").and_then(from_model_name).or_else(|| {
        // Only x86 spells it so and counts it in cycles of the time stamp counter.
        let has_flag =
            |flag| value("flags").is_some_and(|flags| flags.split(' ').any(|f| f == flag));
        value("bogomips")
            .filter(|_| has_flag("constant_tsc"))
            .and_then(from_bogomips)
    })
}

/// What a device tree states for one processor: big-endian Hz in 4 or 8 bytes.
pub(super) fn from_device_tree(clock_frequency: &[u8]) -> Option<u32> {
    let hz = if let Ok(bytes) = clock_frequency.try_into() {
        u64::from(u32::from_be_bytes(bytes))
    } else {
        u64::from_be_bytes(clock_frequency.try_into().ok()?)
    };
    plausible(hz / 1_000_000)
}

fn from_model_name(name: &str) -> Option<u32> {
    let (_, frequency) = name.rsplit_once('@')?;
    let frequency = frequency.trim();
    let number = |text: &str| text.trim_end().parse::<f64>().ok();
    let mhz = match (frequency.strip_suffix("GHz"), frequency.strip_suffix("MHz")) {
        (Some(ghz), _) => number(ghz)? * 1000.0,
        (_, Some(mhz)) => number(mhz)?,
        (None, None) => return None,
    };
    plausible_float(mhz)
}

fn from_bogomips(bogomips: &str) -> Option<u32> {
    plausible_float(bogomips.parse::<f64>().ok()? / 2.0)
}

fn entries(cpuinfo: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
    lines.map(|(key, value)| (key.trim(), value.trim()))
}

fn plausible_float(mhz: f64) -> Option<u32> {
    let range = f64::from(MIN_MHZ)..=f64::from(MAX_MHZ);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range was checked"
    )]
    range.contains(&mhz).then(|| mhz.round() as u32)
}

fn plausible(mhz: u64) -> Option<u32> {
    u32::try_from(mhz)
        .ok()
        .filter(|mhz| (MIN_MHZ..=MAX_MHZ).contains(mhz))
}

/// What is assumed when nothing tells: the reference core.
pub(super) const DEFAULT_MHZ: u32 = 2400;
/// Outside of these a number is a mistake, not a processor.
pub(crate) const MIN_MHZ: u32 = 100;
/// See [`MIN_MHZ`].
pub(crate) const MAX_MHZ: u32 = 20_000;
/// The kernel's own limit is 8192.
pub(super) const MAX_CORES: u32 = 8192;

#[cfg(test)]
mod tests {
    use super::{from_cpufreq, from_cpuinfo, from_device_tree, listed, online};

    #[test]
    fn lists_of_processors_are_counted() {
        let rows = [
            ("0\n", Some(1)),
            ("0-1\n", Some(2)),
            ("0-63,128-191\n", Some(128)),
            ("0,2,4-5", Some(4)),
            ("", None),
            ("3-1", None),
            ("0-99999", None),
            ("a-b", None),
        ];
        for (list, expected) in rows {
            assert_eq!(online(list), expected, "{list:?}");
        }
    }

    #[test]
    fn cpufreq_is_averaged_over_big_and_little_cores() {
        let rows: [(&[&str], Option<u32>); 5] = [
            (&["3700000\n", "3700000\n"], Some(3700)),
            (&["1800000\n", "2400000\n"], Some(2100)),
            (&[], None),
            (&["1800000", "<unknown>"], None),
            (&["0"], None),
        ];
        for (files, expected) in rows {
            assert_eq!(from_cpufreq(files.iter().copied()), expected, "{files:?}");
        }
    }

    #[test]
    // The sample epyc-in-a-vm is a recording; the others are cut down to what matters.
    fn each_kind_of_processor_gives_its_base_frequency() {
        let sample = |name: &str| {
            let path = format!(
                "{}/tests/samples/cpuinfo/{name}",
                env!("CARGO_MANIFEST_DIR")
            );
            std::fs::read_to_string(path).unwrap()
        };
        let rows = [
            ("xeon", 2, Some(2400)),
            ("epyc-in-a-vm", 2, Some(2596)),
            ("ampere-altra-in-a-vm", 2, None),
            ("raspberry-pi-4", 4, None),
            ("power9", 2, None),
        ];
        for (name, cores, mhz) in rows {
            let text = sample(name);
            assert_eq!(
                (listed(&text), from_cpuinfo(&text)),
                (Some(cores), mhz),
                "{name}"
            );
        }
    }

    #[test]
    fn model_names_without_a_frequency_give_none() {
        let rows = [
            ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", Some(2400)),
            ("Intel(R) Core(TM)2 Duo CPU @ 800MHz", Some(800)),
            ("AMD Ryzen 7 2700X Eight-Core Processor", None),
            ("Weird @ 0.001GHz", None),
            ("Weird @ fastGHz", None),
            ("Weird @", None),
        ];
        for (name, expected) in rows {
            assert_eq!(
                from_cpuinfo(&format!("model name\t: {name}\n")),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn device_trees_state_hertz() {
        let rows: [(&[u8], Option<u32>); 4] = [
            (&1_800_000_000u32.to_be_bytes(), Some(1800)),
            (&2_000_000_000u64.to_be_bytes(), Some(2000)),
            (&[0; 4], None),
            (&[1, 2], None),
        ];
        for (bytes, expected) in rows {
            assert_eq!(from_device_tree(bytes), expected, "{bytes:?}");
        }
    }
}
