//! The session broker's daemon.

fn main() -> std::process::ExitCode {
    broker::cli::daemon()
}
