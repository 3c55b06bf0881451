//! `banklink links show` and `list`.

use entity::dead_letter_history;
use lapin::BasicProperties;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// Customer data of [`fixtures::created`].
const SECRETS: [&str; 5] = ["6bc2336a", "user-1", "Lean Mock Bank", "LEANAEAD", "#1beb75"];

/// A link that was updated and reconnected, with one dead letter.
async fn make_link(app: &TestApp) -> Uuid {
    let entity = Uuid::new_v4();
    for webhook in [
        fixtures::created(entity),
        fixtures::updated(entity, "2026-07-01T00:00:00.000000001Z", &json!(["accounts", "secret-permission"])),
        fixtures::reconnected(entity, "2026-08-01T00:00:00Z"),
    ] {
        app.post(&webhook).await.assert_accepted();
        app.next_event().await;
    }
    let mut invalid = fixtures::created(entity);
    invalid["payload"]["customer_id"] = json!(7);
    let id = Uuid::now_v7().to_string();
    app.publish(invalid.to_string().as_bytes(), BasicProperties::default().with_message_id(id.as_str().into())).await;
    app.until_dead(1).await;
    entity
}

/// The history of the link: what is under the entity's id.
async fn history(app: &TestApp, entity: Uuid) -> Vec<dead_letter_history::Model> {
    app.history().await.into_iter().filter(|entry| entry.message_id == entity).collect()
}

async fn show(app: &TestApp, entity: Uuid, options: &[&str]) -> String {
    let entity = entity.to_string();
    let arguments = [&["links", "show", entity.as_str()], options].concat();
    let run = app.command(&arguments).env("USER", "operator").run().await;
    assert_eq!(run.code, 0, "{run:?}");
    run.stdout
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_shown_with_its_times_letters_and_events(#[case] on: On) {
    let app = TestApp::start(on).await;
    let entity = make_link(&app).await;
    let other = fixtures::created(Uuid::new_v4());
    app.post(&other).await.assert_accepted();
    app.next_event().await;

    let masked = show(&app, entity, &[]).await;
    let letter = app.dead_letters().await.remove(0);
    for shown in [
        entity.to_string().as_str(),
        "2026-05-12T14:34:40.391243281Z",
        "2026-07-01T00:00:00.000000001Z",
        "2026-08-01T00:00:00.000000000Z",
        letter.message_id.to_string().as_str(),
        "invalid_webhook",
        "customer.bank_linked",
        "customer.bank_link_updated",
        "customer.bank_reconnected",
        "accounts, ***",
    ] {
        assert!(masked.contains(shown), "{shown} is not in\n{masked}");
    }
    let json: Value = serde_json::from_str(&show(&app, entity, &["--json"]).await).unwrap();
    assert_eq!(json["instants"]["bank_name"], "2026-07-01T00:00:00.000000001Z");
    assert_eq!((&json["revision"], &json["bank_name"]), (&json!(3), &json!("***")));
    assert_eq!(json["dead_letters"].as_array().unwrap().len(), 1);
    let types: Vec<_> =
        json["events"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["customer.bank_linked", "customer.bank_link_updated", "customer.bank_reconnected"]);
    for secret in SECRETS.into_iter().chain(["secret-permission"]) {
        assert!(!masked.contains(secret) && !json.to_string().contains(secret), "{secret}");
    }
    assert!(history(&app, entity).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn revealing_is_recorded_before_anything_is_shown() {
    let app = TestApp::start(On::Postgres).await;
    let entity = make_link(&app).await;
    let revealed = show(&app, entity, &["--reveal", "--by", "anna", "--json"]).await;
    for secret in SECRETS {
        assert!(revealed.contains(secret), "{secret} is not in {revealed}");
    }
    let entries = history(&app, entity).await;
    assert_eq!((entries.len(), entries[0].action.as_str(), entries[0].by.as_deref()), (1, "revealed", Some("anna")));

    let customer = app.bank_link(entity).await.unwrap().customer_id;
    let list = app.command(&["links", "list", &customer, "--reveal"]).env("USER", "operator").run().await;
    assert!(list.code == 0 && list.stdout.contains("Lean Mock Bank"), "{list:?}");
    assert_eq!(history(&app, entity).await[1].by.as_deref(), Some("operator"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_customer_are_listed_oldest_first() {
    let app = TestApp::start(On::Sqlite).await;
    let [second, first] = [(); 2].map(|()| Uuid::new_v4());
    for (entity, time) in [(second, "2026-05-12T14:34:41Z"), (first, "2026-05-12T14:34:40Z")] {
        let mut webhook = fixtures::created(entity);
        webhook["timestamp"] = json!(time);
        app.post(&webhook).await.assert_accepted();
        app.next_event().await;
    }
    let list = async |options: &[&str]| {
        let arguments = [&["links", "list", "6bc2336a-6d74-4e59-a492-65313423a8f8"], options].concat();
        app.command(&arguments).run().await.stdout
    };
    let lines = list(&["--json"]).await;
    let entities: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["entity_id"].clone()).collect();
    assert_eq!(entities, [json!(first), json!(second)]);
    let table = list(&[]).await;
    assert!(table.starts_with("ENTITY ID") && !table.contains("Lean Mock Bank"), "{table}");
    let unknown = app.command(&["links", "list", "unknown", "--json"]).run().await;
    assert_eq!((unknown.code, unknown.stdout.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_link_or_without_rabbitmq_it_says_so() {
    let app = TestApp::start(On::Sqlite).await;
    let entity = Uuid::new_v4().to_string();
    let missing = app.command(&["links", "show", &entity]).run().await;
    assert!(missing.code == 1 && missing.stderr.contains("there is no bank link"), "{missing:?}");
    let wrong = app.command(&["links", "show", "not-a-uuid"]).run().await;
    assert_eq!(wrong.code, 2, "{wrong:?}");

    let entity = make_link(&app).await;
    let no_broker = app.command(&["links", "show", &entity.to_string()]).env("AMQP_URL", "amqp://127.0.0.1:1/%2f");
    let no_broker = no_broker.run().await;
    assert!(no_broker.code == 1 && no_broker.stdout.contains("FIELD"), "{no_broker:?}");
    assert!(no_broker.stderr.contains("the events cannot be read"), "{no_broker:?}");
}
