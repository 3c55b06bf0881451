//! TLS to PostgreSQL: verified by default wherever a network lies between (docs/CONTRACT.md#3-settings).
//!
//! sqlx 0.9.0 has two defaults that fail open. Without `sslmode` it takes `prefer`: if anything on the way answers that the server
//! has no TLS, the password and the data go in plain text. And with `require` it accepts any certificate, even if the URL names
//! a root certificate, which libpq would verify.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::postgres::{PgConnectOptions, PgSslMode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

/// Asks whether the server will use TLS (PostgreSQL's protocol, SSLRequest: its length, and a number in place of a version).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// `options` as the URL asks, but verified unless it says otherwise.
pub(super) fn with_verification(options: PgConnectOptions, url: &str) -> PgConnectOptions {
    let mode = mode(&options, url);
    options.ssl_mode(mode)
}

/// A warning if the server at `url` is not on this machine and its certificate is not verified, or not its name.
pub(super) fn warning(url: &str) -> Option<String> {
    let options = PgConnectOptions::from_str(url).ok()?;
    let mode = mode(&options, url);
    let weakness = match mode {
        PgSslMode::VerifyFull => return None,
        PgSslMode::VerifyCa => "does not verify the server's name",
        PgSslMode::Require => "does not verify the server",
        PgSslMode::Disable => "does not encrypt",
        PgSslMode::Allow | PgSslMode::Prefer => {
            "does not encrypt if the server, or anyone on the way, says it has no TLS"
        }
    };
    is_remote(&options).then(|| format!("the connection to PostgreSQL {weakness}; use sslmode=verify-full"))
}

/// Whether the server answers within `deadline` that it has no TLS.
pub(super) async fn is_declined(options: &PgConnectOptions, deadline: Duration) -> bool {
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let answer = async {
        let mut stream = TcpStream::connect((host, options.get_port())).await?;
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    matches!(timeout(deadline, answer).await, Ok(Ok(b'N')))
}

fn mode(options: &PgConnectOptions, url: &str) -> PgSslMode {
    match options.get_ssl_mode() {
        _ if !has_parameter(url, &["sslmode", "ssl-mode"]) && is_remote(options) => PgSslMode::VerifyFull,
        // A root certificate that is named is meant to be used.
        PgSslMode::Allow | PgSslMode::Prefer | PgSslMode::Require
            if has_parameter(url, &["sslrootcert", "ssl-root-cert", "ssl-ca"]) =>
        {
            PgSslMode::VerifyCa
        }
        mode => mode,
    }
}

fn has_parameter(url: &str, names: &[&str]) -> bool {
    Url::parse(url).is_ok_and(|url| url.query_pairs().any(|(name, _)| names.contains(&name.as_ref())))
}

/// Whether a network lies between: not for a Unix socket or a loopback address.
fn is_remote(options: &PgConnectOptions) -> bool {
    let host = options.get_host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    options.get_socket().is_none() && !host.starts_with('/') && !is_loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode_of(url: &str) -> (String, bool) {
        let options = with_verification(PgConnectOptions::from_str(url).unwrap(), url);
        (format!("{:?}", options.get_ssl_mode()), warning(url).is_some())
    }

    #[test]
    fn a_server_on_another_machine_is_verified_unless_the_url_says_otherwise() {
        for (url, mode, warns) in [
            ("postgres://db.example/b", "VerifyFull", false),
            ("postgres://192.0.2.1:5432/b", "VerifyFull", false),
            ("postgres://db.example/b?sslrootcert=/ca.pem", "VerifyFull", false),
            ("postgres://db.example/b?sslmode=verify-ca&sslrootcert=/ca.pem", "VerifyCa", true),
            ("postgres://db.example/b?sslmode=require&sslrootcert=/ca.pem", "VerifyCa", true),
            ("postgres://db.example/b?sslmode=prefer&ssl-ca=/ca.pem", "VerifyCa", true),
            ("postgres://db.example/b?sslmode=require", "Require", true),
            ("postgres://db.example/b?sslmode=disable", "Disable", true),
            ("postgres://localhost/b", "Prefer", false),
            ("postgres://127.0.0.1/b", "Prefer", false),
            ("postgres://[::1]/b", "Prefer", false),
            ("postgres://localhost/b?sslmode=require&sslrootcert=/ca.pem", "VerifyCa", false),
            ("postgres:///b?host=/run/postgresql", "Prefer", false),
        ] {
            assert_eq!(mode_of(url), (mode.to_owned(), warns), "{url}");
        }
    }
}
