//! sshd's way to temporary keys, see `agent::authorized_keys`.

fn main() -> std::process::ExitCode {
    agent::authorized_keys::main()
}
