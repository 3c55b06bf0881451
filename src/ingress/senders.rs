//! Which addresses may post: an allow-list of networks. Behind trusted proxies, `x-forwarded-for` names the sender.

use std::net::SocketAddr;

use hyper::HeaderMap;

use crate::server::forwarded::{Network, contains, sender};

/// The allow-list and the trusted proxies.
#[derive(Clone, Debug, Default)]
pub struct Senders {
    /// The networks that may post; empty means all.
    pub allowed: Vec<Network>,
    /// The proxies whose `x-forwarded-for` is trusted.
    pub trusted: Vec<Network>,
}

impl Senders {
    /// Whether a request with these headers, over a connection from `client`, is from an allowed address.
    #[must_use]
    pub fn allow(&self, client: SocketAddr, headers: &HeaderMap) -> bool {
        let sender = || sender(client, headers, &self.trusted);
        self.allowed.is_empty() || sender().is_some_and(|sender| contains(&self.allowed, sender))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::forwarded::parse_networks;

    const FORWARDED_FOR: &str = "x-forwarded-for";

    fn senders() -> Senders {
        let (allowed, trusted) = (parse_networks("203.0.113.0/24, 2001:db8::1"), parse_networks("10.0.0.0/8"));
        Senders { allowed: allowed.unwrap(), trusted: trusted.unwrap() }
    }

    fn allowed(client: &str, forwarded_for: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for line in forwarded_for {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        senders().allow(client.parse().unwrap(), &headers)
    }

    #[test]
    fn a_direct_sender_is_judged_by_its_own_address() {
        assert!(allowed("203.0.113.9:1", &[]));
        assert!(allowed("[::ffff:203.0.113.9]:1", &[]));
        assert!(allowed("[2001:db8::1]:1", &[]));
        assert!(!allowed("198.51.100.1:1", &["203.0.113.9"]));
    }

    #[test]
    fn only_the_entries_of_trusted_proxies_count() {
        assert!(allowed("10.1.1.1:1", &["203.0.113.9"]));
        assert!(allowed("10.1.1.1:1", &["203.0.113.9, 10.2.2.2"]));
        assert!(allowed("10.1.1.1:1", &["198.51.100.1", "203.0.113.9:443, 10.2.2.2"]));
        assert!(!allowed("10.1.1.1:1", &["203.0.113.9, 198.51.100.1"]), "the client wrote the first entry itself");
        assert!(!allowed("10.1.1.1:1", &["203.0.113.9, nonsense"]));
        assert!(!allowed("10.1.1.1:1", &[]));
    }

    #[test]
    fn an_empty_list_allows_all_and_invalid_networks_are_refused() {
        assert!(Senders::default().allow("198.51.100.1:1".parse().unwrap(), &HeaderMap::new()));
        assert_eq!(parse_networks(" "), Some(Vec::new()));
        assert_eq!(parse_networks("10.0.0.0/33"), None);
        assert_eq!(parse_networks("10.0.0.1,"), None);
    }
}
