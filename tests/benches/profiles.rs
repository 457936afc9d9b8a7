//! How fast is a file of a thousand session profiles read, and listed?
//!
//! `cargo bench -p tests --bench profiles`. In one process: reading the text of the file,
//! and making the plain answer to `listsessions` for a user who may use all of them. Half
//! of the profiles have names that must be quoted for X2Go Client.

#![expect(clippy::disallowed_methods, reason = "a bench reads the real clock")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure};
use broker::frontend::plain;
use broker::profiles::{PlainValues, SessionProfiles};
use broker::task::list_sessions::{HostsShown, list_sessions};
use broker::view::FarmView;
use proto::Username;
use tests::bench::promises::{Promises, headline, machine, ms, note};

const SOURCE: &str = "issue 3";
const PARSED: Duration = Duration::from_millis(50);
const LISTED: Duration = Duration::from_millis(20);
const N_PROFILES: usize = 1000;

/// Odd, so that the median is one of them.
const N_ROUNDS: usize = 51;

fn main() -> anyhow::Result<ExitCode> {
    headline(format!("{N_PROFILES} session profiles; {}", machine()));
    let file = file();
    note(format!("the file has {} KB", file.len() / 1000));
    let mut promises = Promises::of(SOURCE);
    for values in [PlainValues::Raw, PlainValues::Quoted] {
        let profiles = parse(values, &file)?;
        ensure!(profiles.len() == N_PROFILES, "only {}", profiles.len());
        let parsed = median(|| parse(values, black_box(&file)).map(drop))?;
        let mut n_bytes = 0;
        let listed = median(|| {
            n_bytes = black_box(list(&profiles)?).len();
            Ok(())
        })?;
        note(format!(
            "values {values:?}: read in {}, listed in {} ({} KB)",
            ms(parsed),
            ms(listed),
            n_bytes / 1000
        ));
        promises.at_most("reading the file", parsed, PARSED);
        promises.at_most("listing all profiles", listed, LISTED);
    }
    Ok(promises.verdict())
}

fn parse(values: PlainValues, file: &str) -> anyhow::Result<SessionProfiles> {
    match SessionProfiles::parse_with(values, "profiles", file) {
        Ok((profiles, _)) => Ok(profiles),
        Err(problems) => bail!("{problems:?}"),
    }
}

fn list(profiles: &SessionProfiles) -> anyhow::Result<String> {
    let user = Username::parse("alice")?;
    let view = FarmView::default();
    let listed = list_sessions(profiles.iter(), &view, Some(&user), false);
    Ok(plain::list_sessions(
        None,
        Some(&user),
        HostsShown::All,
        &listed,
    ))
}

fn median(mut round: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    for _ in 0..N_ROUNDS {
        let begun = Instant::now();
        round()?;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    Ok(took.get(N_ROUNDS / 2).copied().unwrap_or_default())
}

fn file() -> String {
    let profiles = (0..N_PROFILES).map(|number| {
        let name = match number % 2 {
            0 => format!("Desktop {number}"),
            _ => format!("Büro {number}, \"Süd\"; links"),
        };
        format!("[profile{number:04}]\nname={name}\n{OPTIONS}\n")
    });
    let profiles: String = profiles.collect();
    format!("[DEFAULT]\nuser=BROKER_USER\nusebrokerpass=true\n{profiles}")
}

/// What administrators set for a desktop.
const OPTIONS: &str = "\
host=s1 (10.77.0.101), s2 (10.77.0.102:2022), s3
command=XFCE
rootless=false
fullscreen=true
geometry=1024x768
speed=2
pack=16m-jpeg
quality=9
sound=true
soundsystem=pulse
print=true
fstunnel=true
export=/home/shared:1;/srv:0;
acl-users-allow=alice,bob,carol
acl-clients-allow=10.77.0.0/24
";
