//! Asks RabbitMQ's management API what AMQP does not tell: policies, members of queues, alarms. For `banklink check --management`.

use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde_json::Value;

use super::check_line::Check;
use super::diagnosis::ALARM;
use super::probe;
use super::queue_diagnosis::queue_check;
use crate::broker::{Address, Topology};
use crate::failpoints;

/// Maximum duration of one request.
const DEADLINE: Duration = Duration::from_secs(5);
/// A longer answer is not read to its end. That of a queue lists its consumers.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The remedy if the user may not ask.
const TAG: &str = "give the user of AMQP_URL the tag `management` or `monitoring`, or put another user into the URL";
/// The remedy if the API does not answer as it should.
const PLUGIN: &str = "enable the plugin rabbitmq_management, or correct the URL";
/// The remedy if the API does not answer about one thing.
const LATER: &str = "see RabbitMQ's log, and ask again";

/// The management API at one address.
struct Management {
    client: Client,
    base: Url,
    user: (String, String),
}

/// Parses the value of `--management`.
///
/// # Errors
/// A description of valid values.
pub(super) fn url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| "--management: expected an http:// or https:// URL, such as http://127.0.0.1:15672".to_owned())
}

/// The line of a `check` that does not ask.
pub(super) fn not_asked() -> Check {
    let cause = "not asked: alarms, policies, and the queues' arguments and leaders were not checked";
    Check::not_checked("management", cause, "pass --management URL, such as http://127.0.0.1:15672")
}

/// What the API at `base` says about the server and about each queue of `topology`. The user is that of `base`, else that of `address`.
pub(super) async fn checks(mut base: Url, address: &Address, topology: &Topology) -> Vec<Check> {
    let (user, password) = address.credentials();
    let own = (!base.username().is_empty())
        .then(|| (base.username().to_owned(), base.password().unwrap_or_default().to_owned()));
    // The URL is printed in errors.
    let _ = (base.set_username(""), base.set_password(None));
    let client = match probe::client() {
        Ok(client) => client,
        Err(error) => return vec![Check::failed("management", format!("{error:#}"), PLUGIN)],
    };
    let management = Management { client, base, user: own.unwrap_or_else(|| (user.to_owned(), password.to_owned())) };
    let mut checks = vec![management.overview().await];
    if !checks.iter().all(Check::has_passed) {
        return checks;
    }
    checks.push(management.alarms().await);
    let definitions = topology.definitions(address.vhost());
    for declared in definitions["queues"].as_array().into_iter().flatten() {
        let name = declared["name"].as_str().unwrap_or_default();
        checks.push(match management.get(&["queues", address.vhost(), name]).await {
            Ok((StatusCode::OK, queue)) => queue_check(topology, declared, &queue),
            Ok((StatusCode::NOT_FOUND, _)) => {
                Check::failed("queue", format!("{name}: does not exist"), "run `banklink topology apply`")
            }
            Ok((status, _)) => Check::failed("queue", format!("{name}: the management API answers {status}"), TAG),
            Err(error) => Check::failed("queue", format!("{name}: {error}"), LATER),
        });
    }
    checks
}

impl Management {
    async fn overview(&self) -> Check {
        match self.get(&["overview"]).await {
            Ok((StatusCode::OK, answer)) => {
                let version = answer["rabbitmq_version"].as_str().unwrap_or("of an unknown version");
                Check::passed("management", format!("RabbitMQ {version} answers at {}", self.base))
            }
            Ok((status, _)) => {
                let is_refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                let cause = format!("{} answers {status}", self.base);
                Check::failed("management", cause, if is_refused { TAG } else { PLUGIN })
            }
            Err(error) => Check::failed("management", format!("{}: {error}", self.base), PLUGIN),
        }
    }

    async fn alarms(&self) -> Check {
        match self.get(&["health", "checks", "alarms"]).await {
            Ok((StatusCode::OK, _)) => Check::passed("alarms", "none"),
            Ok((StatusCode::SERVICE_UNAVAILABLE, _)) => {
                Check::failed("alarms", "an alarm blocks publishing: webhooks are answered 503", ALARM)
            }
            Ok((status, _)) => {
                let cause = format!("not checked: the management API answers {status}");
                Check::not_checked("alarms", cause, TAG)
            }
            Err(error) => Check::failed("alarms", error, LATER),
        }
    }

    /// Asks for `/api` and these segments.
    async fn get(&self, path: &[&str]) -> Result<(StatusCode, Value), String> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("api").extend(path);
        }
        let (user, password) = &self.user;
        let asked = async {
            let mut response = self.client.get(url).basic_auth(user, Some(password)).send().await?;
            let status = response.status();
            Ok((status, probe::read(&mut response, MAX_ANSWER_BYTES).await))
        };
        match tokio::time::timeout(failpoints::shortened_for_tests(DEADLINE), asked).await {
            Ok(Ok((status, body))) => Ok((status, serde_json::from_slice(&body).unwrap_or_default())),
            Ok(Err(error)) => Err(reqwest::Error::without_url(error).to_string()),
            Err(_) => Err(format!("no answer within {DEADLINE:?}")),
        }
    }
}
