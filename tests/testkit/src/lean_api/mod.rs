//! A stand-in for Lean's API: tokens, the Events API and the list of entities. It is honest unless a test alters its answers.

mod http;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use http::{header, serve};

/// The credentials that it accepts.
pub const CLIENT_ID: &str = "client-of-the-tests";
/// The secret that it accepts.
pub const CLIENT_SECRET: &str = "client-secret-Tq7bN3";

/// A running stand-in. Dropping it stops it.
pub struct LeanApi {
    /// Its base URL, for the API and for tokens.
    pub url: String,
    state: Arc<Mutex<State>>,
    server: JoinHandle<()>,
}

/// Alters the answer to a request.
type Alter = Box<dyn FnMut(&Request, Answer) -> Answer + Send>;

/// What it knows, and what was asked of it.
struct State {
    /// Each webhook as it is listed, byte for byte, and when it was created, if that can be read.
    events: Vec<(String, Option<DateTime<Utc>>)>,
    entities: Vec<Value>,
    /// The access token that is valid now; its number is that of the requests for tokens.
    token: Option<String>,
    tokens: usize,
    token_lifetime: u32,
    requests: Vec<Request>,
    alter: Alter,
}

/// A request, except those for tokens.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The parameters.
    pub query: BTreeMap<String, String>,
    authorization: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// Headers, each with its line end.
    pub headers: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// An answer without a body.
    #[must_use]
    pub fn status(status: u16) -> Self {
        Self { status, headers: String::new(), body: String::new() }
    }

    /// The answer with its body changed as JSON.
    #[must_use]
    pub fn edited(self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut body = serde_json::from_str(&self.body).expect("an answer in JSON");
        edit(&mut body);
        Self { body: body.to_string(), ..self }
    }
}

impl Request {
    /// A numeric parameter; 0 if it is absent.
    #[must_use]
    pub fn number(&self, name: &str) -> usize {
        self.query.get(name).and_then(|text| text.parse().ok()).unwrap_or_default()
    }

    fn time(&self, name: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(&self.query[name]).expect("a time").to_utc()
    }

    fn day(&self, name: &str) -> NaiveDate {
        self.query[name].parse().expect("a date")
    }
}

impl LeanApi {
    /// Starts it with these webhooks, listed in this order.
    pub async fn start(events: impl IntoIterator<Item = Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State {
            events: events.into_iter().map(|event| timed(event.to_string())).collect(),
            entities: Vec::new(),
            token: None,
            tokens: 0,
            token_lifetime: 3599,
            requests: Vec::new(),
            alter: Box::new(|_, answer| answer),
        }));
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(serve(stream, move |head, body| state.lock().expect("not poisoned").answer(head, body)));
            }
        });
        Self { url, state, server }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("not poisoned")
    }

    /// Adds a webhook to the list, byte for byte.
    pub fn add(&self, event: &impl ToString) {
        self.state().events.push(timed(event.to_string()));
    }

    /// Sets the list of entities.
    pub fn set_entities(&self, entities: Vec<Value>) {
        self.state().entities = entities;
    }

    /// Sets how long a token is valid, in seconds.
    pub fn set_token_lifetime(&self, seconds: u32) {
        self.state().token_lifetime = seconds;
    }

    /// From now on, no issued token is valid.
    pub fn revoke_tokens(&self) {
        self.state().token = None;
    }

    /// From now on, `alter` changes the answers to everything but requests for tokens. It gets the honest answer.
    pub fn alter(&self, alter: impl FnMut(&Request, Answer) -> Answer + Send + 'static) {
        self.state().alter = Box::new(alter);
    }

    /// How many tokens it has issued.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.state().tokens
    }

    /// Every request so far, except those for tokens.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }
}

impl Drop for LeanApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A webhook with its time.
fn timed(event: String) -> (String, Option<DateTime<Utc>>) {
    let value: Value = serde_json::from_str(&event).unwrap_or_default();
    let time = value["timestamp"].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    (event, time.map(|time| time.to_utc()))
}

impl State {
    fn answer(&mut self, head: &str, body: &str) -> Answer {
        let target = head.split(' ').nth(1).unwrap_or_default();
        let url = url::Url::parse(&format!("http://lean{target}")).expect("a path");
        if url.path() == "/oauth2/token" {
            return self.issue(body);
        }
        let request = Request {
            path: url.path().to_owned(),
            query: url.query_pairs().into_owned().collect(),
            authorization: header(head, "authorization").unwrap_or_default(),
        };
        self.requests.push(request.clone());
        let is_authorized = self.token.as_ref().is_some_and(|token| request.authorization == format!("Bearer {token}"));
        let honest = match request.path.as_str() {
            _ if !is_authorized => Answer::status(401),
            "/events/v1" => page(&self.listed_events(&request), &request, "page", "size"),
            "/customers/v1/entities" => page(&self.listed_entities(&request), &request, "page_number", "page_size"),
            _ => Answer::status(404),
        };
        (self.alter)(&request, honest)
    }

    fn issue(&mut self, body: &str) -> Answer {
        let form: BTreeMap<String, String> = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
        let expected = [
            ("client_id", CLIENT_ID),
            ("client_secret", CLIENT_SECRET),
            ("grant_type", "client_credentials"),
            ("scope", "api"),
        ];
        if expected.iter().any(|(name, value)| form.get(*name).map(String::as_str) != Some(value)) {
            return Answer::status(401);
        }
        self.tokens += 1;
        let token = format!("access-token-Wd4kR8-{}", self.tokens);
        let lifetime = self.token_lifetime;
        let body = serde_json::json!({
            "access_token": token, "token_type": "bearer", "expires_in": lifetime, "scope": "api",
        });
        self.token = Some(token);
        Answer { body: body.to_string(), ..Answer::status(200) }
    }

    /// What was created after `from` and before `to`. A webhook without a readable time is always listed.
    fn listed_events(&self, request: &Request) -> Vec<String> {
        let (from, to) = (request.time("from"), request.time("to"));
        let is_listed = |time: &Option<DateTime<Utc>>| time.is_none_or(|time| time > from && time < to);
        self.events.iter().filter(|(_, time)| is_listed(time)).map(|(event, _)| event.clone()).collect()
    }

    fn listed_entities(&self, request: &Request) -> Vec<String> {
        let days = request.day("start_date")..=request.day("end_date");
        let is_listed = |entity: &&Value| {
            let time = entity["created_at"].as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
            time.is_none_or(|time| days.contains(&time.date_naive()))
        };
        self.entities.iter().filter(is_listed).map(ToString::to_string).collect()
    }
}

/// The page of `entries` that `request` asks for by the parameters `number` and `size`.
#[must_use]
pub fn page(entries: &[String], request: &Request, number: &str, size: &str) -> Answer {
    let (number, size) = (request.number(number), request.number(size).max(1));
    let (elements, pages) = (entries.len(), entries.len().div_ceil(size));
    let data: Vec<&str> = entries.iter().skip(number * size).take(size).map(String::as_str).collect();
    let page = serde_json::json!({
        "number": number, "size": size, "total_elements": elements, "total_pages": pages,
    });
    Answer { body: format!("{{\"data\":[{}],\"page\":{page}}}", data.join(",")), ..Answer::status(200) }
}
