//! Edits and discards: what is confirmed is what was shown, and who did it is on record.

use banklink::console::Role;
use banklink::domain::failure::FailureClass;
use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::app::console::accounts;
use testkit::{On, TestApp};
use uuid::Uuid;

use super::{after_a_bad_deploy, letter};

fn webhook(entity: Uuid) -> Value {
    json!({
        "type": "entity.created", "timestamp": "2026-10-10T17:19:00.059933Z",
        "payload": { "id": entity, "customer_id": "customer-4711", "permissions": 7, "amount": 0 },
    })
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn an_edited_letter_is_sent_as_it_was_confirmed_with_numbers_of_any_size(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    let entity = Uuid::new_v4();
    let mut dead =
        letter(&webhook(entity), FailureClass::InvalidWebhook, "payload.permissions: wrong", TimeDelta::hours(1));
    let big = "90071992547409931234567890.10";
    dead.body = webhook(entity).to_string().replace("\"amount\":0", &format!("\"amount\":{big}")).into_bytes();
    let (id, path) = (dead.message_id, format!("/letters/{}", dead.message_id));
    app.insert_letters(vec![dead]).await;
    let operator = console.log_in(Role::Operator).await;

    let form = operator.post(&format!("{path}/edit"), &[("reason", "ticket 12")]).await;
    let shown = form.text.split_once("spellcheck=\"false\" required>").unwrap().1.split("</textarea>").next().unwrap();
    let body = shown.replace("&quot;", "\"").trim_start_matches('\n').to_owned();
    assert!(body.contains(&format!("\n    \"amount\": {big}")), "{body}");
    let opened = form.hidden("opened");
    let preview = format!("{path}/edit/preview");
    let fields = |body: &str| [("opened", opened.clone()), ("body", body.to_owned())];
    let post = async |path: &str, fields: &[(&str, String)]| {
        operator.post(path, &fields.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>()).await
    };
    assert_eq!(post(&preview, &fields(&body.replace('\n', "\r\n"))).await.status, 400, "the body is unchanged");
    assert_eq!(post(&preview, &[("opened", "guessed".to_owned()), ("body", body.clone())]).await.status, 409);

    let edited = body.replace("\"permissions\": 7", "\"permissions\": [\"accounts\"]");
    let confirmation = post(&preview, &fields(&edited)).await;
    for expected in ["would insert a bank link", "customer.bank_linked", "<del>", "<ins>", big] {
        assert!(confirmation.text.contains(expected), "{expected}: {}", confirmation.text);
    }
    let confirmed = |body: &str, confirmation: &testkit::app::console::ConsoleAnswer| {
        [fields(body).as_slice(), &[("shown", confirmation.hidden("shown"))]].concat()
    };
    let send = format!("{path}/edit/send");
    let other = edited.replace("accounts", "balance");
    let refused = post(&send, &confirmed(&other, &confirmation)).await;
    assert!(refused.status == 200 && refused.text.contains("has changed since you looked"), "{}", refused.text);
    assert_eq!(app.dead_letters().await[0].state, "dead", "nothing is sent that was not shown");

    let sent = post(&send, &confirmed(&edited, &confirmation)).await;
    assert_eq!((sent.status, sent.header("location")), (303, path.as_str()), "{}", sent.text);
    let link = app.until_link(entity).await;
    assert_eq!(link.permissions, json!(["accounts"]));
    let letter = &app.dead_letters().await[0];
    assert_eq!((letter.state.as_str(), letter.outcome.as_deref()), ("resolved", Some("edited")));
    let history: Vec<_> = app.history().await.into_iter().map(|entry| (entry.action, entry.by)).collect();
    let by_operator = |action: &str| (action.to_owned(), Some("operator".to_owned()));
    assert_eq!(history, ["revealed", "replayed", "edited"].map(by_operator));
    assert_eq!(post(&send, &confirmed(&edited, &confirmation)).await.status, 409, "{id} is sent once");
    app.finish_dropping(console).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_discard_says_how_many_and_takes_only_those(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let letters = after_a_bad_deploy(60);
    app.insert_letters(letters.clone()).await;
    let operator = console.log_in(Role::Operator).await;
    let dead = async || app.dead_letters().await.iter().filter(|letter| letter.state == "dead").count();

    // All of a kind, of which one more dies while the operator reads.
    let all = [("scope", "all"), ("class", "panicked")];
    let confirmation = operator.post("/letters/discard", &all).await;
    assert!(confirmation.text.contains("Discard 18 letters?"), "{}", confirmation.text);
    let mut late = after_a_bad_deploy(6).remove(5);
    late.last_died_at = chrono::Utc::now();
    app.insert_letters(vec![late]).await;
    let (shown, until) = (confirmation.hidden("shown"), confirmation.hidden("until"));
    let confirmed = [&all[..], &[("shown", shown.as_str()), ("until", &until), ("reason", "of a test")]].concat();
    assert_eq!(operator.post("/letters/discard/confirmed", &confirmed[..4]).await.status, 400, "no reason");
    let done = operator.post("/letters/discard/confirmed", &confirmed).await;
    assert_eq!((done.status, &done.header("location")[..22]), (303, "/letters?discarded=18~"), "{}", done.text);
    assert!(operator.get(done.header("location")).await.page().contains("18 letters discarded."));
    let forged = operator.get(&done.header("location").replace("=18", "=5000")).await.page();
    assert!(!forged.contains("letters discarded."), "{forged}");
    assert_eq!(dead().await, 43);

    // Ticked ones, of which one is no longer dead.
    let ids = [letters[0].message_id, letters[1].message_id].map(|id| id.to_string());
    let ticked = ids.each_ref().map(|id| ("id", id.as_str()));
    let confirmation = operator.post("/letters/discard", &ticked).await;
    assert!(confirmation.text.contains("Discard 2 letters?"), "{}", confirmation.text);
    let one = operator.post("/letters/discard", &ticked[..1]).await;
    let shown = one.hidden("shown");
    let one = [&ticked[..1], &[("shown", shown.as_str()), ("reason", "one")]].concat();
    let done = operator.post("/letters/discard/confirmed", &one).await;
    assert_eq!(done.header("location"), format!("/letters/{}", ids[0]), "{}", done.text);
    let shown = confirmation.hidden("shown");
    let both = [&ticked[..], &[("shown", shown.as_str()), ("reason", "both")]].concat();
    let changed = operator.post("/letters/discard/confirmed", &both).await;
    assert!(changed.status == 200 && changed.text.contains("Discard 1 letter?"), "{}", changed.text);
    assert_eq!(dead().await, 42);
    let notes = app.history().await;
    assert!(
        notes.iter().all(|entry| entry.action == "discarded" && entry.by.as_deref() == Some("operator")),
        "{notes:?}"
    );
    assert_eq!(operator.post("/letters/discard", &[]).await.status, 400, "nothing ticked");
    drop(console);
}
