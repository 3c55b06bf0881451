//! One letter: what is shown to whom, and what is on record before customer data is shown.

use banklink::console::Role;
use banklink::domain::failure::FailureClass;
use chrono::TimeDelta;
use serde_json::json;
use testkit::app::console::accounts;
use testkit::{On, TestApp};
use uuid::Uuid;

use super::letter;

const CUSTOMER: &str = "customer-4711";

fn webhook() -> serde_json::Value {
    json!({
        "type": "entity.created", "timestamp": "2026-10-10T17:19:00.059933Z",
        "payload": { "id": Uuid::new_v4(), "customer_id": CUSTOMER, "permissions": 7 },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn customer_data_is_shown_to_those_who_may_once_their_reason_is_on_record() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let letter = letter(&webhook(), FailureClass::InvalidWebhook, "payload.permissions: wrong", TimeDelta::hours(3));
    let (path, entity) = (format!("/letters/{}", letter.message_id), letter.entity_id.unwrap().to_string());
    app.insert_letters(vec![letter]).await;
    let reveal = format!("{path}/reveal");

    let viewer = console.log_in(Role::Viewer).await;
    let page = viewer.get(&path).await.page();
    assert!(page.contains(&entity) && page.contains("3h ago") && !page.contains(CUSTOMER), "{}", page.len());
    assert!(
        !page.contains("/reveal") && !page.contains("/edit") && !page.contains("/discard"),
        "a viewer has no buttons"
    );
    assert_eq!(viewer.post(&reveal, &[("reason", "curious")]).await.status, 403);

    let auditor = console.log_in(Role::Auditor).await;
    for without_reason in [&[][..], &[("reason", "  ")]] {
        let answer = auditor.post(&reveal, without_reason).await;
        assert!(answer.status == 400 && !answer.text.contains(CUSTOMER), "{}", answer.text);
    }
    assert!(app.history().await.is_empty());
    let answer = auditor.post(&reveal, &[("reason", "ticket 12")]).await;
    assert_eq!(answer.header("cache-control"), "no-store");
    let page = answer.page();
    assert!(page.contains(CUSTOMER) && !page.contains("/edit") && !page.contains("data-live"), "{}", page.len());
    let history = app.history().await;
    let recorded: Vec<_> = history.iter().map(|entry| (entry.action.as_str(), entry.by.as_deref())).collect();
    assert_eq!(recorded, [("revealed", Some("auditor"))]);
    assert_eq!(history[0].detail.as_deref(), Some("ticket 12"));
    assert!(viewer.get("/audit").await.page().contains("ticket 12"));
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_byte_for_byte_and_on_record() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let letters = [1, 2, 3].map(|hours| {
        letter(&webhook(), FailureClass::InvalidWebhook, "payload.permissions: wrong", TimeDelta::hours(hours))
    });
    app.insert_letters(letters.to_vec()).await;
    let auditor = console.log_in(Role::Auditor).await;
    let ids = letters.each_ref().map(|letter| letter.message_id.to_string());
    let ticked = [("id", ids[0].as_str()), ("id", &ids[2]), ("reason", "=for the bank")];
    let answer = auditor.post("/letters/export", &ticked).await;
    assert!(answer.header("content-disposition").starts_with("attachment"), "{answer:?}");
    let lines: Vec<serde_json::Value> = answer.page().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["message_id"], ids[2], "oldest death first, as the command line exports");
    let all = auditor.post("/letters/export", &[("scope", "all"), ("reason", "all of them")]).await.page();
    assert_eq!(all.lines().count(), 3);
    assert_eq!(app.history().await.iter().filter(|entry| entry.action == "exported").count(), 5);

    let csv = auditor.get("/audit/export?action=exported").await;
    assert!(csv.header("content-type").starts_with("text/csv"), "{csv:?}");
    let csv = csv.page();
    assert_eq!(csv.lines().count(), 6, "{csv}");
    assert!(csv.contains("\"auditor\",exported,") && csv.contains("\"'=for the bank\""), "{csv}");
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "dead"));
    drop(console);
}
