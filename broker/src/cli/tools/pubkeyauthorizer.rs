//! `x2gobroker-pubkeyauthorizer`: lets a broker's key run the agent of this X2Go server.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use http::Uri;

use super::account::{AccountOptions, SshFolder};
use super::{end, fetch, note, print};
use crate::agent_key::{AgentKey, merge};
use crate::cli::runtime;

/// Takes the public keys of a session broker, so that it may run the agent of this X2Go
/// server over SSH.
///
/// Needed only where the server is asked over SSH. Run it once on each X2Go server, as root.
/// Each key is written into ~x2gobroker/.ssh/authorized_keys once; it can run
/// /usr/lib/x2go/x2gobroker-agent and nothing else. Lines of the file that are there already
/// stay as they are.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(crate) struct Authorizer {
    /// Where the broker shows its keys: https://BROKER:PORT/pubkeys/. With http:// nothing
    /// proves whose keys they are; that is warned of, and done all the same.
    #[arg(short = 't', visible_short_alias = 'b', long, value_name = "URL")]
    broker_url: Uri,

    /// The roots that the broker's certificate may lead to.
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    ca_file: PathBuf,

    #[command(flatten)]
    account: AccountOptions,
}

/// Runs `x2gobroker-pubkeyauthorizer`.
#[must_use]
pub fn pubkeyauthorizer() -> ExitCode {
    let options = Authorizer::parse();
    end(PROGRAM, run(&options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Authorizer) -> Result<()> {
    // Before anything foreign is read.
    let folder = options.account.enter()?;
    let url = &options.broker_url;
    if url.scheme_str() == Some("http") {
        note(
            PROGRAM,
            "WARNING: over http:// nothing proves that these keys are the broker's, and whoever has \
             them may run the agent of this server. Compare them, or use https://",
        );
    }
    let text = runtime()?.block_on(fetch::text(url, &options.ca_file));
    let text = text.with_context(|| format!("the keys at {url} were not taken"))?;
    let keys = offered(&text);
    if keys.is_empty() {
        bail!("{url} shows no key for agents; run x2gobroker-keygen on the broker host");
    }
    take(&folder, keys)
}

/// The keys in the answer. A line that is none is told, and the others count.
fn offered(text: &str) -> Vec<AgentKey> {
    let mut keys = Vec::new();
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    for (number, line) in (1..).zip(lines).take(MAX_KEYS) {
        match AgentKey::parse(line) {
            Ok(key) => keys.push(key),
            Err(error) => note(PROGRAM, &format!("line {number} was left out: {error}")),
        }
    }
    keys
}

fn take(folder: &SshFolder, keys: Vec<AgentKey>) -> Result<()> {
    // Read and written in one turn: two runs at once both have their keys in it then.
    let _locked = folder.lock()?;
    let (content, mode) = folder.read(FILE)?.unwrap_or((Vec::new(), MODE));
    let merged = merge(&content, keys);
    if let Some(content) = &merged.content {
        folder.write(FILE, content, mode)?;
    }
    let mut told = String::new();
    for key in &merged.added {
        told += &format!("added: {key}\n");
    }
    for key in &merged.present {
        told += &format!("was there already: {key}\n");
    }
    for key in &merged.free {
        note(
            PROGRAM,
            &format!(
                "WARNING: this key is there without command=, so that it may run anything as this \
                 account; remove its line and run this again: {key}"
            ),
        );
    }
    print(&told)
}

const PROGRAM: &str = "x2gobroker-pubkeyauthorizer";
const FILE: &str = "authorized_keys";
/// As x2gobroker 0.0.4.3 makes it; public keys are no secret.
const MODE: u32 = 0o644;
/// One per type and replica, and some to spare.
const MAX_KEYS: usize = 100;

const AFTER_HELP: &str = "Exit codes: 0 the broker's keys are there, new or not; 1 they are not, and \
                          why; 2 wrong options.";
