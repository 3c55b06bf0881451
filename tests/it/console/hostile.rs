//! Whatever a webhook, a header or an operator's name holds is only text on every page.

use banklink::domain::failure::FailureClass;
use chrono::TimeDelta;
use serde_json::json;
use testkit::app::console::loopback;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::letter;

/// Markup, quotes, a terminal's escape, a bidirectional override, a line separator and a zero-width space.
pub(super) const HOSTILE: &str = "</textarea></pre><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\u{1b}]52;c\u{7}\u{202e}\u{2028}\u{200b}{{7*7}}";

#[track_caller]
pub(super) fn assert_harmless(path: &str, page: &str) {
    assert!(!page.contains("<script>") && !page.contains("<img"), "{path}");
    let is_raw = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{202e}' | '\u{2028}' | '\u{200b}');
    assert!(!page.contains(is_raw), "{path}: {:?}", page.find(is_raw).map(|at| &page[at.saturating_sub(60)..at]));
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_text_in_every_field_is_shown_as_text_on_every_page() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let console = app.start_console(loopback()).await;
    let entity = Uuid::new_v4();
    let webhook = json!({ "type": HOSTILE, HOSTILE: HOSTILE, "payload": { "id": entity, "customer_id": HOSTILE } });
    let mut dead = letter(&webhook, FailureClass::InvalidWebhook, HOSTILE, TimeDelta::hours(1));
    dead.message_id = Uuid::new_v4();
    dead.source = HOSTILE.to_owned();
    (dead.wire_id, dead.note, dead.outcome) =
        (Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()));
    (dead.edited_from, dead.traceparent) = (Some(HOSTILE.to_owned()), Some(HOSTILE.to_owned()));
    let path = format!("/letters/{}", dead.message_id);
    app.insert_letters(vec![dead]).await;
    let mut created = fixtures::created(entity);
    for field in ["name", "logo", "main_color", "background_color", "identifier"] {
        created["payload"]["bank_details"][field] = json!(HOSTILE);
    }
    created["payload"]["customer_id"] = json!("customer-\u{202e}<b>");
    created["event_id"] = json!(HOSTILE);
    app.post(&created).await.assert_accepted();
    app.until_link(entity).await;

    let person = console.visitor();
    let link = format!("/links/{entity}");
    let query = url::form_urlencoded::byte_serialize(HOSTILE.as_bytes()).collect::<String>();
    for path in ["/", "/letters", &path, &link, "/reconciliation", "/audit"] {
        assert_harmless(path, &person.get(path).await.page());
    }
    for path in [
        "/letters?type=",
        "/letters?fingerprint=",
        "/links?q=",
        "/audit?by=",
        "/letters?class=",
        "/letters/",
        "/links/",
    ] {
        let answer = person.get(&format!("{path}{query}")).await;
        assert!(answer.status < 500, "{path}: {}", answer.status);
        assert_harmless(path, &answer.text);
    }
    let revealed = person.post(&format!("{path}/reveal"), &[("reason", HOSTILE)]).await.page();
    assert!(revealed.contains("alert(1)") && revealed.contains("\\u202e"), "the text itself is there");
    assert_harmless("reveal", &revealed);
    assert_harmless("reveal of a link", &person.post(&format!("{link}/reveal"), &[("reason", HOSTILE)]).await.page());
    assert_harmless("history", &person.get(&path).await.page());
    assert_harmless("audit", &person.get("/audit").await.page());
    let form = person.post(&format!("{path}/edit"), &[("reason", HOSTILE)]).await;
    assert!(!form.text.contains("<script>") && form.text.matches("</textarea>").count() == 1, "edit");
    let opened = form.hidden("opened");
    let edited = format!("[{webhook}]");
    let preview = person.post(&format!("{path}/edit/preview"), &[("opened", &opened), ("body", &edited)]).await;
    assert_eq!(preview.status, 200);
    assert!(!preview.text.contains("<script>") && !preview.text.contains("<img"), "the preview");
    app.finish_dropping(console).await;
}
