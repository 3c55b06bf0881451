//! PostgreSQL as people run it: TLS, and settings that would lose commits.

use banklink::store::{Deadlines, IfMissing, Store};
use rstest::rstest;
use sea_orm::{ConnectionTrait, DbBackend, Statement};
use testkit::services::Services;
use testkit::tls::Certificates;
use testkit::{On, TestApp};

/// What a session of banklink uses for `name`.
async fn setting(store: &Store, name: &str) -> String {
    let query = Statement::from_string(DbBackend::Postgres, format!("SELECT current_setting('{name}') AS value"));
    store.connection().query_one_raw(query).await.unwrap().unwrap().try_get("", "value").unwrap()
}

#[rstest]
#[case::lost_in_a_crash("off", "on")]
#[case::lost_in_a_failover("local", "on")]
#[case::stricter("remote_apply", "remote_apply")]
#[tokio::test(flavor = "multi_thread")]
async fn commits_wait_for_the_disk_whatever_the_database_is_set_to(#[case] configured: &str, #[case] used: &str) {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    app.sql("", &format!("ALTER DATABASE \"{}\" SET synchronous_commit = {configured}", app.namespace)).await;
    let store = Store::open(&app.database_url(), IfMissing::Refuse, Deadlines::default()).await.unwrap();
    assert_eq!(setting(&store, "synchronous_commit").await, used);
    store.close().await;
    let check = app.command(&["check"]).run().await;
    let reported = check.stdout.contains(&format!("the server's synchronous_commit is {configured}"));
    assert_eq!((check.code, reported), (0, configured != used), "{check:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_certificate_that_is_named_is_verified_in_every_mode_that_encrypts() {
    let services = Services::up_with_tls("test-tls", &["postgres"]).await;
    let (certificates, stranger) = (services.certificates.as_ref(), Certificates::new());
    let connect_to = async |host: &str, mode: &str, root: Option<&Certificates>| {
        let root = root.map(|root| format!("&sslrootcert={}", root.root().display())).unwrap_or_default();
        let url = format!("{}?sslmode={mode}{root}", services.database_url.replace("127.0.0.1", host));
        let store = Store::connect(&url, IfMissing::Refuse).await.map_err(|error| error.to_string())?;
        store.close().await;
        Ok::<(), String>(())
    };
    let connect = async |mode: &str, root: Option<&Certificates>| connect_to("127.0.0.1", mode, root).await;
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        assert_eq!(connect(mode, certificates).await, Ok(()), "{mode}");
        let refused = connect(mode, Some(&stranger)).await.unwrap_err();
        assert!(refused.contains("certificate"), "{mode}: {refused}");
    }
    // The certificate is for 127.0.0.1.
    assert_eq!(connect_to("localhost", "verify-ca", certificates).await, Ok(()));
    let refused = connect_to("localhost", "verify-full", certificates).await.unwrap_err();
    assert!(refused.contains("certificate"), "{refused}");
    assert_eq!(connect("require", None).await, Ok(()), "nothing to verify against");
    assert!(connect("verify-full", None).await.is_err(), "not signed by a public authority");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_a_root_certificate_is_named() {
    let services = Services::up("test-no-tls", &["postgres"]).await;
    let certificates = Certificates::new();
    for mode in ["prefer", "require"] {
        let url = format!("{}?sslmode={mode}&sslrootcert={}", services.database_url, certificates.root().display());
        let refused = Store::connect(&url, IfMissing::Refuse).await.err().unwrap().to_string();
        assert!(refused.contains("does not support TLS"), "{mode}: {refused}");
    }
}
