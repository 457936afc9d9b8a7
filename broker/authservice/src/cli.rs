//! The command line of `x2gobroker-authservice`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

use crate::conversation::{self, Conversations};
use crate::hardening;
use crate::pam::PamOptions;
use crate::service::{self, Limits};
use crate::socket::SocketOptions;

/// Asks PAM about users and passwords, for the X2Go session broker.
///
/// Must run as root, as pam_unix wants it. Stays in the foreground and tells systemd when it
/// is ready. Log messages go to standard error; RUST_LOG sets how many.
#[derive(Debug, Parser)]
#[command(name = "x2gobroker-authservice", version)]
struct Options {
    /// The unix socket at which the broker asks.
    #[arg(
        short,
        long,
        visible_alias = "socket",
        value_name = "FILE",
        default_value = "/run/x2gobroker/x2gobroker-authservice.socket"
    )]
    socket_file: PathBuf,

    /// The owner of the socket.
    #[arg(short, long, value_name = "USER", default_value = "root")]
    owner: String,

    /// The group of the socket. Only root and processes of this group are answered.
    #[arg(short, long, value_name = "GROUP", default_value = "x2gobroker")]
    group: String,

    /// The permissions of the socket.
    #[arg(short, long, value_name = "MODE", default_value = "0660", value_parser = mode)]
    permissions: u32,

    /// The PAM service that is asked: a file of /etc/pam.d.
    #[arg(long, value_name = "NAME", default_value = "x2gobroker", value_parser = service_name)]
    pam_service: String,

    /// A character that users type between their password and a code, where PAM asks for
    /// both: the code answers all prompts after the first. Without it each hidden prompt is
    /// answered with the whole password.
    #[arg(long, value_name = "CHARACTER")]
    code_separator: Option<char>,

    /// How long PAM may take for one login, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20,
          value_parser = clap::value_parser!(u64).range(1..=300))]
    deadline: u64,

    /// How many logins PAM is asked about at the same time, in a process each.
    #[arg(long, value_name = "NUMBER", default_value_t = 32,
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    conversations: u16,

    /// How many more may wait for that; further ones are refused at once.
    #[arg(long, value_name = "NUMBER", default_value_t = 1000,
          value_parser = clap::value_parser!(u16).range(0..=4096))]
    queue: u16,

    /// Ask PAM one question, from standard input: how this program starts itself.
    #[arg(long, hide = true)]
    conversation: bool,
}

impl Options {
    fn pam(&self) -> PamOptions {
        PamOptions {
            service: self.pam_service.clone(),
            code_separator: self.code_separator,
        }
    }
}

/// Runs `x2gobroker-authservice`.
#[must_use]
pub fn main() -> ExitCode {
    let options = Options::parse();
    start_log();
    let ended = match options.conversation {
        true => converse(&options),
        false => serve(&options),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn converse(options: &Options) -> Result<()> {
    hardening::apply().context("core dumps can't be switched off")?;
    conversation::answer(&options.pam()).context("a question can't be answered")
}

fn serve(options: &Options) -> Result<()> {
    hardening::apply().context("core dumps can't be switched off")?;
    // One thread waits for processes; they do the work.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context("the asynchronous runtime can't be started")?;
    runtime.block_on(run(options))
}

async fn run(options: &Options) -> Result<()> {
    let socket = SocketOptions {
        path: options.socket_file.clone(),
        owner: options.owner.clone(),
        group: options.group.clone(),
        mode: options.permissions,
    };
    let socket = socket.open()?;
    let conversations = Conversations {
        pam: options.pam(),
        deadline: Duration::from_secs(options.deadline),
    };
    let limits = Limits {
        at_once: options.conversations.into(),
        waiting: options.queue.into(),
    };
    let mut term = signal(SignalKind::terminate()).context("signals can't be waited for")?;
    let mut int = signal(SignalKind::interrupt()).context("signals can't be waited for")?;
    let stop = CancellationToken::new();
    let served = service::run(socket, conversations, limits, stop.clone());
    tokio::pin!(served);
    info!(socket = %options.socket_file.display(), pam_service = options.pam_service, "ready");
    if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
        warn!(error = %error, "systemd could not be told");
    }
    tokio::select! {
        () = &mut served => return Ok(()),
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
    info!("stopping");
    stop.cancel();
    served.await;
    Ok(())
}

fn start_log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
}

fn mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).map_err(|error| error.to_string())?;
    if mode & !0o777 != 0 || mode & 0o007 != 0 {
        return Err("this gives others than owner and group a right".to_owned());
    }
    Ok(mode)
}

/// The name of a file, and no path to one elsewhere.
fn service_name(text: &str) -> Result<String, String> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if text.is_empty() || text.starts_with('.') || !text.chars().all(is_good) {
        return Err("this is not the name of a file in /etc/pam.d".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use clap::CommandFactory as _;

    use super::Options;

    // Of all other programs: tests/man.rs. This one alone needs libpam to link with.
    #[test]
    fn its_man_page_says_what_its_options_say() {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = here.join("../../deploy/man/x2gobroker-authservice.8");
        let mut page = Vec::new();
        let man = clap_mangen::Man::new(Options::command()).section("8");
        man.render(&mut page).unwrap();
        if std::fs::read(&path).is_ok_and(|found| found == page) {
            return;
        }
        let may_write = std::env::var_os("UPDATE_EXPECT").is_some();
        assert!(may_write, "write deploy/man anew with UPDATE_EXPECT=1");
        std::fs::write(path, page).unwrap();
    }
}
