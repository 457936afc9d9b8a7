//! The Debian packages that the farm tests need: which are missing, and installing them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// What is known of the packages on this machine.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Packages {
    /// All are there.
    Complete,
    /// Some are not, or it can't be known; the text says which and why.
    Incomplete(String),
}

/// Finds the packages of `list` that are missing; installs them when that is wanted and
/// possible.
pub(crate) fn provide(list: &Path, install: bool) -> Result<Packages> {
    let text = std::fs::read_to_string(list)
        .with_context(|| format!("the package list {} can't be read", list.display()))?;
    let wanted: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let missing = match missing(&wanted) {
        Ok(missing) if missing.is_empty() => return Ok(Packages::Complete),
        Ok(missing) => missing,
        Err(_) => {
            return Ok(Packages::Incomplete(
                "this is not a Debian system (no dpkg-query)".to_owned(),
            ));
        }
    };
    let names = missing.join(" ");
    if !install {
        return Ok(Packages::Incomplete(format!("missing packages: {names}")));
    }
    if !is_root()? {
        let hint = "run as root, or install them yourself";
        return Ok(Packages::Incomplete(format!(
            "missing packages: {names} ({hint})"
        )));
    }
    apt_get(&["update"])?;
    let options = ["install", "--yes", "--no-install-recommends"];
    apt_get(&[&options[..], &missing].concat())?;
    Ok(Packages::Complete)
}

/// The packages that dpkg does not hold for installed.
fn missing<'a>(wanted: &[&'a str]) -> Result<Vec<&'a str>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${Package} ${db:Status-Status}\n"])
        .output()?;
    let known = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed = |name: &str| {
        known
            .lines()
            .any(|line| line == format!("{name} installed"))
    };
    Ok(wanted
        .iter()
        .copied()
        .filter(|name| !installed(name))
        .collect())
}

/// Farm tests make namespaces and mounts: nobody else may.
pub(crate) fn is_root() -> Result<bool> {
    let output = Command::new("id")
        .arg("--user")
        .output()
        .context("id can't be started")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim() == "0")
}

/// Whether programs with PAM can be linked, as the C compiler sees it.
pub(crate) fn can_link_pam() -> Result<bool> {
    let output = Command::new("cc")
        .arg("-print-file-name=libpam.so")
        .output()
        .context("there is no C compiler (cc)")?;
    // It repeats the bare name of what it does not find.
    Ok(String::from_utf8_lossy(&output.stdout).trim().contains('/'))
}

fn apt_get(args: &[&str]) -> Result<()> {
    let status = Command::new("apt-get")
        .args(args)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()
        .context("apt-get can't be started")?;
    if !status.success() {
        bail!("apt-get {} failed ({status})", args.join(" "));
    }
    Ok(())
}
