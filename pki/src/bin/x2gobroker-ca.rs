//! The CA of a farm; see `pki::cli`.

fn main() -> std::process::ExitCode {
    pki::cli::main()
}
