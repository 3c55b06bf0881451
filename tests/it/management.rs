//! `banklink check --management`: what RabbitMQ's management API says about our queues, on a real one.

use serde_json::Value;
use testkit::process::{Output, banklink};
use testkit::services::Services;
use testkit::waiting::eventually;
use tokio::net::TcpListener;

/// The lines of `check --json` with that name.
fn lines(output: &Output, check: &str) -> Vec<Value> {
    let lines = output.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["check"] == check).collect()
}

/// The line about a queue.
fn queue(output: &Output, name: &str) -> Value {
    let prefix = format!("{name}: ");
    let is_it = |line: &&Value| line["detail"].as_str().is_some_and(|detail| detail.starts_with(&prefix));
    lines(output, "queue").iter().find(is_it).cloned().unwrap_or_else(|| panic!("{name}: {output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn check_reports_policies_that_change_our_queues_and_where_these_are() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let conf =
        format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {port}\ncollect_statistics_interval = 1000");
    let environment =
        vec![("BANKLINK_RABBITMQ_EXTRA_CONF", conf), ("BANKLINK_RABBITMQ_PLUGINS", "rabbitmq_management".to_owned())];
    let services = Services::up_with("management", &["rabbitmq"], environment).await;
    let directory = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", directory.path().join("banklink.db").display());
    let command =
        |arguments: &[&str]| banklink(arguments).env("AMQP_URL", &services.amqp_url).env("DATABASE_URL", &database);
    for setup in [["migrate", "up"], ["topology", "apply"]] {
        assert_eq!(command(&setup).run().await.code, 0);
    }
    let url = format!("http://127.0.0.1:{port}");
    let check = async |url: &str| command(&["check", "--json", "--management", url]).run().await;

    // RabbitMQ knows the policies of a queue a few seconds after it was declared, and of a change as late.
    let healthy = eventually("what RabbitMQ knows of every queue", async || {
        let output = check(&url).await;
        (lines(&output, "queue").len() == 8 && !output.stdout.contains(" yet")).then_some(output)
    })
    .await;
    assert_eq!((healthy.code, &lines(&healthy, "alarms")[0]["detail"]), (0, &Value::from("none")), "{healthy:?}");
    let tier = queue(&healthy, "banklink.webhooks.retry.5s");
    let detail = tier["detail"].as_str().unwrap();
    assert!(detail.contains("quorum, leader banklink-") && detail.ends_with("dead-letters at least once"), "{detail}");
    assert!(detail.contains("arguments x-dead-letter-exchange=banklink.webhooks x-"), "{detail}");
    assert!(detail.contains("1 of 1 members online") && tier["remedy"].is_null(), "{tier}");
    assert!(queue(&healthy, "banklink.events.log")["detail"].to_string().contains(": stream, leader banklink-"));

    services.ctl(&["set_policy", "short", "webhooks$", r#"{"message-ttl":60000,"delivery-limit":30}"#]).await;
    services.ctl(&["set_policy", "--priority", "1", "loss", "dead$", r#"{"max-length":10}"#]).await;
    let changed = eventually("both policies", async || {
        let output = check(&url).await;
        let is_reported = |name| queue(&output, name)["remedy"].is_string();
        (is_reported("banklink.webhooks") && is_reported("banklink.webhooks.dead")).then_some(output)
    })
    .await;
    let work = queue(&changed, "banklink.webhooks");
    let warning = work["warning"].to_string();
    assert!(warning.contains("message-ttl to 60000") && !warning.contains("delivery-limit"), "{work}");
    let states = [&work["state"], &queue(&changed, "banklink.webhooks.dead")["state"]].map(ToString::to_string);
    assert_eq!((states, changed.code), (["\"ok\"", "\"failed\""].map(ToOwned::to_owned), 1), "{changed:?}");

    for (url, expected) in [
        (format!("http://guest:wrong-password@127.0.0.1:{port}"), "401"),
        ("http://127.0.0.1:1".to_owned(), "error sending request"),
    ] {
        let refused = check(&url).await;
        let line = &lines(&refused, "management")[0];
        assert!(line["detail"].as_str().unwrap().contains(expected) && line["remedy"].is_string(), "{line}");
        assert!(refused.code == 1 && !refused.stdout.contains("wrong-password"), "{refused:?}");
    }
    assert_eq!(check("15672").await.code, 2);
}
