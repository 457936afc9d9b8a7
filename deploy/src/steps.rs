//! The steps of each command, in their order. The first that fails ends it.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::packages::{self, Packages};

/// Prints a line for the person who waits.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stderr().lock();
    // Nobody is left to tell when this fails.
    let _ = writeln!(out, "{line}");
}

pub(crate) fn demo(once: bool) -> Result<()> {
    build_programs(&[])?;
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--package",
        "tests",
        "--bin",
        "demo",
        "--",
    ]);
    if once {
        command.arg("--once");
    }
    run("demo", command)
}

pub(crate) fn test(install: bool) -> Result<()> {
    let list = root().join("tests/farm/packages.txt");
    let farm = match packages::provide(&list, install)? {
        Packages::Complete if packages::is_root()? => true,
        Packages::Complete => {
            say("SKIPPED: the farm tests make network namespaces and so need root");
            false
        }
        Packages::Incomplete(why) => {
            say(&format!(
                "SKIPPED: the farm tests need real X2Go software: {why}"
            ));
            false
        }
    };
    step("format", &["fmt", "--all", "--check"])?;
    let rest = without_pam()?;
    let lints = ["clippy", "--workspace", "--all-targets"];
    step(
        "lints",
        &[&lints, &rest[..], &["--", "--deny", "warnings"]].concat(),
    )?;
    build_programs(&[])?;
    let mut tests = test_command(&rest)?;
    tests.env("X2GOBROKER_FARM", if farm { "required" } else { "skip" });
    run("tests", tests)?;
    let examples = ["test", "--workspace", "--doc", "--quiet"];
    step(
        "examples in the documentation",
        &[&examples, &rest[..]].concat(),
    )?;
    let mut docs = cargo();
    docs.args([
        "doc",
        "--workspace",
        "--no-deps",
        "--document-private-items",
        "--quiet",
    ]);
    docs.env("RUSTDOCFLAGS", "--deny warnings");
    run("documentation", docs)?;
    demo(true)?;
    if !farm {
        say("PASSED, but without the farm tests; the reason stands at the top");
    }
    Ok(())
}

pub(crate) fn bench() -> Result<()> {
    build_programs(&["--release"])?;
    step("benches", &["bench", "--package", "tests"])
}

/// What keeps the authservice out of the build of the workspace, where libpam can't be
/// linked.
fn without_pam() -> Result<Vec<&'static str>> {
    if packages::can_link_pam()? {
        return Ok(Vec::new());
    }
    say("SKIPPED: the authservice needs libpam to link with (Debian: libpam0g-dev)");
    Ok(vec!["--exclude", "authservice"])
}

/// nextest where it is installed, since it runs each test in a process of its own and
/// cuts off those that hang; the plain runner otherwise.
fn test_command(rest: &[&str]) -> Result<Command> {
    let mut command = cargo();
    let nextest = cargo()
        .args(["nextest", "--version"])
        .output()
        .context("cargo can't be started")?;
    if nextest.status.success() {
        command.args(["nextest", "run", "--workspace", "--no-fail-fast"]);
        command.args(rest);
    } else {
        say("cargo-nextest is not installed: using cargo test, one test at a time");
        command.args([
            "test",
            "--workspace",
            "--lib",
            "--bins",
            "--tests",
            "--no-fail-fast",
        ]);
        command.args(rest);
        command.args(["--", "--test-threads=1"]);
    }
    Ok(command)
}

/// Builds the programs that demo, tests and benches start.
fn build_programs(profile: &[&str]) -> Result<()> {
    let programs = [
        "build",
        "--package",
        "pki",
        "--package",
        "shim",
        "--package",
        "agent",
        "--package",
        "broker",
    ];
    let mut args = programs.to_vec();
    args.push("--bins");
    args.extend(profile);
    step("build", &args)
}

fn step(name: &str, args: &[&str]) -> Result<()> {
    let mut command = cargo();
    command.args(args);
    run(name, command)
}

fn run(name: &str, mut command: Command) -> Result<()> {
    say(&format!("==> {name}"));
    let started = Instant::now();
    let status = command
        .current_dir(root())
        .status()
        .with_context(|| format!("{} can't be started", command.get_program().display()))?;
    if !status.success() {
        let words: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_string_lossy())
            .collect();
        bail!("{name}: cargo {} ended with {status}", words.join(" "));
    }
    say(&format!("    {name}: {} s", started.elapsed().as_secs()));
    Ok(())
}

fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    // What cargo told xtask about xtask: build scripts that look at it (ring's) would run
    // again, and all that depends on them would be built anew.
    let told = std::env::vars_os().map(|(name, _)| name);
    let is_about_xtask = |name: &OsString| {
        let name = name.to_string_lossy();
        [
            "CARGO_PKG_",
            "CARGO_MANIFEST_",
            "CARGO_BIN_",
            "CARGO_CRATE_",
        ]
        .iter()
        .any(|start| name.starts_with(start))
    };
    for name in told.filter(is_about_xtask) {
        cargo.env_remove(name);
    }
    cargo
}

fn root() -> PathBuf {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR"));
    deploy.parent().unwrap_or(deploy).to_path_buf()
}
