//! RabbitMQ with a user for each role, which has the rights of `deploy/rabbitmq/set-permissions` and no others.

use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, ConnectionProperties};
use serde_json::json;
use testkit::http::post;
use testkit::lean_api::LeanApi;
use testkit::process::{Invocation, until_answers};
use testkit::services::Services;
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures, repository};
use uuid::Uuid;

const ROLES: [&str; 8] = ["ingress", "worker", "relay", "api", "reconciler", "console", "operator", "topology"];
const PASSWORD: &str = "a-password";

/// A broker on which each role has a user of its own, named like the role.
async fn broker_with_users(name: &str, namespace: &str) -> Services {
    let services = Services::up(name, &["rabbitmq"]).await;
    for role in ROLES {
        services.ctl(&["add_user", role, PASSWORD]).await;
        let mut script = tokio::process::Command::new(repository().join("deploy/rabbitmq/set-permissions"));
        script.args(["--namespace", namespace, role, role]).env("RABBITMQCTL", services.ctl_command());
        let output = within(services.configure(&mut script).output()).await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }
    services
}

fn url_of(services: &Services, user: &str) -> String {
    services.amqp_url.replace("guest:guest", &format!("{user}:{PASSWORD}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_role_works_with_the_rights_of_its_user_and_declares_nothing() {
    let app = TestApp::builder(On::Postgres).ingress_only().schedule("100ms").build().await;
    let services = broker_with_users("test-roles", &app.namespace).await;
    let with_rights = |invocation: Invocation, user: &str| invocation.env("AMQP_URL", url_of(&services, user));
    let without_declaring = |invocation, user| with_rights(invocation, user).env("BANKLINK_DECLARE", "false");

    // What is missing is waited for.
    let mut ingress = without_declaring(app.role("ingress"), "ingress").start();
    ingress.until_log("is missing").await;
    assert_eq!(with_rights(app.command(&["topology", "apply"]), "topology").run().await.code, 0);
    let mut worker = without_declaring(app.role("worker"), "worker").start();
    let mut relay = without_declaring(app.role("relay"), "relay").start();
    let mut api = without_declaring(app.api_process(), "api").start();
    api.until_log("hearing of changes by events").await;
    let (url, admin) = (ingress.url().await, ingress.admin().await);
    for admin in [admin, worker.admin().await, relay.admin().await, api.admin().await] {
        until_answers(&admin, "/readyz", 200).await;
    }

    let entity = Uuid::new_v4();
    post(&url, &fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
    post(&url, &json!({ "type": 7 })).await.assert_accepted();
    app.until_dead(2).await;
    post(&url, &fixtures::created(entity)).await.assert_accepted();
    app.until_link(entity).await;
    let replay = app.command(&["dead-letters", "replay", "--class", "unknown_entity", "--yes"]);
    assert_eq!(without_declaring(replay, "operator").run().await.code, 0);
    app.until_reconnected(&[entity]).await;
    app.until_outbox_is_empty().await;
    let mut lost = fixtures::created(Uuid::new_v4());
    lost["timestamp"] = json!((chrono::Utc::now() - chrono::TimeDelta::hours(1)).to_rfc3339());
    let lean = LeanApi::start([lost.clone()]).await;
    let reconciler = app.lean_command(&lean, &["run", "reconciler"]).on_free_ports();
    let mut reconciler = without_declaring(reconciler, "reconciler").start();
    app.until_link(Uuid::parse_str(lost["payload"]["id"].as_str().unwrap()).unwrap()).await;
    assert_eq!(reconciler.terminate().await, 0, "{}", reconciler.log());
    let show = app.command(&["links", "show", &entity.to_string(), "--json"]);
    let show = without_declaring(show, "operator").run().await;
    assert!(show.code == 0 && show.stdout.contains("customer.bank_linked"), "{show:?}");
    let check = without_declaring(app.command(&["check"]), "worker").run().await;
    assert_eq!(check.code, 0, "{check:?}");
    for process in [&mut ingress, &mut worker, &mut relay, &mut api] {
        assert_eq!(process.terminate().await, 0, "{}", process.log());
    }
    app.finish_with_leftovers().await;
}

/// A channel of that user, in confirm mode.
async fn channel_of(services: &Services, user: &str) -> Channel {
    let url = url_of(services, user);
    let connecting = lapin::Connection::connect(&url, ConnectionProperties::default());
    let channel = within(connecting).await.unwrap().create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    channel
}

#[tokio::test(flavor = "multi_thread")]
async fn the_user_of_the_ingress_can_publish_webhooks_and_nothing_else() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let services = broker_with_users("test-ingress-user", &app.namespace).await;
    let apply = app.command(&["topology", "apply"]).env("AMQP_URL", url_of(&services, "topology"));
    assert_eq!(apply.run().await.code, 0);
    let refused = |error: lapin::Error| assert!(error.to_string().contains("ACCESS_REFUSED"), "{error}");
    let (webhooks, events) = (app.topology.webhooks(), app.topology.events());
    let publish = async |exchange: &str| {
        let channel = channel_of(&services, "ingress").await;
        let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
        channel.basic_publish(exchange.into(), "lean".into(), options, b"{}", properties).await.unwrap().await
    };
    assert!(publish(&webhooks).await.unwrap().is_ack());
    refused(publish(&events).await.unwrap_err());
    refused(publish(&app.topology.dead()).await.unwrap_err());
    let channel = channel_of(&services, "ingress").await;
    let consume = BasicConsumeOptions::default();
    refused(
        channel.basic_consume(webhooks.as_str().into(), "".into(), consume, FieldTable::default()).await.unwrap_err(),
    );
    let channel = channel_of(&services, "ingress").await;
    let (queue, exchange) = (webhooks.as_str().into(), events.as_str().into());
    let bound = channel.queue_bind(queue, exchange, "#".into(), QueueBindOptions::default(), FieldTable::default());
    refused(bound.await.unwrap_err());
    app.finish_with_leftovers().await;
}
