//! The addresses of this machine's network interfaces.

use std::net::IpAddr;

use sysinfo::Networks;

/// There is no such interface, or it has no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this machine has no network interface `{name}` with an address; it has {}", .known.join(", "))]
pub struct NoInterface {
    /// Its name.
    pub name: String,
    /// Those with an address, each as `name (address)`.
    pub known: Vec<String>,
}

/// The address of an interface: its first of IPv4, else its first that is good beyond its link.
///
/// # Errors
/// There is none, with those that there are.
pub fn address_of_interface(name: &str) -> Result<IpAddr, NoInterface> {
    let mut known = Vec::new();
    // Where the system lists none, none can be taken.
    let networks = Networks::new_with_refreshed_list().ok();
    for (other, data) in networks.iter().flat_map(|networks| networks.iter()) {
        let addresses = data.ip_networks().iter().map(|network| network.addr);
        let usable = |address: &IpAddr| match address {
            IpAddr::V4(_) => true,
            IpAddr::V6(address) => !address.is_unicast_link_local(),
        };
        let Some(address) = addresses.filter(usable).min_by_key(IpAddr::is_ipv6) else { continue };
        if other == name {
            return Ok(address);
        }
        known.push(format!("{} ({address})", other.display()));
    }
    known.sort();
    Err(NoInterface { name: name.to_owned(), known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_by_its_name_and_others_are_named_where_it_is_not() {
        assert!(address_of_interface("lo").unwrap().is_loopback());
        let error = address_of_interface("nothing0").unwrap_err();
        assert!(error.to_string().contains("`nothing0`") && error.to_string().contains("lo (127.0.0.1)"), "{error}");
    }
}
