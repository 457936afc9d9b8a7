//! The authservice of the session broker.

fn main() -> std::process::ExitCode {
    authservice::cli::main()
}
