//! Which files do the programs of the demo get?

use std::fmt::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

/// The X2Go servers, by the names that they have themselves.
pub(super) const SERVERS: [&str; 3] = ["s1", "s2", "s3"];
/// The replicas of the broker.
pub(super) const REPLICAS: [&str; 2] = ["broker1", "broker2"];
/// All of them.
pub(super) const MEMBERS: [&str; 5] = ["broker1", "broker2", "s1", "s2", "s3"];
/// Who may drain a server.
pub(super) const OPERATOR: &str = "admin";
/// The session profile that the users pick.
pub(super) const PROFILE: &str = "farm";

/// The address of a program that is told to take any free port.
pub(super) const ANY_PORT: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Returns the SSH port that the profile gives for the server number `server_idx`. Nothing
/// listens there: the demo ends where X2Go Client would connect.
pub(super) fn ssh_port(server_idx: usize) -> u16 {
    FIRST_SSH_PORT.saturating_add(u16::try_from(server_idx).unwrap_or(u16::MAX))
}

/// Returns the name of the server number `server_idx`.
pub(super) fn server_name(server_idx: usize) -> &'static str {
    SERVERS.get(server_idx).copied().unwrap_or("?")
}

/// Returns the number of the server with this SSH port.
pub(super) fn server_at(port: u16) -> Option<usize> {
    (0..SERVERS.len()).find(|&server_idx| ssh_port(server_idx) == port)
}

/// The configuration of an agent.
pub(super) fn agent(
    name: &str,
    identity: &Path,
    home: &Path,
    listen: SocketAddr,
    seeds: &[SocketAddr],
) -> String {
    let seeds: Vec<String> = seeds.iter().map(|seed| format!("\"{seed}\"")).collect();
    format!(
        "node = \"{name}\"\n\
         identity = \"{}\"\n\
         listen = \"{listen}\"\n\
         seeds = [{}]\n\
         state_directory = \"{}\"\n\
         session_database = \"{}\"\n\
         capacity_mhz = {CORE_MHZ}\n\
         gossip = \"local\"\n",
        identity.display(),
        seeds.join(", "),
        home.display(),
        session_database(home).display(),
    )
}

/// The session database of the X2Go server with this home.
pub(super) fn session_database(home: &Path) -> std::path::PathBuf {
    home.join("x2go_sessions")
}

/// The configuration of a replica, as `x2gobroker.conf`.
pub(super) fn replica(
    name: &str,
    identity: &Path,
    home: &Path,
    listen: SocketAddr,
    seeds: &[SocketAddr],
) -> String {
    let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
    format!(
        "[global]\n\
         default-auth-mech = none\n\
         [broker_inifile]\n\
         enable = true\n\
         session-profiles = {}\n\
         [mesh]\n\
         node = {name}\n\
         identity = {}\n\
         listen = {listen}\n\
         seeds = {}\n\
         state-directory = {}\n\
         gossip = local\n",
        home.join(PROFILES_FILE).display(),
        identity.display(),
        seeds.join(", "),
        home.display(),
    )
}

/// The session profiles, the same for all replicas.
pub(super) fn profiles() -> String {
    let mut hosts = Vec::new();
    for (server_idx, name) in SERVERS.iter().enumerate() {
        hosts.push(format!("{name} (127.0.0.1:{})", ssh_port(server_idx)));
    }
    let mut text = "[DEFAULT]\nuser=BROKER_USER\nusebrokerpass=true\nrootless=true\n".to_owned();
    for (id, name, command, hosts) in [
        (PROFILE, "A desktop on the farm", "XFCE", hosts.as_slice()),
        (
            "office",
            "Office on s3",
            "LIBREOFFICE",
            hosts.get(2..).unwrap_or_default(),
        ),
    ] {
        let hosts = hosts.join(",");
        // Writing to a string can't fail.
        let _ = write!(
            text,
            "\n[{id}]\nname={name}\ncommand={command}\nhost={hosts}\n"
        );
    }
    text
}

/// The file of [`profiles`] in the home of a replica.
pub(super) const PROFILES_FILE: &str = "x2gobroker-sessionprofiles.conf";

/// So that the figures are alike on all machines: all three servers share this one.
const CORE_MHZ: u32 = 2400;
const FIRST_SSH_PORT: u16 = 22001;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_told_by_its_ssh_port() {
        assert_eq!(server_at(22001), Some(0));
        assert_eq!(server_at(22003), Some(2));
        assert_eq!(server_at(22), None);
    }

    #[test]
    fn the_profile_names_every_server_with_its_port() {
        let hosts = "host=s1 (127.0.0.1:22001),s2 (127.0.0.1:22002),s3 (127.0.0.1:22003)\n";
        assert!(profiles().contains(hosts), "{}", profiles());
        assert!(
            profiles().ends_with("\nhost=s3 (127.0.0.1:22003)\n"),
            "{}",
            profiles()
        );
    }
}
