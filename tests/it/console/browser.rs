//! The console as people use it, in Chromium: four roles, and dead letters of four kinds. Pictures are in
//! `target/screenshots`.

use banklink::console::Role;
use banklink::domain::failure::FailureClass;
use chrono::TimeDelta;
use fantoccini::Locator;
use serde_json::{Value, json};
use testkit::app::console::{ConsoleServer, accounts, token};
use testkit::browser::Browser;
use testkit::tool::find_tool;
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::{after_a_bad_deploy, letter};

/// Logs in through the form, after the logout of whom the browser remembers.
pub(super) async fn log_in(browser: &Browser, console: &ConsoleServer, role: Role) {
    if !browser.texts(".who button").await.is_empty() {
        browser.press("Log out").await;
    }
    browser.open(&format!("{}/login", console.url)).await;
    fill(browser, "#token", &token(role)).await;
    browser.press("Log in").await;
    browser.until_text(".who", role.as_str()).await;
}

pub(super) async fn fill(browser: &Browser, selector: &str, text: &str) {
    let field = browser.client.wait().for_element(Locator::Css(selector)).await.unwrap();
    field.clear().await.unwrap();
    field.send_keys(text).await.unwrap();
}

/// Clicks the first element that the selector selects, and again if the page put another in its place meanwhile.
async fn follow(browser: &Browser, selector: &str) {
    let click = async || browser.client.wait().for_element(Locator::Css(selector)).await.unwrap().click().await;
    within(async {
        while let Err(error) = click().await {
            assert!(error.is_stale_element_reference(), "{selector}: {error}");
        }
    })
    .await;
}

/// Asserts that axe-core finds nothing serious on the page that is open, if it can be had.
async fn assert_accessible(browser: &Browser, name: &str) {
    let Some(axe) = find_tool("axe-core").await else {
        eprintln!("axe-core cannot be had here, so the accessibility of {name} WAS NOT CHECKED");
        return;
    };
    browser.client.execute(&std::fs::read_to_string(axe).unwrap(), Vec::new()).await.unwrap();
    // What is found is described in full, what is not found is not.
    let run = "const done = arguments[arguments.length - 1]; \
               axe.run({ resultTypes: ['violations'] }).then((found) => done(found.violations), (error) => done(String(error)));";
    let violations: Value = browser.client.execute_async(run, Vec::new()).await.unwrap();
    let serious = violations.as_array().unwrap().iter().filter(|violation| violation["impact"] != "minor");
    let serious: Vec<_> = serious.map(|found| format!("{}: {}", found["id"], found["nodes"][0]["html"])).collect();
    assert!(serious.is_empty(), "{name}: {serious:#?}");
}

/// A picture of the page, once it is found accessible and nothing was blocked.
pub(super) async fn look(browser: &Browser, name: &str) {
    assert_accessible(browser, name).await;
    let complaints = browser.complaints().await;
    assert!(complaints.is_empty(), "{name}: {complaints:?}");
    browser.screenshot(&format!("console-{name}")).await;
}

/// The letter that is edited: its permissions are not what Lean documents.
fn faulty(entity: Uuid) -> entity::dead_letter::Model {
    let webhook = json!({
        "type": "entity.created", "event_id": Uuid::new_v4(), "timestamp": "2026-10-10T17:19:00.059933Z",
        "payload": { "id": entity, "customer_id": "customer-4711", "permissions": 7, "account_number": 0 },
    });
    let failure = "payload.permissions: expected a list of names or a map of booleans";
    let mut letter = letter(&webhook, FailureClass::InvalidWebhook, failure, TimeDelta::seconds(5));
    letter.body =
        webhook.to_string().replace("\"account_number\":0", "\"account_number\":9007199254740993").into_bytes();
    letter
}

/// A viewer looks, and has no button.
async fn viewer_looks(browser: &Browser, letter: &str) {
    follow(browser, "#kinds .head a").await;
    browser.until_text("h1", "Dead letters").await;
    assert_eq!(browser.texts(".kinds .kind").await.len(), 4);
    assert!(browser.texts("main form[method=post] button, input[name=id]").await.is_empty());
    look(browser, "letters").await;
    browser.open(letter).await;
    browser.until_text("pre.body", "\"customer_id\": \"***\"").await;
    assert!(browser.texts("main button").await.is_empty());
}

/// An auditor reveals, for a reason.
async fn auditor_reveals(browser: &Browser, console: &ConsoleServer, letter: &str) {
    log_in(browser, console, Role::Auditor).await;
    browser.open(letter).await;
    fill(browser, "#reveal-reason", "ticket 12").await;
    browser.press("Reveal").await;
    browser.until_text("pre.body", "9007199254740993").await;
    look(browser, "letter-revealed").await;
}

/// An operator edits, and sees the difference and the dry run first.
async fn operator_edits(browser: &Browser, console: &ConsoleServer, letter: &str) {
    log_in(browser, console, Role::Operator).await;
    browser.open(letter).await;
    look(browser, "letter").await;
    fill(browser, "#edit-reason", "ticket 12").await;
    browser.press("Edit the body").await;
    let body = browser.client.wait().for_element(Locator::Css("#body")).await.unwrap();
    let body = body.prop("value").await.unwrap().unwrap();
    look(browser, "edit").await;
    fill(browser, "#body", &body.replace("\"permissions\": 7", "\"permissions\": [\"accounts\"]")).await;
    browser.press("Show the difference and a dry run").await;
    browser.until_text(".effects", "insert a bank link").await;
    browser.until_text(".diff ins", "\"accounts\"").await;
    look(browser, "edit-preview").await;
    browser.press("Send it").await;
    browser.until_text("#heading", "resolved").await;
}

/// All of a kind is discarded, by number.
async fn operator_discards(browser: &Browser, console: &ConsoleServer) {
    browser.open(&format!("{}/letters?class=unknown_entity", console.url)).await;
    look(browser, "letters-of-a-kind").await;
    browser.press("Discard all that match").await;
    browser.until_text("h1", "Discard 49 letters?").await;
    look(browser, "discard").await;
    fill(browser, "#reason", "the bank was closed").await;
    browser.press("Discard 49 letters").await;
    browser.until_text(".notice.good", "49 letters discarded.").await;
}

/// An admin looks at everything else, and at a telephone.
async fn admin_looks(browser: &Browser, console: &ConsoleServer, linked: Uuid) {
    log_in(browser, console, Role::Admin).await;
    browser.open(&format!("{}/links/{linked}", console.url)).await;
    look(browser, "link").await;
    browser.open(&format!("{}/links", console.url)).await;
    fill(browser, "#q", &linked.to_string()).await;
    browser.press("Search").await;
    browser.until_text("main", "customer_id").await;
    for (path, name) in [("/audit", "audit"), ("/reconciliation", "reconciliation"), ("/letters", "letters-admin")] {
        browser.open(&format!("{}{path}", console.url)).await;
        look(browser, name).await;
    }
    browser.client.set_window_size(500, 1000).await.unwrap();
    for (path, name) in [("/", "overview"), ("/letters", "letters"), ("/audit", "audit")] {
        browser.open(&format!("{}{path}", console.url)).await;
        look(browser, &format!("phone-{name}")).await;
        let width =
            browser.client.execute("return document.documentElement.scrollWidth - innerWidth;", Vec::new()).await;
        assert!(width.unwrap().as_i64().unwrap() <= 0, "{name} is wider than a telephone");
    }
}

/// The same pages for people who prefer dark ones.
async fn admin_looks_in_the_dark(console: &ConsoleServer, letter: &str) {
    let Some(dark) = Browser::start_dark().await else { return };
    log_in(&dark, console, Role::Admin).await;
    for (path, name) in [("/", "overview"), ("/letters?class=panicked", "letters")] {
        dark.open(&format!("{}{path}", console.url)).await;
        look(&dark, &format!("dark-{name}")).await;
    }
    dark.open(letter).await;
    look(&dark, "dark-letter").await;
    dark.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_roles_deal_with_what_a_bad_deploy_has_left() {
    let Some(browser) = Browser::start().await else { return };
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    let linked = Uuid::new_v4();
    app.post(&fixtures::created(linked)).await.assert_accepted();
    app.until_link(linked).await;
    browser.open(&console.url).await;
    browser.until_text("h1", "Log in").await;
    look(&browser, "login").await;
    log_in(&browser, &console, Role::Viewer).await;
    browser.until_text("#verdict", "Everything works.").await;
    look(&browser, "overview-calm").await;

    // A bad deploy shows without a reload.
    let entity = Uuid::new_v4();
    let faulty = faulty(entity);
    let letter = format!("{}/letters/{}", console.url, faulty.message_id);
    app.insert_letters([after_a_bad_deploy(499), vec![faulty]].concat()).await;
    browser.until_text("#verdict", "500 letters are dead.").await;
    look(&browser, "overview").await;

    viewer_looks(&browser, &letter).await;
    auditor_reveals(&browser, &console, &letter).await;
    operator_edits(&browser, &console, &letter).await;
    app.until_link(entity).await;
    operator_discards(&browser, &console).await;
    admin_looks(&browser, &console, linked).await;
    browser.close().await;
    let history = app.history().await;
    let by = |action: &str| history.iter().find(|entry| entry.action == action).and_then(|entry| entry.by.clone());
    assert_eq!((by("revealed"), by("edited")), (Some("auditor".to_owned()), Some("operator".to_owned())));

    admin_looks_in_the_dark(&console, &letter).await;
    app.finish_dropping(console).await;
}
