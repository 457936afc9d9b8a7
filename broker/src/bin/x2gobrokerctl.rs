//! The operator's tool.

fn main() -> std::process::ExitCode {
    broker::cli::ctl::ctl()
}
