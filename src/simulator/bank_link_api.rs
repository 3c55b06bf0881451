//! Asks the read API for a customer's bank links (docs/CONTRACT.md#9-the-read-api-role-api).

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problem::Problem;
use super::settings::ReadApi;
use super::state::Shared;

/// Maximum time for an answer, beyond the time that the API is asked to wait.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Maximum size of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The API's answer.
#[derive(Deserialize, Serialize)]
pub(super) struct BankLinks {
    bank_links: Vec<Value>,
    cursor: Option<String>,
}

/// Asks for the bank links of a customer. With `wait`, waits that long until they differ from what `cursor` stands for.
///
/// # Errors
/// 502 if the API gives no valid answer, in the API's own words where it has any; 503 if the simulator stops.
pub(super) async fn bank_links(
    shared: &Shared,
    api: &ReadApi,
    customer_id: &str,
    wait: Option<Duration>,
    cursor: Option<&str>,
) -> Result<BankLinks, Problem> {
    let mut url = api.url.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(["v1", "customers", customer_id, "bank-links"]);
    }
    if wait.is_some() || cursor.is_some() {
        let mut query = url.query_pairs_mut();
        if let Some(wait) = wait {
            query.append_pair("wait", &format!("{}s", wait.as_secs()));
        }
        if let Some(cursor) = cursor {
            query.append_pair("cursor", cursor);
        }
    }
    let request = shared.http.get(url).bearer_auth(&api.token).timeout(ANSWER_DEADLINE + wait.unwrap_or_default());
    let answer = async {
        let mut response = request.send().await.map_err(|error| unavailable(error.without_url()))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| unavailable(error.without_url()))? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_ANSWER_BYTES {
                return Err(Problem::new(StatusCode::BAD_GATEWAY, "the answer of the API is too large"));
            }
        }
        if status != StatusCode::OK {
            return Err(Problem::new(StatusCode::BAD_GATEWAY, format!("the API answered {status}")));
        }
        let invalid = |_| Problem::new(StatusCode::BAD_GATEWAY, "the API answered with something else than bank links");
        serde_json::from_slice(&body).map_err(invalid)
    };
    let stopping = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the simulator is stopping");
    shared.stop.run_until_cancelled(answer).await.unwrap_or_else(|| Err(stopping()))
}

fn unavailable(error: reqwest::Error) -> Problem {
    Problem::new(StatusCode::BAD_GATEWAY, format!("the API cannot be reached: {:#}", anyhow::anyhow!(error)))
}
