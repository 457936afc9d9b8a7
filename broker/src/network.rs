//! Which addresses are one client's?

use std::net::{IpAddr, Ipv6Addr};

/// What is counted as one client: an address of IPv4, or the network of 64 bits that one
/// site of IPv6 has, with all addresses in it.
pub(crate) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::network_of;

    #[test]
    fn a_client_is_an_address_or_a_network_of_64_bits() {
        for (client, network) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("2001:db8:1:2::", "2001:db8:1:2::"),
            ("2001:db8:1:3::1", "2001:db8:1:3::"),
        ] {
            let found = network_of(client.parse().unwrap());
            assert_eq!(found.to_string(), network, "{client}");
        }
    }
}
