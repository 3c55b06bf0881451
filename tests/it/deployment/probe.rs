//! `banklink check --probe`, which is the health check of the container image.

use testkit::process::{Output, banklink, until_answers};
use testkit::{On, TestApp};
use tokio::net::TcpListener;

/// The one line that it printed.
fn line(output: &Output) -> &str {
    assert_eq!((output.stdout.lines().count(), output.stderr.as_str()), (1, ""), "{output:?}");
    output.stdout.trim_end()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_succeeds_while_the_role_is_ready_and_names_what_is_wrong_otherwise() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut ready = app.role("ingress").start();
    let admin = ready.admin().await;
    until_answers(&admin, "/readyz", 200).await;
    let probe = async |target: &[&str]| {
        let invocation = banklink(&[&["check", "--probe"], target].concat());
        // What `check` alone needs is not asked for, and a proxy is not used.
        let invocation = invocation.env("DATABASE_URL", "nonsense").env("http_proxy", "http://127.0.0.1:1");
        invocation.env("BANKLINK_ADMIN_LISTEN", &admin).run().await
    };
    for target in [&[][..], &["/readyz/ingress"], &["/livez"], &[&format!("http://{admin}/readyz")]] {
        let output = probe(target).await;
        assert!(output.code == 0 && line(&output).contains(" ok "), "{target:?}: {output:?}");
    }
    let absent = probe(&["/readyz/worker"]).await;
    assert!(absent.code == 1 && line(&absent).contains("answers 503"), "{absent:?}");
    let json = probe(&["/readyz/typo", "--json"]).await;
    assert!(json.code == 1 && line(&json).contains(r#""state":"failed""#), "{json:?}");
    assert_eq!(probe(&["readyz"]).await.code, 2);

    assert_eq!(ready.terminate().await, 0);
    let stopped = probe(&[]).await;
    assert!(stopped.code == 1 && line(&stopped).contains(" failed "), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_probe_names_the_failed_check_and_does_not_wait_for_a_silent_process() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let worker = app.role("worker").env("DATABASE_URL", "postgres://user:pw@127.0.0.1:1/x?sslmode=disable").start();
    let admin = worker.admin().await;
    until_answers(&admin, "/readyz/worker", 503).await;
    let failed = banklink(&["check", "--probe", "--admin-listen", &admin]).run().await;
    assert!(failed.code == 1 && line(&failed).contains("worker database: the database "), "{failed:?}");

    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let probe = banklink(&["check", "--probe", "--admin-listen", &address]).short_deadlines().run().await;
    assert!(probe.code == 1 && line(&probe).contains("no answer within"), "{probe:?}");
}
