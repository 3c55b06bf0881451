//! The settings of the console, which have to fit each other.

use std::net::IpAddr;

use super::flags::Resolver;
use super::letter_commands::actor;
use super::setting_values::Auth;
use super::settings::{
    BANKLINK_CONSOLE_AUTH, BANKLINK_CONSOLE_LISTEN, BANKLINK_CONSOLE_PATH_PREFIX, BANKLINK_CONSOLE_PROCESSES,
    BANKLINK_CONSOLE_READ_ONLY, BANKLINK_CONSOLE_ROLES, BANKLINK_CONSOLE_TOKENS, BANKLINK_CONSOLE_TRUSTED_PROXIES,
};
use crate::console::{self, Changes, Login};

/// The address of the console, and its settings.
pub(super) fn console(settings: &mut Resolver<'_>) -> (String, console::Settings) {
    let listen = settings.get(&BANKLINK_CONSOLE_LISTEN);
    let (auth, accounts) = (settings.get(&BANKLINK_CONSOLE_AUTH), settings.get(&BANKLINK_CONSOLE_TOKENS));
    let proxies = settings.get(&BANKLINK_CONSOLE_TRUSTED_PROXIES);
    let roles = settings.get(&BANKLINK_CONSOLE_ROLES);
    let changes = if settings.get(&BANKLINK_CONSOLE_READ_ONLY) { Changes::ReadOnly } else { Changes::Allowed };
    let wrong = match auth {
        Auth::Loopback if !is_loopback(&listen) => Some(format!(
            "BANKLINK_CONSOLE_LISTEN: {listen} is not a loopback address, and BANKLINK_CONSOLE_AUTH=loopback asks for no login; \
             choose tokens or proxy"
        )),
        Auth::Loopback if accounts.is_some() || !roles.is_empty() => Some(
            "BANKLINK_CONSOLE_AUTH: loopback asks for no login, but BANKLINK_CONSOLE_TOKENS or BANKLINK_CONSOLE_ROLES is set; \
             choose tokens or proxy"
                .to_owned(),
        ),
        Auth::Tokens if accounts.is_none() => {
            Some("BANKLINK_CONSOLE_TOKENS is not set: BANKLINK_CONSOLE_AUTH=tokens needs at least one".to_owned())
        }
        Auth::Proxy if proxies.is_empty() => Some(
            "BANKLINK_CONSOLE_TRUSTED_PROXIES is not set: BANKLINK_CONSOLE_AUTH=proxy takes requests from these only".to_owned(),
        ),
        Auth::Proxy if roles.is_empty() => Some(
            "BANKLINK_CONSOLE_ROLES is not set: with BANKLINK_CONSOLE_AUTH=proxy, no group would have a role".to_owned(),
        ),
        _ => None,
    };
    if let Some(wrong) = wrong {
        settings.problem(wrong);
    }
    let login = match auth {
        Auth::Loopback => Login::Loopback { user: actor(None) },
        Auth::Tokens => Login::Tokens(accounts.unwrap_or_default()),
        Auth::Proxy => Login::Proxy { roles },
    };
    let path_prefix = settings.get(&BANKLINK_CONSOLE_PATH_PREFIX);
    let processes = settings.get(&BANKLINK_CONSOLE_PROCESSES);
    (listen, console::Settings { login, proxies, path_prefix, changes, processes })
}

/// Whether only this machine can connect to `listen`.
fn is_loopback(listen: &str) -> bool {
    let host = listen.rsplit_once(':').map_or(listen, |(host, _)| host);
    let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || ip.is_ok_and(|ip| ip.to_canonical().is_loopback())
}
