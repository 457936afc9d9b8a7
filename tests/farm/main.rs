//! Does the mesh hold on real hosts? Real programs in network namespaces, one file per
//! feature.
//!
//! Needs root and the Debian packages of `packages.txt`. Without them each test says what
//! is missing and passes, or fails when `X2GOBROKER_FARM=required`.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![expect(clippy::print_stdout, reason = "a farm test prints its figures")]

/// Session profiles of a plain terminal, for users who type one password, and these lines.
macro_rules! terminal_profiles {
    ($profiles:literal) => {
        concat!(
            "[DEFAULT]\n",
            "command=TERMINAL\n",
            "user=BROKER_USER\n",
            "usebrokerpass=true\n",
            "rootless=true\n",
            "sound=false\n",
            "print=false\n",
            "fstunnel=false\n",
            "\n",
            $profiles
        )
    };
}

mod agent_killed;
mod any_replica;
mod authids;
mod authservice_killed;
mod autologin;
mod client_events;
mod companion_tools;
mod drained;
mod figures;
mod greeter;
mod host_cut_off;
mod https_client;
mod https_replicas;
mod lab;
mod local_agent;
mod login;
mod mesh;
mod mixed_farm;
mod no_secrets;
mod old_daemon;
mod old_farm;
mod old_postgres;
mod pam_farm;
mod pyhoca;
mod real_passwords;
mod replica_killed;
mod server_lost;
mod setuid;
mod shadow;
mod site;
mod ssh_broker;
mod suspended;
mod take_over;
mod units;
mod values;
mod x2goclient;

/// Whether this machine can't run a lab; says so.
fn skipped() -> bool {
    let Err(unmet) = tests::lab::check_requirements() else {
        return false;
    };
    let required = std::env::var_os("X2GOBROKER_FARM").is_some_and(|value| value == "required");
    assert!(!required, "farm tests are required, but: {unmet}");
    println!("skipped: {unmet}");
    true
}
