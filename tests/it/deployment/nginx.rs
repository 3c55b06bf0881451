//! The sample reverse proxies, a real nginx, in front of the ingress; and TLS on every connection, with a private authority.

use std::process::Stdio;

use banklink::ingress::{Senders, parse_networks};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client};
use serde_json::json;
use testkit::process::until_answers;
use testkit::services::Services;
use testkit::tls::Certificates;
use testkit::waiting::until;
use testkit::{On, SECRET, TestApp, fixtures, raw_http};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::{read, tool_command};

const SAMPLE: &str = "deploy/nginx/banklink.conf";

/// A running proxy with a sample's configuration. Dropping it kills it.
pub(super) struct Proxy {
    _nginx: Child,
    _directory: tempfile::TempDir,
    port: u16,
    /// A client that trusts it.
    pub(super) client: Client,
}

/// A port that was free a moment ago.
pub(super) async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

impl Proxy {
    /// The sample for the ingress, with `changes`. `None` if there is no nginx.
    async fn before(ingress: &str, certificates: &Certificates, changes: &[(&str, &str)]) -> Option<Self> {
        let address = raw_http::address(ingress).to_string();
        Self::start(SAMPLE, "", certificates, &[&[("127.0.0.1:8080", address.as_str())], changes].concat()).await
    }

    /// The sample with its address, certificates and `changes` replaced, beside `others`. `None` if there is no nginx.
    pub(super) async fn start(
        sample: &str,
        others: &str,
        certificates: &Certificates,
        changes: &[(&str, &str)],
    ) -> Option<Self> {
        let (port, directory) = (free_port().await, tempfile::tempdir().unwrap());
        let here = directory.path().display();
        let own = [
            ("443 ssl http2", format!("127.0.0.1:{port} ssl http2")),
            ("/etc/banklink/tls/fullchain.pem", certificates.certificate().display().to_string()),
            ("/etc/banklink/tls/privkey.pem", certificates.key().display().to_string()),
        ];
        let own = own.iter().map(|(from, to)| (*from, to.as_str()));
        let sample = own.chain(changes.iter().copied()).fold(read(sample), |text, (from, to)| {
            assert!(text.contains(from), "{sample} no longer has {from:?}");
            text.replace(from, to)
        });
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {here}/{name};"))
            .join("\n");
        let main = format!(
            "daemon off; master_process off; pid {here}/pid; error_log {here}/error.log;\n\
             events {{}}\nhttp {{ access_log off;\n{temporary}\n{sample}\n{others}\n}}\n"
        );
        let file = directory.path().join("nginx.conf");
        std::fs::write(&file, main).unwrap();
        let mut command: Command = tool_command("nginx").await?;
        command.arg("-p").arg(directory.path()).arg("-c").arg(&file).kill_on_drop(true);
        let nginx = command.stdout(Stdio::inherit()).stderr(Stdio::inherit()).spawn().unwrap();
        until("nginx listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;
        Some(Self { _nginx: nginx, _directory: directory, port, client: trusting(certificates) })
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://127.0.0.1:{}{path}", self.port)
    }

    /// Posts a signed webhook, and returns the status of the answer.
    async fn post(&self, body: &str, forwarded_for: &str) -> u16 {
        let request = self.client.post(self.url("/webhooks/lean")).header("x-forwarded-for", forwarded_for);
        let request = request.header("lean-signature", fixtures::signature(SECRET, body.as_bytes()));
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    }
}

/// A client that trusts only the test's own authority, and follows no redirect.
fn trusting(certificates: &Certificates) -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let root = Certificate::from_pem(&std::fs::read(certificates.root()).unwrap()).unwrap();
    Client::builder().redirect(Policy::none()).tls_certs_only([root]).build().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_passes_on_webhooks_only_says_who_sent_them_and_limits_each_address() {
    let senders =
        Senders { allowed: parse_networks("203.0.113.7").unwrap(), trusted: parse_networks("127.0.0.1").unwrap() };
    let app = TestApp::builder(On::Sqlite).ingress_only().senders(senders).build().await;
    let (certificates, webhook) = (Certificates::new(), json!({ "type": "results.ready" }).to_string());
    let few = [("rate=500r/s", "rate=1r/m"), ("burst=5000", "burst=4")];
    let Some(proxy) = Proxy::before(&app.url, &certificates, &few).await else { return };
    // The ingress believes the proxy, so the proxy must not repeat what a stranger claims.
    assert_eq!(proxy.post(&webhook, "203.0.113.7").await, 403);
    for private in ["/metrics", "/readyz", "/v1/openapi.json", "/webhooks/lean/", "/"] {
        let answer = proxy.client.get(proxy.url(private)).send().await.unwrap();
        // The proxy's own answer; the ingress sends problem+json.
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["content-type"]),
            (404, &"text/html".parse().unwrap()),
            "{private}"
        );
    }
    assert_eq!(proxy.post(&"x".repeat(300_000), "").await, 413);
    let plain = reqwest::Client::new().get(format!("http://127.0.0.1:{}/", proxy.port)).send().await.unwrap();
    assert_eq!(plain.status(), 400, "without TLS");
    // Five in all; the first post above was one of them, and the body that was too large may be another.
    let mut statuses = Vec::new();
    for _ in 0..6 {
        statuses.push(proxy.post(&webhook, "").await);
    }
    assert_eq!(statuses[0], 403, "{statuses:?}");
    assert_eq!(statuses[5], 429, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_connection_can_use_tls_with_a_private_authority() {
    let certificates = Certificates::new();
    let port = free_port().await;
    let conf = vec![
        ("BANKLINK_RABBITMQ_EXTRA_CONF", certificates.rabbitmq_conf(port)),
        ("BANKLINK_POSTGRES_EXTRA_CONF", certificates.postgres_conf()),
    ];
    let services = Services::up_with("test-tls-everywhere", &["rabbitmq", "postgres"], conf).await;
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let root = certificates.root().display().to_string();
    let database = format!("{}?sslmode=verify-full&sslrootcert={root}", services.database_url);
    let broker = format!("amqps://guest:guest@127.0.0.1:{port}/%2f");

    let started =
        app.all_roles().env("AMQP_URL", &broker).env("DATABASE_URL", &database).env("BANKLINK_MIGRATE", "true");
    let mut banklink = started.env("SSL_CERT_FILE", &root).env("BANKLINK_TRUSTED_PROXIES", "127.0.0.1").start();
    until_answers(&banklink.admin().await, "/readyz", 200).await;
    let Some(proxy) = Proxy::before(&banklink.url().await, &certificates, &[]).await else { return };
    let entity = Uuid::new_v4();
    assert_eq!(proxy.post(&fixtures::created(entity).to_string(), "").await, 200);
    let show = ["links", "show", &entity.to_string()];
    let command = |arguments: &[&str]| {
        app.command(arguments).env("AMQP_URL", &broker).env("DATABASE_URL", &database).env("SSL_CERT_FILE", &root)
    };
    until("the link", async || command(&show).run().await.code == 0).await;
    assert_eq!(command(&["check"]).run().await.code, 0);
    // Without the authority, nothing is trusted.
    let distrusted =
        app.command(&["check"]).env("AMQP_URL", &broker).env("DATABASE_URL", &services.database_url).run().await;
    assert!(distrusted.code == 1 && distrusted.stdout.contains("broker     failed"), "{distrusted:?}");
    assert_eq!(banklink.terminate().await, 0, "{}", banklink.log());
}
