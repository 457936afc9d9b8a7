//! The agent of the X2Go session broker, see `agent::cli`.

fn main() -> std::process::ExitCode {
    agent::cli::main()
}
