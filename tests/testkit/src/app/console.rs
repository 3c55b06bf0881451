//! The console of an app, and a client of it, as a browser without script would be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use banklink::console::{Account, Changes, Console, Login, Role, Settings};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue, SET_COOKIE};
use reqwest::{Client, Method, RequestBuilder, redirect};
use tokio::net::TcpListener;

use super::TestApp;
use crate::process::Running;

/// A console in the test's own process.
#[derive(Clone)]
pub struct ConsoleServer {
    /// The scheme, the address and the path prefix.
    pub url: String,
    /// The console, for its steps. Drop it before the app.
    pub console: Arc<Console>,
}

/// A page, as it was answered.
#[derive(Debug)]
pub struct ConsoleAnswer {
    /// The status code.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The document.
    pub text: String,
}

/// One person, with the cookies of a browser.
pub struct Person {
    url: String,
    http: Client,
    cookies: Mutex<BTreeMap<String, String>>,
    headers: HeaderMap,
}

/// The settings of a console without a login.
#[must_use]
pub fn loopback() -> Settings {
    settings(Login::Loopback { user: "tester".to_owned() })
}

/// The settings of a console with an account of each role, named and tokened like [`token`].
#[must_use]
pub fn accounts() -> Settings {
    let account = |role: Role| Account::new(role.as_str(), role, &token(role));
    settings(Login::Tokens(Role::ALL.map(account).to_vec()))
}

/// The token of the account of a role.
#[must_use]
pub fn token(role: Role) -> String {
    format!("a-token-of-the-{}", role.as_str())
}

/// Settings with that login, and defaults.
#[must_use]
pub fn settings(login: Login) -> Settings {
    Settings {
        login,
        proxies: Vec::new(),
        path_prefix: String::new(),
        changes: Changes::Allowed,
        processes: Vec::new(),
    }
}

impl TestApp {
    /// Starts a console in the test's own process.
    pub async fn start_console(&self, settings: Settings) -> ConsoleServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}{}", listener.local_addr().expect("an address"), settings.path_prefix);
        let console = self.banklink().console(settings, &self.store, self.stop.clone()).expect("a console");
        self.roles.spawn(Arc::clone(&console).run(listener));
        ConsoleServer { url, console }
    }
}

impl ConsoleServer {
    /// A person who is not logged in.
    #[must_use]
    pub fn visitor(&self) -> Person {
        Person::at(&self.url)
    }

    /// A person with the account of that role, logged in.
    pub async fn log_in(&self, role: Role) -> Person {
        let person = self.visitor();
        let answer = person.post("/login", &[("token", &token(role))]).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        person
    }
}

impl Person {
    /// A person who is not logged in, at the console with that URL.
    #[must_use]
    pub fn at(url: &str) -> Self {
        let http = crate::http::client_builder().redirect(redirect::Policy::none()).build().expect("a client");
        Self { url: url.to_owned(), http, cookies: Mutex::default(), headers: HeaderMap::new() }
    }

    /// A person at the console that a process shows, once it does.
    pub async fn at_process(process: &Running) -> Self {
        Self::at(&format!("http://{}", process.address("showing the console").await))
    }

    /// The same person, whose requests have that header besides.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).expect("a header"));
        self
    }

    /// Asks for a page.
    pub async fn get(&self, path: &str) -> ConsoleAnswer {
        self.send(self.request(Method::GET, path)).await
    }

    /// Submits a form, as a page of the console does.
    pub async fn post(&self, path: &str, fields: &[(&str, &str)]) -> ConsoleAnswer {
        let form =
            fields.iter().fold(url::form_urlencoded::Serializer::new(String::new()), |mut form, (name, value)| {
                form.append_pair(name, value);
                form
            });
        let request = self.request(Method::POST, path).body({ form }.finish());
        self.send(request.header("content-type", "application/x-www-form-urlencoded")).await
    }

    /// Submits the form of `page` that leads to `path`, with its hidden fields and what a person fills in.
    pub async fn submit(&self, page: &ConsoleAnswer, path: &str, written: &[(&str, &str)]) -> ConsoleAnswer {
        let hidden = page.hidden_fields(path);
        let hidden = hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.post(path, &hidden.chain(written.iter().copied()).collect::<Vec<_>>()).await
    }

    /// A request with the cookies and headers of this person.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let cookies = self.cookies.lock().unwrap_or_else(PoisonError::into_inner);
        let cookies: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = self.http.request(method, format!("{}{path}", self.url)).headers(self.headers.clone());
        if cookies.is_empty() { request } else { request.header("cookie", cookies.join("; ")) }
    }

    /// Sends a request and keeps the cookies of the answer.
    pub async fn send(&self, request: RequestBuilder) -> ConsoleAnswer {
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let pair = cookie.to_str().expect("a cookie").split(';').next().expect("a pair");
            let (name, value) = pair.split_once('=').expect("a name");
            self.cookies.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.to_owned());
        }
        ConsoleAnswer { status, headers, text: response.text().await.expect("a text") }
    }
}

impl ConsoleAnswer {
    /// The document of a page that was found.
    #[track_caller]
    #[must_use]
    pub fn page(self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.text
    }

    /// The value of the hidden field of that name.
    #[track_caller]
    #[must_use]
    pub fn hidden(&self, name: &str) -> String {
        let (_, rest) = self.text.split_once(&format!("name=\"{name}\" value=\"")).expect(name);
        rest.split('"').next().expect("a value").to_owned()
    }

    /// The hidden fields of the form that leads to `path`.
    fn hidden_fields(&self, path: &str) -> Vec<(String, String)> {
        let form = self.text.split_once(&format!("action=\"{path}\""));
        let (_, form) = form.unwrap_or_else(|| panic!("no form leads to {path}: {}", self.text));
        let form = form.split("</form>").next().expect("a form");
        let field = |field: &str| {
            let (name, rest) = field.split_once("\" value=\"").expect("a value");
            (name.to_owned(), rest.split('"').next().expect("the end of a value").to_owned())
        };
        form.split("type=\"hidden\" name=\"").skip(1).map(field).collect()
    }

    /// The value of a header; empty if it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}
