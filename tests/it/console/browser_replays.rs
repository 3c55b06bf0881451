//! A replay after a bad deploy as a person sees it, in Chromium: group, dry run, canaries, watch, pause, close the tab, come back,
//! resume, done.

use banklink::console::Role;
use testkit::app::console::{ConsoleServer, accounts};
use testkit::browser::Browser;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::after_a_bad_deploy;
use super::browser::{fill, log_in, look};

/// So many of the newest letters die again.
const FAULTY: usize = 20;

/// From the list of kinds over the dry run to a replay that is paused. Returns its address.
async fn operator_starts_and_pauses(browser: &Browser, console: &ConsoleServer) -> String {
    log_in(browser, console, Role::Operator).await;
    browser.open(&format!("{}/replays", console.url)).await;
    browser.until_text("#replays", "No replay was made yet.").await;
    look(browser, "replays-none").await;

    // By kind, and then all: what it would do comes first.
    browser.open(&format!("{}/letters", console.url)).await;
    look(browser, "letters-operator").await;
    browser.press("Replay").await;
    browser.until_text("h1", "Replay 2\u{202f}500 letters?").await;
    look(browser, "replay-plan-kind").await;
    browser.open(&format!("{}/letters", console.url)).await;
    browser.press("Replay all that match").await;
    browser.until_text("h1", "Replay 5\u{202f}000 letters?").await;
    browser.until_text(".effects", "insert a bank link").await;
    for (field, value) in [("#rate", "500"), ("#canary", "10"), ("#stop", "50"), ("#reason", "deploy 42 is undone")] {
        fill(browser, field, value).await;
    }
    look(browser, "replay-plan").await;
    browser.press("Replay 5\u{202f}000 letters").await;
    browser.until_text("#replay-state", "running").await;
    browser.until_text("#facts", "10, passed").await;
    look(browser, "replay-running").await;
    assert_eq!(browser.texts(".replay-deeds button").await, ["Pause", "Cancel…", ""], "only what the state permits");
    browser.press("Pause").await;
    browser.until_text("#replay-state", "paused").await;
    let address = browser.client.current_url().await.unwrap();
    look(browser, "replay-paused").await;
    address.to_string()
}

/// Another operator comes back and resumes it.
async fn admin_resumes(browser: &Browser, console: &ConsoleServer, address: &str) {
    log_in(browser, console, Role::Admin).await;
    browser.open(&format!("{}/replays", console.url)).await;
    look(browser, "dark-replays").await;
    browser.open(address).await;
    browser.press("Cancel…").await;
    browser.until_text("h1", "Cancel replay").await;
    look(browser, "dark-replay-cancel").await;
    browser.open(address).await;
    browser.press("Resume").await;
    browser.until_text("#replay-state", "done").await;
    browser.until_text("#dead-again", "-").await;
    look(browser, "dark-replay-done").await;
    browser.client.set_window_size(500, 1000).await.unwrap();
    for (url, name) in [(address.to_owned(), "replay"), (format!("{}/replays", console.url), "replays")] {
        browser.open(&url).await;
        look(browser, &format!("phone-{name}")).await;
        let width =
            browser.client.execute("return document.documentElement.scrollWidth - innerWidth;", Vec::new()).await;
        assert!(width.unwrap().as_i64().unwrap() <= 0, "{name} is wider than a telephone");
    }
    browser.open(&format!("{}/letters", console.url)).await;
    browser.press("Replay all that match").await;
    browser.until_text("h1", "letters?").await;
    look(browser, "phone-replay-plan").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_replays_five_thousand_letters_and_closes_the_tab_meanwhile() {
    let Some(browser) = Browser::start().await else { return };
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    let mut letters = after_a_bad_deploy(5_000);
    for letter in &mut letters[..FAULTY] {
        letter.body = b"{}".to_vec();
    }
    for letter in &mut letters[FAULTY..] {
        letter.body = fixtures::created(Uuid::new_v4()).to_string().into_bytes();
    }
    app.insert_letters(letters).await;
    let address = operator_starts_and_pauses(&browser, &console).await;
    browser.close().await;
    // At that pace, it would take long to watch the rest.
    app.sql("", "UPDATE replays SET rate = NULL").await;
    let Some(browser) = Browser::start_dark().await else { return };
    admin_resumes(&browser, &console, &address).await;
    browser.close().await;
    let replay = app.replays().await.pop().unwrap();
    assert_eq!((replay.letters, replay.replayed, replay.skipped), (5_000, 5_000, 0));
    assert_eq!((replay.applied, replay.dead), (4_980, 20));
    assert_eq!((replay.created_by.as_str(), replay.changed_by.as_deref()), ("operator", Some("admin")));
    app.finish_dropping(console).await;
}
