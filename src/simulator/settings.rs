//! The settings of the simulator.

use std::time::Duration;

use reqwest::Url;

use super::dialect::Dialect;
use super::fate::Odds;
use crate::domain::signature::Keys;

/// The settings of the simulator.
pub struct Settings {
    /// Where webhooks are posted.
    pub webhook_url: Url,
    /// The secrets; webhooks are signed with the first.
    pub keys: Keys,
    /// Which country's Lean is simulated.
    pub dialect: Dialect,
    /// What happens to webhooks on their way.
    pub odds: Odds,
    /// By how much Lean's retry timetable is divided.
    pub time_scale: u32,
    /// Determines ids, and which webhooks are dropped, duplicated and reordered.
    pub seed: u64,
    /// The read API that the shop asks for bank links.
    pub api: Option<ReadApi>,
    /// Maximum wait for the answer to a webhook. It is the receiver's time, so the time scale does not divide it.
    pub answer_deadline: Duration,
    /// How long an access token is valid.
    pub token_lifetime: Duration,
}

impl Settings {
    /// Lean's own: 10 s for the answer to a webhook.
    pub const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
    /// Lean's own: access tokens are valid for 3599 s.
    pub const TOKEN_LIFETIME: Duration = Duration::from_secs(3599);
}

/// The read API (docs/CONTRACT.md#9-the-read-api-role-api). Not `Debug`: the token must not get into logs.
#[derive(Clone)]
pub struct ReadApi {
    /// Its address, such as `http://127.0.0.1:8081`.
    pub url: Url,
    /// A token that it accepts.
    pub token: String,
}
