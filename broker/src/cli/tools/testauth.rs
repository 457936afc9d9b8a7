//! `x2gobroker-testauth`: would the broker take this user and password?

use std::io::{BufRead as _, IsTerminal as _, Read as _};
use std::net::{IpAddr, Ipv4Addr};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use proto::{BrokerUser, Secret};

use super::{configuration, end, note, print};
use crate::auth::WhyDenied;
use crate::auth::password::Passwords;
use crate::cli::options::SourceOptions;
use crate::cli::{runtime, start_log};
use crate::config::{Config, Mechanism};

/// Tests whether the session broker would take a user and a password.
///
/// Asks whom the broker would ask, as x2gobroker.conf says: PAM through
/// x2gobroker-authservice, or a web server. Run it as root or as x2gobroker, who may ask. The
/// password is asked for at the terminal, or is the first line of standard input.
#[derive(Debug, Parser)]
#[command(name = PROGRAM, version, after_help = AFTER_HELP)]
pub(crate) struct TestAuth {
    #[command(flatten)]
    sources: SourceOptions,

    /// The user.
    #[arg(short, long, alias = "username", value_name = "USER")]
    user: String,

    /// The password. Better leave it out: everybody on this host can read it here, and the
    /// shell remembers it.
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,

    /// The backend: inifile or zeroconf.
    #[arg(short, long, value_name = "BACKEND", default_value = "inifile")]
    backend: String,

    /// Say more.
    #[arg(short, long)]
    debug: bool,
}

/// Runs `x2gobroker-testauth`.
#[must_use]
pub fn testauth() -> ExitCode {
    let mut options = TestAuth::parse();
    let _log = start_log(if options.debug { "debug" } else { "warn" });
    end(PROGRAM, run(&mut options))
}

fn run(options: &mut TestAuth) -> Result<ExitCode> {
    let user = BrokerUser::parse(&options.user).context("--user")?;
    let config = configuration(&options.sources)?;
    let mechanism = mechanism(&config, &options.backend)?;
    let password = match options.password.take() {
        Some(password) => {
            note(
                PROGRAM,
                "everybody on this host could read the password; leave --password out",
            );
            Secret::new(password)
        }
        None => read_password(&user)?,
    };
    let passwords = Passwords::new(&config.authservice_socket);
    let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let checked = runtime()?.block_on(passwords.check(mechanism, Some(&user), &password, here));
    match checked {
        Ok(()) => {
            print(&format!("{user}: the password is right\n"))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(WhyDenied::Unavailable) => {
            note(
                PROGRAM,
                "nobody could be asked; does x2gobroker-authservice run?",
            );
            Ok(ExitCode::from(UNAVAILABLE))
        }
        Err(why) => {
            print(&format!("{user}: {why}\n"))?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn mechanism<'c>(config: &'c Config, backend: &str) -> Result<&'c Mechanism> {
    let auth = match backend {
        "inifile" => &config.auth.inifile,
        "zeroconf" => &config.auth.zeroconf,
        other => bail!("there is no backend {other}; name inifile or zeroconf"),
    };
    if !auth.require_password {
        note(
            PROGRAM,
            "require-password is off: the broker itself asks nobody",
        );
    }
    if auth.mechanism == Mechanism::None {
        note(PROGRAM, "auth-mech is none: the broker takes any password");
    }
    Ok(&auth.mechanism)
}

fn read_password(user: &BrokerUser) -> Result<Secret> {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        let typed = rpassword::prompt_password(format!("Password of {user}: "));
        return Ok(Secret::new(typed.context("the password can't be read")?));
    }
    let mut line = String::new();
    let read = stdin.lock().take(MAX_PASSWORD_BYTES).read_line(&mut line);
    read.context("the password can't be read from standard input")?;
    if line.ends_with('\n') {
        line.pop();
    }
    Ok(Secret::new(line))
}

const PROGRAM: &str = "x2gobroker-testauth";

/// More than any mechanism takes.
const MAX_PASSWORD_BYTES: u64 = 16 * 1024;

/// `EX_UNAVAILABLE` of sysexits.h.
const UNAVAILABLE: u8 = 69;

const AFTER_HELP: &str = "Exit codes: 0 the password is right; 1 it is not, or the test could not be \
                          made; 2 wrong options; 69 nobody could be asked.";
