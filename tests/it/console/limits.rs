//! What must stay bounded, and what a page says when it shows only a part: large differences, dry runs of many letters, letters that
//! were pruned, and RabbitMQ that does not answer.

use banklink::domain::failure::FailureClass;
use chrono::{TimeDelta, Utc};
use serde_json::json;
use testkit::app::console::{accounts, loopback};
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{after_a_bad_deploy, letter};

#[tokio::test(flavor = "multi_thread")]
async fn bodies_with_nothing_in_common_are_compared_while_others_are_answered() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    let mut dead = letter(&json!({}), FailureClass::MalformedJson, "expected a value", TimeDelta::hours(1));
    dead.body = (0..20_000).map(|number| format!("old {number}\n")).collect::<String>().into_bytes();
    let path = format!("/letters/{}", dead.message_id);
    app.insert_letters(vec![dead]).await;
    let person = console.visitor();
    let form = person.post(&format!("{path}/edit"), &[("reason", "ticket 12")]).await;
    let body = (0..20_000).map(|number| format!("new {number}\n")).collect::<String>();
    let fields = [("opened", form.hidden("opened")), ("body", body)];
    let fields = fields.each_ref().map(|(name, value)| (*name, value.as_str()));
    // The console answers nothing later than after 20 s, but a difference that takes minutes would keep it from even that.
    let preview = within(person.post(&format!("{path}/edit/preview"), &fields)).await.page();
    assert!(preview.contains("And 38\u{202f}000 more lines, which are not shown."), "{}", preview.len());
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_of_a_part_has_the_oldest_and_the_newest_of_each_kind_and_says_so_at_the_button() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    // More than a dry run tries in their order.
    let mut letters = after_a_bad_deploy(10_500);
    for (number, letter) in letters.iter_mut().enumerate() {
        let body = if number < 7 { json!({ "number": number }) } else { fixtures::created(Uuid::new_v4()) };
        letter.body = body.to_string().into_bytes();
    }
    app.insert_letters(letters).await;
    let console = app.start_console(loopback()).await;
    let page = console.visitor().post("/replays/new", &[("scope", "all")]).await.page();
    assert!(
        page.contains("letters that were tried, out of 10\u{202f}500, <strong>7 would fail again</strong>"),
        "{page}"
    );
    assert!(page.contains("of each kind the oldest and the newest"), "{page}");
    let (_, rows) = page.split_once("failures first").expect("a table");
    let effects: Vec<_> = rows.split("data-label=\"Would\"").skip(1).map(|row| row.contains(">fail<")).collect();
    assert_eq!((effects.len(), effects.iter().take_while(|fails| **fails).count()), (100, 7), "{effects:?}");
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_a_pruned_letter_is_shown_and_the_audit_leads_to_what_exists() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let linked = Uuid::new_v4();
    app.post(&fixtures::created(linked)).await.assert_accepted();
    app.until_link(linked).await;
    let mut dead = letter(&fixtures::created(linked), FailureClass::Panicked, "panicked", TimeDelta::hours(1));
    dead.first_died_at = Utc::now() - TimeDelta::days(3);
    let id = dead.message_id;
    app.insert_letters(vec![dead]).await;
    let console = app.start_console(accounts()).await;
    let admin = console.log_in(banklink::console::Role::Admin).await;
    let kinds = admin.get("/letters").await.page();
    let first_seen = kinds.split_once("data-label=\"First seen\"").unwrap().1;
    assert!(first_seen[..200].contains("3d ago"), "not the last death: {}", &first_seen[..200]);
    for path in [format!("/letters/{id}"), format!("/links/{linked}")] {
        assert_eq!(admin.post(&format!("{path}/reveal"), &[("reason", "ticket 12")]).await.status, 200);
    }
    let listed = async |query: &str| {
        let page = admin.get(&format!("/audit?{query}")).await.page();
        page.matches("data-label=\"When\"").count()
    };
    for (query, expected) in
        [("", 2), (&*format!("id={id}"), 1), ("id=7", 0), ("since=1h", 2), ("until=1h", 0), ("by=admin&until=", 2)]
    {
        assert_eq!(listed(query).await, expected, "{query}");
    }
    assert_eq!(admin.get("/audit?id=x").await.status, 400);
    app.sql("DELETE FROM dead_letters", "").await;
    let remains = admin.get(&format!("/letters/{id}")).await.page();
    assert!(remains.contains("This letter was pruned") && remains.contains("ticket 12"), "{remains}");
    let link = admin.get(&format!("/letters/{linked}")).await;
    assert_eq!((link.status, link.header("location")), (303, format!("/links/{linked}").as_str()));
    assert_eq!(admin.get(&format!("/letters/{}", Uuid::new_v4())).await.status, 404);
    drop(console);
    app.until_outbox_is_empty().await;
}
