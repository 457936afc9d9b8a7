//! A companion tool: see `broker::cli::tools`.

fn main() -> std::process::ExitCode {
    broker::cli::tools::testauth()
}
