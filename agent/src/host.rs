//! What does the operating system say about this host and its users?

use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use nix::unistd::{User, gethostname};
use proto::{HostNames, NodeId, Username};

/// The host name as the kernel knows it; none when it is no host name.
#[must_use]
pub fn name() -> Option<NodeId> {
    NodeId::parse(gethostname().ok()?.to_str()?).ok()
}

/// The names and addresses by which others may know the host named `node`.
#[must_use]
pub fn names(node: &NodeId) -> HostNames {
    let mut names = vec![node.clone()];
    let hosts = fs::read_to_string("/etc/hosts").unwrap_or_default();
    names.extend(name());
    names.extend(full_name(&hosts, node));
    let mut seen = Vec::new();
    names.retain(|name| {
        let is_new = !seen.contains(name);
        seen.push(name.clone());
        is_new
    });
    HostNames {
        names,
        addresses: addresses(),
    }
}

/// The addresses of the interfaces that are up, without those of no use to others.
#[must_use]
pub fn addresses() -> Vec<IpAddr> {
    let mut found = Vec::new();
    for interface in getifaddrs().into_iter().flatten() {
        let address = interface.address.as_ref().and_then(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
        });
        let Some(address) = address else { continue };
        let is_up = interface.flags.contains(InterfaceFlags::IFF_UP);
        if is_up && is_for_others(address) && !found.contains(&address) {
            found.push(address);
        }
    }
    // IPv4 first: X2Go Client can't use IPv6 addresses in a broker's answer.
    found.sort_by_key(IpAddr::is_ipv6);
    found.truncate(MAX_ADDRESSES);
    found
}

/// The uid of a user. Asks the name service, so it may block.
pub(crate) fn uid_of(user: &Username) -> Option<u32> {
    User::from_name(user.as_str())
        .ok()?
        .map(|user| user.uid.as_raw())
}

/// Whether that is an ordinary user of this host, as the setuid program sees it. Asks the name
/// service, so it may block.
pub(crate) fn is_ordinary(user: &Username) -> bool {
    let found = User::from_name(user.as_str()).ok().flatten();
    found.is_some_and(|found| {
        let (uid, gid) = (found.uid.as_raw(), found.gid.as_raw());
        found.name == user.as_str() && shim::target::is_ordinary(&found.name, uid, gid)
    })
}

/// Where x2goserver keeps its session database, if its user exists.
#[must_use]
pub fn session_database() -> Option<PathBuf> {
    let user = User::from_name("x2gouser").ok()??;
    Some(user.dir.join("x2go_sessions"))
}

/// The fully qualified name that `/etc/hosts` has for `node`: hosts(5) puts it first.
fn full_name(hosts: &str, node: &NodeId) -> Option<NodeId> {
    let lines = hosts
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default());
    for line in lines {
        let names: Vec<NodeId> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|name| NodeId::parse(name).ok())
            .collect();
        if names.contains(node) {
            let full = names
                .into_iter()
                .find(|name| name.as_str().contains('.') && name.short() == node.short());
            if full.is_some() {
                return full;
            }
        }
    }
    None
}

fn is_for_others(address: IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !address.is_loopback() && !address.is_unspecified() && !is_link_local
}

/// A host with containers can have hundreds; the advert takes 32 names and addresses.
const MAX_ADDRESSES: usize = 24;

#[cfg(test)]
mod tests {
    use proto::NodeId;

    use super::{full_name, is_for_others};

    #[test]
    fn the_full_name_is_taken_from_the_line_that_has_the_short_one() {
        let hosts = "127.0.0.1 localhost\n# 10.0.0.9 s1.old.test s1\n10.0.0.1\ts1.lab.test s1 # x\n\
                     10.0.0.2 s2.lab.test s2\n10.0.0.3 s3\n127.0.1.1 www.other.test s4\n";
        let rows = [
            ("s1", Some("s1.lab.test")),
            ("s2.lab.test", Some("s2.lab.test")),
            ("s3", None),
            ("s4", None),
            ("localhost", None),
        ];
        for (node, expected) in rows {
            let full = full_name(hosts, &NodeId::parse(node).unwrap());
            assert_eq!(full.as_ref().map(NodeId::as_str), expected, "{node}");
        }
    }

    #[test]
    fn addresses_that_reach_only_this_host_are_left_out() {
        let rows = [
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("127.0.0.1", false),
            ("::1", false),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("0.0.0.0", false),
        ];
        for (address, expected) in rows {
            assert_eq!(
                is_for_others(address.parse().unwrap()),
                expected,
                "{address}"
            );
        }
    }
}
