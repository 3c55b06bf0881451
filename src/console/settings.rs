//! The settings of the console, and the parsers of those that have a syntax of their own.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use sha2::{Digest, Sha256};

use super::rights::Role;
use crate::server::forwarded::Network;

/// Minimum length of a login token, in bytes.
pub const MIN_TOKEN_BYTES: usize = 16;
/// Maximum length of an operator's name, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// The settings of the console.
pub struct Settings {
    /// How people log in.
    pub login: Login,
    /// The proxies whose `x-forwarded-*` headers are trusted.
    pub proxies: Vec<Network>,
    /// What every path begins with: empty, or `/` and a path without a `/` at its end.
    pub path_prefix: String,
    /// Whether dead letters may be changed.
    pub changes: Changes,
    /// The admin addresses of the processes whose health is shown, each with a port.
    pub processes: Vec<String>,
}

impl Settings {
    /// Shows the health of the process itself, whose admin address is `admin`, unless others are named.
    pub fn show_own_process(&mut self, mut admin: SocketAddr) {
        match admin.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => admin.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => admin.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        if self.processes.is_empty() {
            self.processes.push(admin.to_string());
        }
    }

    /// What is weak about these settings on the address `listen`, for the log.
    #[must_use]
    pub fn weakness(&self, listen: SocketAddr) -> Option<&'static str> {
        let has_tokens = matches!(self.login, Login::Tokens(_));
        (has_tokens && self.proxies.is_empty() && !listen.ip().to_canonical().is_loopback()).then_some(
            "tokens and sessions of the console cross the network unencrypted: put a proxy with TLS in front of it, and name it in \
             BANKLINK_CONSOLE_TRUSTED_PROXIES",
        )
    }
}

/// How people log in.
pub enum Login {
    /// They do not: only this machine can connect, and the user of the operating system is an admin.
    Loopback {
        /// The name for history and log.
        user: String,
    },
    /// With a token.
    Tokens(Vec<Account>),
    /// At a proxy, which names the user and the groups.
    Proxy {
        /// The role of each group.
        roles: Vec<(String, Role)>,
    },
}

/// Whether dead letters may be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changes {
    /// By those who have the right to.
    Allowed,
    /// By no one.
    ReadOnly,
}

/// A person who may log in with a token.
#[derive(Clone)]
pub struct Account {
    /// The name for history and log.
    pub name: String,
    /// What the person may do.
    pub role: Role,
    /// Only the digest of the token is kept and compared, so that the time of a comparison says nothing about the token.
    pub(super) token: [u8; 32],
}

impl Account {
    /// An account with that token.
    #[must_use]
    pub fn new(name: &str, role: Role, token: &str) -> Self {
        Self { name: name.to_owned(), role, token: digest(token) }
    }
}

/// The SHA-256 digest of a token.
pub(super) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Parses `name:role:token`, comma separated. `None` if one is malformed, if a token is short, or if a name or a token occurs twice.
#[must_use]
pub fn parse_accounts(text: &str) -> Option<Vec<Account>> {
    let mut accounts: Vec<Account> = Vec::new();
    for entry in text.split(',').map(str::trim) {
        let mut parts = entry.splitn(3, ':');
        let (name, role, token) = (parts.next()?.trim(), Role::parse(parts.next()?)?, parts.next()?);
        let is_visible = token.chars().all(|c| c.is_ascii_graphic());
        let account = Account::new(name, role, token);
        let is_known = |other: &Account| other.name == name || other.token == account.token;
        if !is_name(name) || token.len() < MIN_TOKEN_BYTES || !is_visible || accounts.iter().any(is_known) {
            return None;
        }
        accounts.push(account);
    }
    Some(accounts)
}

/// Parses `group=role`, comma separated; an empty text is an empty list.
#[must_use]
pub fn parse_groups(text: &str) -> Option<Vec<(String, Role)>> {
    let entries = text.split(',').map(str::trim).filter(|_| !text.trim().is_empty());
    let group = |entry: &str| {
        // The names of groups may contain `=`, as in LDAP.
        let (group, role) = entry.rsplit_once('=')?;
        (!group.trim().is_empty()).then_some((group.trim().to_owned(), Role::parse(role.trim())?))
    };
    entries.map(group).collect()
}

/// Parses a path prefix; `/` means none.
#[must_use]
pub fn parse_path_prefix(text: &str) -> Option<String> {
    let prefix = text.trim_end_matches('/');
    let is_segment = |segment: &str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '~');
        !segment.is_empty() && segment != "." && segment != ".." && segment.chars().all(allowed)
    };
    match prefix.strip_prefix('/') {
        Some(path) if path.split('/').all(is_segment) => Some(prefix.to_owned()),
        None if prefix.is_empty() => Some(String::new()),
        _ => None,
    }
}

/// Whether `name` can name an operator: not empty, not long, without control characters.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_have_a_name_a_role_and_a_long_token_of_their_own() {
        assert!(parse_accounts("anna:operator:fifteen-letters").is_none());
        let accounts = parse_accounts("anna:operator:sixteen--letters, ben:viewer:another:token:of:ben").unwrap();
        assert_eq!(accounts[1].token, digest("another:token:of:ben"));
        assert_eq!((accounts[0].name.as_str(), accounts[0].role), ("anna", Role::Operator));
        for wrong in [
            "",
            "anna:operator",
            "anna:owner:a-token-of-16-byte",
            ":viewer:a-token-of-16-byte",
            "anna:viewer:a-token-of-16-byte,anna:admin:another-token-of-16",
            "anna:viewer:a-token-of-16-byte,ben:admin:a-token-of-16-byte",
            "anna:viewer:a-token-of-16-byte,",
        ] {
            assert!(parse_accounts(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn groups_map_to_roles_and_prefixes_are_plain_paths() {
        assert_eq!(parse_groups("cn=ops=operator, sre=admin").unwrap()[0], ("cn=ops".to_owned(), Role::Operator));
        assert!(
            parse_groups("").unwrap().is_empty() && parse_groups("ops").is_none() && parse_groups("=admin").is_none()
        );
        assert_eq!(parse_path_prefix("/ops/banklink/"), Some("/ops/banklink".to_owned()));
        assert_eq!((parse_path_prefix("/"), parse_path_prefix("")), (Some(String::new()), Some(String::new())));
        for wrong in ["ops", "//x", "/a//b", "/a/../b", "/a b", "/a\"b"] {
            assert_eq!(parse_path_prefix(wrong), None, "{wrong}");
        }
    }
}
