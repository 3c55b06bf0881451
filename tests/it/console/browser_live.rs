//! A page that has lost the console says so, and finds it again by itself, in Chromium.

use banklink::console::Role;
use serde_json::json;
use testkit::app::console::{accounts, token};
use testkit::browser::Browser;
use testkit::{On, TestApp};

use super::browser::log_in;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_says_since_when_it_is_not_up_to_date_and_tries_again_by_itself() {
    let Some(browser) = Browser::start().await else { return };
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    log_in(&browser, &console, Role::Viewer).await;
    browser.until_text("#live-state[data-state=live]", "live").await;

    // The session ends elsewhere, so the stream ends, and the next one is the login's page.
    let log_out = "fetch('/logout', { method: 'POST' });";
    browser.client.execute(log_out, Vec::new()).await.unwrap();
    browser.until_text("body.outdated #live-state[data-state=lost]", "not up to date since").await;
    let log_in = "fetch('/login', { method: 'POST', body: new URLSearchParams({ token: arguments[0] }) });";
    browser.client.execute(log_in, vec![json!(token(Role::Viewer))]).await.unwrap();
    browser.until_text("body:not(.outdated) #live-state[data-state=live]", "live").await;
    browser.close().await;
    drop(console);
}
