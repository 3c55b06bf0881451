//! A replay that has stopped is resumed by an answer to a question with numbers.

use banklink::console::Role;
use banklink::store::letters::{Filter, select_dead};
use banklink::store::replays::{NewReplay, create, stop};
use rstest::rstest;
use serde_json::json;
use testkit::app::console::accounts;
use testkit::app::insert_dead_letters;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_has_stopped_is_resumed_with_numbers_and_a_reason_and_keeps_its_canaries(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let bodies = [json!({ "number": 0 })].into_iter().chain((0..5).map(|_| fixtures::created(Uuid::new_v4())));
    insert_dead_letters(&app.store.connection(), bodies).await;
    let selected = select_dead(&app.store, &Filter::default()).await.unwrap();
    let new = NewReplay { by: "anna".to_owned(), selection: "{}".to_owned(), canary: Some(3), ..NewReplay::default() };
    let id = create(&app.store, &new, &selected, None).await.unwrap().id;
    stop(&app.store, id, "RabbitMQ is blocked").await.unwrap();
    let console = app.start_console(accounts()).await;
    let (operator, admin) = (console.log_in(Role::Operator).await, console.log_in(Role::Admin).await);
    let path = format!("/replays/{id}");
    let resume = format!("{path}/resume");

    let question = operator.post(&resume, &[]).await;
    for expected in [
        "It stopped: <bdi>RabbitMQ is blocked</bdi>.",
        "3 canaries: 0 resolved, 0 dead again or skipped, 3 to come.",
        "6 letters would follow.",
    ] {
        assert!(question.text.contains(expected), "{expected}: {}", question.text);
    }
    let asked = question.hidden("asked");
    let answered = [("asked", asked.as_str()), ("reason", "it works again")];
    assert_eq!(operator.post(&resume, &answered[..1]).await.status, 400, "no reason");
    assert_eq!(admin.post(&resume, &answered).await.status, 200, "another one was asked");
    assert_eq!(app.replays().await[0].state, "stopped", "questions change nothing");
    assert_eq!(operator.post(&resume, &answered).await.header("location"), path);
    until("the failed canary", async || app.replays().await[0].state == "stopped").await;
    let page = operator.get(&path).await.page();
    assert!(page.contains("3: 2 resolved, 1 failed, 0 to come; the others wait for them"), "{page}");

    // The answer to the first question is none to this one.
    let question = operator.post(&resume, &answered).await;
    for expected in ["The numbers have changed", "2 resolved, 1 dead again or skipped", "3 letters would follow."] {
        assert!(question.text.contains(expected), "{expected}: {}", question.text);
    }
    let asked = question.hidden("asked");
    let answered = [("asked", asked.as_str()), ("reason", "one is enough")];
    assert_eq!(operator.post(&resume, &answered).await.header("location"), path);
    until("the end", async || app.replays().await[0].state == "done").await;
    let page = operator.get(&path).await.page();
    assert!(page.contains("1 of 3 failed; resumed by <bdi>operator</bdi>"), "{page}");
    assert!(page.contains("1 of 3 canaries had failed; one is enough"), "{page}");
    assert!(admin.get("/audit").await.page().contains("RabbitMQ is blocked; it works again"));
    assert_eq!((app.replays().await[0].applied, app.replays().await[0].dead), (5, 1));
    drop(console);
    app.until_outbox_is_empty().await;
}
