//! Where are the programs under test?

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context as _, bail, ensure};

use crate::process::command;

/// Returns the path of the product's program `name` (`x2gobroker-agentd`, …).
///
/// The folder is `X2GOBROKER_BIN_DIR` if that is set; else the one of the running test,
/// after one `cargo build` of the product in the same profile.
///
/// # Errors
/// When the build fails or there is no such program.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let folder = folder()?;
    let path = folder.join(name);
    ensure!(path.is_file(), "no program {name} in {}", folder.display());
    Ok(path)
}

/// Returns the folder of the product's programs, see [`binary`].
///
/// # Errors
/// When the build fails.
pub fn folder() -> anyhow::Result<PathBuf> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOLDER
        .get_or_init(|| match std::env::var_os("X2GOBROKER_BIN_DIR") {
            Some(folder) => Ok(PathBuf::from(folder)),
            None => build(&PACKAGES).map_err(|error| format!("{error:#}")),
        })
        .clone()
        .map_err(anyhow::Error::msg)
}

/// Builds the authservice beside the other programs, see [`folder`].
///
/// # Errors
/// When it can't be built: it alone needs libpam to link with (Debian: libpam0g-dev).
pub fn add_authservice() -> anyhow::Result<()> {
    match std::env::var_os("X2GOBROKER_BIN_DIR") {
        Some(_) => binary("x2gobroker-authservice").map(drop),
        None => build(&["authservice"]).map(drop),
    }
}

/// Builds programs of these packages beside the running test and returns their folder.
fn build(packages: &[&str]) -> anyhow::Result<PathBuf> {
    let folder = own_folder()?;
    let profile = match folder.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(profile) => profile,
        None => bail!("{} is no target folder of cargo", folder.display()),
    };
    let target = folder.parent().context("a profile's folder has a parent")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = command(cargo);
    // What cargo told this test about its own crate: build scripts that look at it (ring's)
    // would run again, and all that depends on them would be built anew.
    let told = std::env::vars_os().map(|(name, _)| name);
    for name in told.filter(|name| name.to_str().is_some_and(is_about_a_crate)) {
        cargo.env_remove(name);
    }
    let status = cargo
        .args(["build", "--quiet", "--bins"])
        .args(packages.iter().flat_map(|package| ["-p", package]))
        .args(["--profile", profile])
        .arg("--target-dir")
        .arg(target)
        .current_dir(workspace())
        .status()
        .context("starting cargo")?;
    ensure!(
        status.success(),
        "building the programs under test failed: {status}"
    );
    Ok(folder)
}

/// Returns the folder of the running program's build profile, `…/target/debug`, where cargo
/// also puts the programs of this crate (`plain-client`, …).
///
/// # Errors
/// When the running program can't be found.
pub fn own_folder() -> anyhow::Result<PathBuf> {
    let program = std::env::current_exe().context("finding the running program")?;
    let folder = program.parent().context("a program is in a folder")?;
    // Cargo puts tests and benches one folder deeper than programs.
    if folder.ends_with("deps") || folder.ends_with("examples") {
        return Ok(folder.parent().unwrap_or(folder).to_owned());
    }
    Ok(folder.to_owned())
}

/// Whether cargo sets this variable for the crate that it runs, as
/// <https://doc.rust-lang.org/cargo/reference/environment-variables.html> lists them.
fn is_about_a_crate(name: &str) -> bool {
    [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

fn workspace() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here)
}

/// The packages with programs that are built everywhere.
const PACKAGES: [&str; 4] = ["agent", "broker", "pki", "shim"];
