//! A headless Chromium, driven over WebDriver.

use std::process::Stdio;

use fantoccini::wd::WebDriverCompatibleCommand;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use reqwest::Method;
use serde_json::{Map, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use url::{ParseError, Url};

use crate::repository;
use crate::tool::find_tool;
use crate::waiting::{eventually, until, within};

/// Chromium without a sandbox, because tests may run as root, and without calls home.
const ARGUMENTS: [&str; 10] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
];

/// A browser with one window and an empty profile. Dropping it ends it.
pub struct Browser {
    /// For what the functions here do not cover.
    pub client: Client,
    _profile: tempfile::TempDir,
    _driver: Child,
}

impl Browser {
    /// Starts Chromium with light pages. `None`, and a note on stderr, where it is neither installed nor can be.
    pub async fn start() -> Option<Self> {
        Self::start_with("--blink-settings=preferredColorScheme=1").await
    }

    /// Starts Chromium with dark pages, where they have them.
    pub async fn start_dark() -> Option<Self> {
        Self::start_with("--blink-settings=preferredColorScheme=0").await
    }

    async fn start_with(argument: &str) -> Option<Self> {
        let (Some(chromium), Some(driver)) = (find_tool("chromium").await, find_tool("chromedriver").await) else {
            eprintln!("Chromium cannot be had here, so this test of pages in a browser DID NOT RUN");
            return None;
        };
        let profile = tempfile::tempdir().expect("a directory");
        let mut driver = Command::new(driver)
            .args(["--port=0", "--allowed-ips=127.0.0.1"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("chromedriver can be started");
        let port = within(port(&mut driver)).await;
        let arguments = ARGUMENTS.map(str::to_owned).into_iter();
        let profile_argument = format!("--user-data-dir={}", profile.path().display());
        let options = json!({
            "binary": chromium, "args": arguments.chain([profile_argument, argument.to_owned()]).collect::<Vec<_>>(),
        });
        let mut capabilities = Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        capabilities.insert("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL" }));
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let url = format!("http://127.0.0.1:{port}");
        let client = within(builder.capabilities(capabilities).connect(&url)).await.expect("a session");
        Some(Self { client, _profile: profile, _driver: driver })
    }

    /// Opens a page.
    pub async fn open(&self, url: &str) {
        within(self.client.goto(url)).await.expect("a page");
    }

    /// Presses the button with that text, once it is there and enabled.
    pub async fn press(&self, text: &str) {
        let button = format!("//button[normalize-space()='{text}' and not(@disabled)]");
        self.click(Locator::XPath(&button), text).await;
    }

    /// Clicks what belongs to the label with that text, once it is there.
    pub async fn choose(&self, label: &str) {
        let label_text = format!("//label[contains(normalize-space(), '{label}')]");
        self.click(Locator::XPath(&label_text), label).await;
    }

    async fn click(&self, locator: Locator<'_>, what: &str) {
        eventually(&format!("a click on {what:?}"), async || self.client.find(locator).await.ok()?.click().await.ok())
            .await;
    }

    /// The texts of all elements that a CSS selector selects.
    pub async fn texts(&self, selector: &str) -> Vec<String> {
        let mut texts = Vec::new();
        for element in within(self.client.find_all(Locator::Css(selector))).await.unwrap_or_default() {
            // An element may be replaced meanwhile.
            texts.push(element.text().await.unwrap_or_default());
        }
        texts
    }

    /// Waits until an element that the selector selects contains `text`.
    pub async fn until_text(&self, selector: &str, text: &str) {
        until(&format!("{text:?} in {selector}"), async || {
            self.texts(selector).await.iter().any(|found| found.contains(text))
        })
        .await;
    }

    /// What the browser has logged since the last call: errors of scripts, what a policy has blocked, what was not found.
    pub async fn complaints(&self) -> Vec<String> {
        let log = within(self.client.issue_cmd(ReadLog)).await.expect("the browser's log");
        let entries = log.as_array().cloned().unwrap_or_default();
        entries.iter().map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// Stores a picture of the window as `target/screenshots/NAME.png`, for people to look at.
    pub async fn screenshot(&self, name: &str) {
        let directory = repository().join("target/screenshots");
        std::fs::create_dir_all(&directory).expect("a directory");
        let picture = within(self.client.screenshot()).await.expect("a picture");
        std::fs::write(directory.join(name).with_extension("png"), picture).expect("a file");
    }

    /// Ends the session and the browser.
    pub async fn close(self) {
        let _ = within(self.client.clone().close()).await;
    }
}

/// The port that the driver has chosen, which it prints.
async fn port(driver: &mut Child) -> u16 {
    let mut lines = BufReader::new(driver.stdout.take().expect("stdout")).lines();
    while let Some(line) = lines.next_line().await.expect("a line") {
        let port = line.split_once("started successfully on port ").map(|(_, port)| port.trim_end_matches('.'));
        if let Some(Ok(port)) = port.map(str::parse) {
            // Read on: the driver must not block on a full pipe.
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return port;
        }
    }
    panic!("chromedriver has named no port");
}

/// Reads the log of the browser, which is not a part of the WebDriver standard.
#[derive(Debug)]
struct ReadLog;

impl WebDriverCompatibleCommand for ReadLog {
    fn endpoint(&self, base_url: &Url, session_id: Option<&str>) -> Result<Url, ParseError> {
        base_url.join(&format!("session/{}/se/log", session_id.unwrap_or_default()))
    }

    fn method_and_body(&self, _request_url: &Url) -> (Method, Option<String>) {
        (Method::POST, Some(json!({ "type": "browser" }).to_string()))
    }
}
