//! Can this machine run a lab, and if not, what is missing?

use std::fmt;

use crate::process::{command, run};

/// What is missing. Its text says what to install or change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Unmet {
    reasons: Vec<String>,
}

impl fmt::Display for Unmet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reasons.join("; "))
    }
}

/// Returns the Debian packages that a lab needs.
pub fn packages() -> impl Iterator<Item = &'static str> {
    PACKAGES
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
}

/// Looks whether this machine can run a lab.
///
/// # Errors
/// With everything that is missing, together.
pub fn check() -> Result<(), Unmet> {
    let mut reasons = Vec::new();
    if run(command("id").arg("-u"))
        .map(|id| id.trim() != "0")
        .unwrap_or(true)
    {
        reasons.push("must be root".to_owned());
    }
    let missing: Vec<&str> = packages()
        .filter(|package| !is_installed(package))
        .collect();
    if !missing.is_empty() {
        reasons.push(format!(
            "packages are missing: apt-get install {}",
            missing.join(" ")
        ));
    }
    // Only asked when the tools are there, so that the reason is the true one.
    if reasons.is_empty()
        && let Err(error) =
            run(command("unshare").args(["-m", "-u", "-i", "-n", "-p", "-f", "true"]))
    {
        reasons.push(format!("the kernel refuses new namespaces: {error:#}"));
    }
    if reasons.is_empty() {
        Ok(())
    } else {
        Err(Unmet { reasons })
    }
}

fn is_installed(package: &str) -> bool {
    let query = run(command("dpkg-query").args(["-W", "-f", "${db:Status-Status}", package]));
    query.is_ok_and(|status| status == "installed")
}

const PACKAGES: &str = include_str!("../../farm/packages.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_that_is_not_there_is_not_installed() {
        assert!(!is_installed("x2go-package-of-nobody"));
    }

    #[test]
    fn the_list_of_packages_is_sorted_and_has_no_duplicates() {
        let listed: Vec<&str> = packages().collect();
        let mut sorted = listed.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(listed, sorted);
    }
}
