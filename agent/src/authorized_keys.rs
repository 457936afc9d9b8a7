//! Which temporary keys open a user's account? sshd's `AuthorizedKeysCommand`, as a program:
//! `x2gobroker-authorizedkeys USER`.
//!
//! Other ways to log in must go on whatever is wrong here: within a second it has printed
//! what the agent of this server says, or nothing, and ends with 0.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use proto::Username;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::config::KEYS_SOCKET;

/// Prints the temporary keys of a user, for sshd's AuthorizedKeysCommand. The agent of this
/// X2Go server must have keys = "command".
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-authorizedkeys", version)]
pub struct Cli {
    /// The socket of the agent
    #[arg(long, value_name = "PATH", default_value = KEYS_SOCKET)]
    socket: PathBuf,
    /// Who logs in (%u)
    user: String,
}

/// Runs the program: 0 in any case but a wrong command line, with the reason on standard
/// error, which sshd throws away.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(()) => {}
        Err(error) => {
            let _nobody_reads_it = writeln!(io::stderr(), "x2gobroker-authorizedkeys: {error}");
        }
    }
    ExitCode::SUCCESS
}

fn run(cli: &Cli) -> io::Result<()> {
    let user = Username::parse(&cli.user).map_err(io::Error::other)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let lines = runtime.block_on(async {
        let asked = tokio::time::timeout(LIMIT, ask(cli, &user)).await;
        asked.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()))
    })?;
    io::stdout().write_all(&lines)
}

async fn ask(cli: &Cli, user: &Username) -> io::Result<Vec<u8>> {
    let mut agent = UnixStream::connect(&cli.socket).await?;
    agent.write_all(format!("{user}\n").as_bytes()).await?;
    agent.shutdown().await?;
    let mut lines = Vec::new();
    let mut answer = agent.take(MAX_ANSWER);
    answer.read_to_end(&mut lines).await?;
    Ok(lines)
}

/// Somebody waits before a password prompt.
const LIMIT: Duration = Duration::from_millis(900);
/// The most keys of one user, of the longest kind, and more.
const MAX_ANSWER: u64 = 512 * 1024;
