//! The session broker's program for clients that come by SSH.

fn main() -> std::process::ExitCode {
    broker::cli::ssh::ssh()
}
