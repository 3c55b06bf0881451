//! Addresses of clients, behind proxies or not: CIDR ranges, and the chain that `x-forwarded-for` tells.

use std::net::{IpAddr, SocketAddr};

use hyper::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A CIDR range; an address is the range of itself.
pub type Network = IpNet;

/// Parses comma separated addresses and CIDR ranges; an empty text is an empty list. `None` if any of them is invalid.
#[must_use]
pub fn parse_networks(text: &str) -> Option<Vec<Network>> {
    let parts = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    parts.map(|part| part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from))).collect()
}

/// Whether one of `networks` contains `address`.
#[must_use]
pub fn contains(networks: &[Network], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}

/// The last address in the chain that is not one of the proxies `trusted`; `None` if a trusted proxy forwarded no valid address.
#[must_use]
pub fn sender(client: SocketAddr, headers: &HeaderMap, trusted: &[Network]) -> Option<IpAddr> {
    let mut sender = client.ip().to_canonical();
    // Each proxy appends the address that it received the request from, so the chain is read from its end.
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for hop in line.to_str().ok()?.rsplit(',') {
            if !contains(trusted, sender) {
                return Some(sender);
            }
            sender = address(hop.trim())?;
        }
    }
    Some(sender)
}

/// Parses an address with or without a port; an IPv6 address may be in brackets.
fn address(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().ok().or_else(|| hop.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse::<IpAddr>().ok();
    address.or_else(bracketed).map(|address| address.to_canonical())
}
