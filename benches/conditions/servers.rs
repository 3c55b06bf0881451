//! A RabbitMQ and a PostgreSQL of the bench's own, which accept connections with TLS and without.

use std::fs::Permissions;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;
use url::Url;

use crate::endpoints::Urls;
use crate::{process, progress};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/services");
const ROOT: &str = "root.pem";
const CERTIFICATE: &str = "server.pem";
/// The same key twice: each server has a user of its own.
const RABBITMQ_KEY: &str = "rabbitmq.key";
const POSTGRES_KEY: &str = "postgres.key";
/// Deadline of starting both, with the installation of their packages.
const START_DEADLINE: Duration = Duration::from_secs(600);

/// The servers. Dropping them stops them and deletes their data.
pub(crate) struct Servers {
    /// Certificates, and the script's records.
    directory: TempDir,
    /// Without TLS.
    pub(crate) plain: Urls,
    pub(crate) amqps_port: u16,
}

impl Servers {
    pub(crate) async fn start() -> Result<Self> {
        let _spinner = progress::spinner("starting servers with TLS");
        let directory = tempfile::Builder::new().permissions(Permissions::from_mode(0o755)).tempdir()?;
        create_certificates(directory.path())?;
        // RabbitMQ takes it a moment later.
        let amqps_port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let file = |name: &str| directory.path().join(name).display().to_string();
        let (certificate, rabbitmq_key, postgres_key) = (file(CERTIFICATE), file(RABBITMQ_KEY), file(POSTGRES_KEY));
        let rabbitmq_conf = format!(
            "listeners.ssl.1 = 127.0.0.1:{amqps_port}\nssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {rabbitmq_key}\nssl_options.verify = verify_none\n"
        );
        let postgres_conf = format!("ssl = on\nssl_cert_file = '{certificate}'\nssl_key_file = '{postgres_key}'\n");
        let mut up = script(directory.path());
        up.args(["up", "--private", "rabbitmq", "postgres"])
            .env("BANKLINK_RABBITMQ_EXTRA_CONF", rabbitmq_conf)
            .env("BANKLINK_POSTGRES_EXTRA_CONF", postgres_conf);
        let printed = process::output_within(up, START_DEADLINE).await?;
        let url = |name: &str| printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let mut postgres = Url::parse(url("DATABASE_URL").context("deploy/services printed no DATABASE_URL")?)?;
        postgres.set_query(Some("sslmode=disable"));
        let amqp = url("AMQP_URL").context("deploy/services printed no AMQP_URL")?.to_owned();
        Ok(Self { directory, plain: Urls { amqp, postgres }, amqps_port })
    }

    /// The file with the certificate of the authority.
    pub(crate) fn root_certificate(&self) -> PathBuf {
        self.directory.path().join(ROOT)
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        let down = script(self.directory.path()).arg("down").stderr(Stdio::null()).status();
        if !down.is_ok_and(|status| status.success()) {
            progress::print("cannot stop the servers with TLS");
        }
    }
}

fn script(directory: &Path) -> Command {
    let mut command = Command::new(SCRIPT);
    command.env("BANKLINK_SERVICES_DIR", directory.join("services")).stdin(Stdio::null()).stderr(Stdio::piped());
    command
}

/// An authority of its own, and a certificate for 127.0.0.1 that it signed. The tests have the same in testkit, which the bench cannot
/// use: it switches `failpoints` on.
fn create_certificates(directory: &Path) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (authority_key, server_key) = (KeyPair::generate()?, KeyPair::generate()?);
    let root = authority.self_signed(&authority_key)?;
    let issuer = Issuer::new(authority, authority_key);
    let server = CertificateParams::new(vec!["127.0.0.1".to_owned()])?.signed_by(&server_key, &issuer)?;
    let key = server_key.serialize_pem();
    let files = [(ROOT, root.pem()), (CERTIFICATE, server.pem()), (RABBITMQ_KEY, key.clone()), (POSTGRES_KEY, key)];
    for (name, content) in files {
        std::fs::write(directory.join(name), content)?;
    }
    // PostgreSQL reads the key only if it belongs to its own user, which is another one if this is root, and no other can read it.
    let key = directory.join(POSTGRES_KEY);
    std::fs::set_permissions(&key, Permissions::from_mode(0o600))?;
    let _ = Command::new("chown").arg("postgres").arg(&key).stderr(Stdio::null()).status();
    Ok(())
}
