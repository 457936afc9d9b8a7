//! How do the hosts of a lab reach each other, and how are they kept from it?

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::Context as _;

use super::ground::Ground;
use super::host::HostName;
use crate::process::{command, run};

/// Returns the address of a host.
pub(crate) fn address(host: HostName) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, host.number())
}

/// Returns the file `/etc/hosts` of all hosts.
pub(crate) fn hosts_file(names: &[HostName]) -> String {
    let lines = names
        .iter()
        .map(|name| format!("{} {name} {name}.lab.test\n", address(*name)));
    ["127.0.0.1 localhost\n".to_owned()]
        .into_iter()
        .chain(lines)
        .collect()
}

/// Connects a host to the bridge.
pub(crate) fn connect(
    ground: &Ground,
    host: HostName,
    pid: u32,
    all: &[HostName],
) -> anyhow::Result<()> {
    let (port, mac) = (port(host), mac(host));
    ground.ip(&format!(
        "link add {port} type veth peer name eth0 address {mac} netns {pid}\n\
         link set {port} master br0 up\n"
    ))?;
    let mut batch = format!(
        "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\n",
        address(host)
    );
    // Fixed neighbours: to the others, a host that is cut off is a black hole, not "no route".
    for other in all.iter().filter(|other| **other != host) {
        let (address, mac) = (address(*other), self::mac(*other));
        batch += &format!("neighbour replace {address} lladdr {mac} dev eth0 nud permanent\n");
    }
    ip(pid, &ground.folder().join("log"), &batch)
}

/// Takes a host's port off the bridge: its packets go nowhere, and none reach it.
pub(crate) fn detach(ground: &Ground, host: HostName) -> anyhow::Result<()> {
    ground.ip(&format!("link set {} nomaster\n", port(host)))
}

/// Puts a host's port back.
pub(crate) fn attach(ground: &Ground, host: HostName) -> anyhow::Result<()> {
    ground.ip(&format!("link set {} master br0\n", port(host)))
}

/// Runs ip(8) with a batch of commands in the network namespace of `pid`.
pub(crate) fn ip(pid: u32, folder: &Path, batch: &str) -> anyhow::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder).context("writing a batch for ip")?;
    std::io::Write::write_all(&mut file, batch.as_bytes()).context("writing a batch for ip")?;
    let pid = pid.to_string();
    let mut ip = command("nsenter");
    ip.args(["--target", &pid, "--net", "ip", "-batch"])
        .arg(file.path());
    run(&mut ip).map(drop).with_context(|| batch.to_owned())
}

/// The name of a host's port on the bridge.
fn port(host: HostName) -> String {
    format!("p-{host}")
}

fn mac(host: HostName) -> String {
    format!("02:00:0a:4d:00:{:02x}", host.number())
}
