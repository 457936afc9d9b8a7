//! `x2gobroker-ca`: the command line of the farm's CA.

mod show;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::ca::{CaError, IssueRequest, Issued, init_ca, issue};
use crate::clock::{Clock, rfc3339};
use crate::error_chain::chain_text;
use crate::name::{FarmName, NodeName, Role};
use crate::store::{
    DEFAULT_CA_DIR, DEFAULT_NODE_DIR, ISSUING_CERTIFICATE, ISSUING_KEY, LEAF_CERTIFICATE, LEAF_KEY,
    ROOT_CERTIFICATE, ROOT_KEY, ROOTS,
};

/// Makes the certificates of a farm of X2Go servers and session brokers.
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-ca", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the root and the issuing CA of a new farm.
    Init {
        /// Name of the farm: a-z, 0-9, dot and hyphen.
        #[arg(long, value_parser = FarmName::parse)]
        farm: FarmName,
        /// Directory for the files of the CA.
        #[arg(long, default_value = DEFAULT_CA_DIR)]
        dir: PathBuf,
    },
    /// Issues the certificate of a member: a key, a leaf, and the roots it accepts.
    Issue {
        /// What the member may do: agent, broker or operator.
        #[arg(long, value_parser = Role::parse)]
        role: Role,
        /// Host name of the member, as `hostname` prints it there.
        #[arg(long, value_parser = NodeName::parse)]
        node: NodeName,
        /// Directory with the files of the CA.
        #[arg(long, default_value = DEFAULT_CA_DIR)]
        dir: PathBuf,
        /// Directory for the files of the member [default: DIR/issued/ROLE-NODE].
        #[arg(long)]
        out: Option<PathBuf>,
        /// How many days the certificate is valid.
        #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u16).range(1..))]
        days: u16,
    },
    /// Shows what certificates say.
    Show {
        /// Directory of a CA or of a member, or a file of certificates.
        #[arg(default_value = DEFAULT_CA_DIR)]
        path: PathBuf,
    },
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum CliError {
    #[error(transparent)]
    Ca(#[from] CaError),
    #[error(transparent)]
    Show(#[from] show::ShowError),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// Runs the program with the arguments and the output of this process.
pub fn main() -> ExitCode {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    ExitCode::from(run(
        std::env::args_os(),
        &Clock::system(),
        &mut out,
        &mut err,
    ))
}

/// Runs the program: 0 is success, 1 failure, 2 a wrong command line.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    clock: &Clock,
    out: &mut impl Write,
    err: &mut impl Write,
) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(usage) => return show_usage(&usage, out, err),
    };
    let done = execute(cli.command, clock, out).and_then(|()| Ok(out.flush()?));
    match done {
        Ok(()) => 0,
        Err(error) => {
            // When even this can't be written, the exit code is all there is.
            let _unwritten = writeln!(err, "x2gobroker-ca: {}", chain_text(&error));
            1
        }
    }
}

fn show_usage(usage: &clap::Error, out: &mut impl Write, err: &mut impl Write) -> u8 {
    let text = usage.render();
    let _unwritten = if usage.use_stderr() {
        write!(err, "{text}")
    } else {
        write!(out, "{text}")
    };
    u8::try_from(usage.exit_code()).unwrap_or(2)
}

fn execute(command: Command, clock: &Clock, out: &mut impl Write) -> Result<(), CliError> {
    match command {
        Command::Init { farm, dir } => {
            init_ca(&dir, &farm, clock)?;
            write!(
                out,
                "{}",
                InitReport {
                    farm: &farm,
                    dir: &dir
                }
            )?;
        }
        Command::Issue {
            role,
            node,
            dir,
            out: to,
            days,
        } => {
            let to = to.unwrap_or_else(|| dir.join("issued").join(format!("{role}-{node}")));
            let life = Duration::from_secs(u64::from(days) * SECONDS_PER_DAY);
            let issued = issue(&dir, &IssueRequest { role, node, life }, &to, clock)?;
            write!(out, "{}", IssueReport(&issued))?;
        }
        Command::Show { path } => show::show(&path, clock.now(), out)?,
    }
    Ok(())
}

struct InitReport<'a> {
    farm: &'a FarmName,
    dir: &'a Path,
}

impl fmt::Display for InitReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = self.dir.display();
        writeln!(f, "Made the CA of the farm {} in {dir}:", self.farm)?;
        writeln!(
            f,
            "  {ROOT_CERTIFICATE}     the root; members accept what leads to it"
        )?;
        writeln!(
            f,
            "  {ROOT_KEY}     its key; only a new issuing CA needs it, so keep it offline"
        )?;
        writeln!(f, "  {ISSUING_CERTIFICATE}  the CA that issues to members")?;
        writeln!(
            f,
            "  {ISSUING_KEY}  its key; whoever has it can join the farm"
        )?;
        writeln!(f, "Now, for each X2Go server and each broker:")?;
        writeln!(
            f,
            "  x2gobroker-ca issue --role agent|broker --node HOSTNAME --dir {dir}"
        )
    }
}

struct IssueReport<'a>(&'a Issued);

impl fmt::Display for IssueReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Issued {
            subject,
            serial,
            not_after,
            directory,
        } = self.0;
        let (role, node, end) = (subject.role, &subject.node, rfc3339(*not_after));
        let from = directory.display();
        writeln!(f, "Issued {subject}")?;
        writeln!(f, "  serial {serial}, valid until {end}")?;
        writeln!(f, "Wrote into {from}:")?;
        writeln!(
            f,
            "  {LEAF_CERTIFICATE}  the certificate, and the issuing CA behind it"
        )?;
        writeln!(f, "  {LEAF_KEY}  its private key, mode 0600")?;
        writeln!(f, "  {ROOTS}  the root that the {role} accepts")?;
        writeln!(
            f,
            "Copy these three files to {DEFAULT_NODE_DIR}/{role} on {node}, owned by the user"
        )?;
        writeln!(
            f,
            "that the {role} runs as, the key with mode 0600; then remove them here:"
        )?;
        writeln!(
            f,
            "  scp -p {from}/* root@{node}:{DEFAULT_NODE_DIR}/{role}/"
        )
    }
}

const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
