//! The session broker's command line.

fn main() -> std::process::ExitCode {
    broker::cli::broker()
}
