//! A certificate authority for one test, and PostgreSQL and RabbitMQ with TLS.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

/// An authority and the certificate of a server on 127.0.0.1 that it signed.
pub struct Certificates {
    directory: tempfile::TempDir,
}

impl Certificates {
    /// Makes new ones.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().permissions(PermissionsExt::from_mode(0o755)).tempdir();
        let certificates = Self { directory: directory.expect("a directory") };
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().expect("a key");
        let root = authority.self_signed(&authority_key).expect("a root certificate");
        let issuer = Issuer::new(authority, authority_key);
        let server_key = KeyPair::generate().expect("a key");
        let names = vec!["127.0.0.1".to_owned()];
        let server = CertificateParams::new(names).expect("parameters").signed_by(&server_key, &issuer);
        for (name, content) in [
            ("root.pem", root.pem()),
            ("server.pem", server.expect("a certificate").pem()),
            ("server.key", server_key.serialize_pem()),
        ] {
            std::fs::write(certificates.path(name), content).expect("a file");
        }
        certificates
    }

    /// The file with the root certificate.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.path("root.pem")
    }

    /// Lines for postgresql.conf. PostgreSQL reads the key only if its own user or root owns it, and no other can read it.
    #[must_use]
    pub fn postgres_conf(&self) -> String {
        let key = self.path("server.key");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a private key");
        // As root, deploy/services runs the server as the user postgres.
        let _ = Command::new("chown").arg("postgres").arg(&key).stderr(std::process::Stdio::null()).status();
        let line = |name: &str, path: &Path| format!("{name} = '{}'\n", path.display());
        let files = line("ssl_cert_file", &self.path("server.pem")) + &line("ssl_key_file", &key);
        format!("ssl = on\n{files}")
    }

    /// Lines for rabbitmq.conf: a listener with TLS on `port`. The node runs as another user, so it gets a copy of the key that
    /// everyone can read.
    #[must_use]
    pub fn rabbitmq_conf(&self, port: u16) -> String {
        let key = self.path("rabbitmq.key");
        std::fs::copy(self.key(), &key).expect("a copy of the key");
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("a readable key");
        let (root, certificate, key) = (self.root(), self.certificate(), key);
        format!(
            "listeners.ssl.1 = 127.0.0.1:{port}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
             ssl_options.keyfile = {}\nssl_options.verify = verify_none\n",
            root.display(),
            certificate.display(),
            key.display()
        )
    }

    /// The file with the server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// The file with the server's private key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.path("server.key")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}
