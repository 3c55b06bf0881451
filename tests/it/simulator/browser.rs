//! The whole story in a real browser: from *Connect account* to the bank on the page, by way of the real ingress, RabbitMQ, worker, relay
//! and read API. Pictures of it are in `target/screenshots`.

use std::time::Instant;

use banklink::simulator::{ReadApi, Settings};
use fantoccini::Locator;
use testkit::app::{API_TOKEN, ApiClient};
use testkit::browser::Browser;
use testkit::{On, TestApp};

use super::{Simulated, settings};

/// A shop whose banks come from `app`, by way of `api`.
async fn shop(app: &TestApp, api: &ApiClient) -> Simulated {
    let api = ReadApi { url: api.origin.parse().unwrap(), token: API_TOKEN.to_owned() };
    Simulated::start(Settings { api: Some(api), ..settings(&app.url) }).await
}

/// Connects a bank on the page that is open, and ends the dialog with that button.
async fn connect(browser: &Browser, bank: &str, end: &str) {
    browser.press("Connect account").await;
    browser.choose(bank).await;
    browser.press(end).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_connects_banks_and_sees_them_appear() {
    let Some(browser) = Browser::start().await else { return };
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let api = app.start_api(|settings| settings).await;
    let shop = shop(&app, &api).await;
    browser.open(&shop.url).await;
    browser.until_text("#empty", "No bank is linked yet").await;
    browser.screenshot("shop-empty").await;

    // The SDK's dialog, with one permission less.
    browser.press("Connect account").await;
    browser.choose("Lean Mock Bank").await;
    browser.choose("transactions").await;
    browser.screenshot("shop-dialog").await;
    let pressed = Instant::now();
    browser.press("Success").await;
    browser.until_text(".bank-name", "Lean Mock Bank").await;
    eprintln!("from Success to the bank on the page: {:?}", pressed.elapsed());
    browser.until_text("#status", "Lean Mock Bank is connected").await;
    let name = browser.client.find(Locator::Css(".bank-name")).await.unwrap();
    assert_eq!(name.css_value("background-color").await.unwrap(), "rgba(0, 30, 38, 1)");
    assert_eq!(name.css_value("color").await.unwrap(), "rgba(27, 235, 117, 1)");
    assert_eq!(browser.texts(".permissions li").await, ["accounts", "balance", "identity"]);
    assert_eq!(app.bank_links().await.len(), 1);

    // Cancelling and an error are shown as such, and change nothing.
    connect(&browser, "Pearl Mock Bank", "Cancel").await;
    browser.until_text("#status", "Cancelled").await;
    connect(&browser, "Pearl Mock Bank", "Error").await;
    browser.until_text("#status", "Error").await;
    browser.screenshot("shop-error").await;
    assert_eq!(browser.texts(".bank-name").await, ["Lean Mock Bank"]);

    // A second bank appears beside the first one.
    connect(&browser, "Pearl Mock Bank", "Success").await;
    browser.until_text("#status", "Pearl Mock Bank is connected").await;
    assert_eq!(browser.texts(".bank-name").await, ["Lean Mock Bank", "Pearl Mock Bank"]);
    assert_eq!(app.bank_links().await.len(), 2);
    browser.press("Reconnect Lean Mock Bank").await;
    browser.press("Success").await;
    browser.until_text("#status", "Lean Mock Bank is reconnected").await;
    browser.screenshot("shop-two-banks").await;

    // Another visit, on a telephone.
    browser.client.set_window_size(500, 900).await.unwrap();
    browser.open(&shop.url).await;
    browser.until_text(".bank-name", "Pearl Mock Bank").await;
    browser.screenshot("shop-phone").await;
    browser.close().await;
    shop.stop().await;
}
