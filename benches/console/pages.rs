//! The pages of the console, as requests.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use url::form_urlencoded;
use uuid::Uuid;

use super::fill::Filled;
use super::rows::{KINDS, RARE_OPERATOR};
use super::visitor::{Visitor, value};

/// A form that selects all dead letters.
const ALL: &str = "scope=all";
const REASON: &str = "reason=a+measurement";

/// A request for a page.
pub(super) struct Request {
    /// The page's name in the report.
    pub(super) name: String,
    pub(super) path: String,
    /// The form that is posted; `None` for a page that is only looked at.
    pub(super) form: Option<String>,
}

impl Request {
    pub(super) fn get(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self { name: name.into(), path: path.into(), form: None }
    }

    fn post(name: impl Into<String>, path: impl Into<String>, form: impl Into<String>) -> Self {
        Self { form: Some(form.into()), ..Self::get(name, path) }
    }
}

/// The pages while every letter is dead.
pub(super) async fn before_replay(visitor: &Visitor, filled: &Filled) -> Result<Vec<Request>> {
    let list = visitor.get("/letters").await?;
    let letter = value(&list, "href=\"/letters/")?.to_owned();
    let after = |died_at: DateTime<Utc>| format!("after={}~{}", died_at.timestamp_micros(), Uuid::nil());
    let last = after(filled.oldest + (filled.newest - filled.oldest) / 10_000);
    let middle_of_all = filled.oldest + (filled.newest - filled.oldest) / 2;
    let (middle, since) = (after(middle_of_all), middle_of_all.timestamp());
    let time = |at: i64| DateTime::from_timestamp(at, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let [(common, fingerprint, _), .., (rare, ..)] = KINDS;
    let filters = [
        ("class", format!("class={common}")),
        ("class, middle page", format!("class={common}&{middle}")),
        ("rare class", format!("class={rare}")),
        ("kind", format!("class={common}&fingerprint={fingerprint}")),
        ("fingerprint", format!("fingerprint={fingerprint}")),
        ("unknown fingerprint", "fingerprint=0123456789ab".to_owned()),
        ("type", "type=entity.updated".to_owned()),
        ("unknown type", "type=no.such.type".to_owned()),
        ("entity", format!("entity={}", filled.entity)),
        ("since", format!("since={}", time(since))),
        ("until", format!("until={}", time(since))),
        ("any state", "state=any".to_owned()),
        ("any state, unknown type", "state=any&type=no.such.type".to_owned()),
        ("replaying", "state=replaying".to_owned()),
        ("resolved", "state=resolved".to_owned()),
        ("discarded", "state=discarded".to_owned()),
    ];
    let mut requests = vec![
        Request::get("overview", "/"),
        Request::get("letters", "/letters"),
        Request::get("letters, middle page", format!("/letters?{middle}")),
        Request::get("letters, last page", format!("/letters?{last}")),
    ];
    let filtered =
        |(name, query): (&str, String)| Request::get(format!("letters by {name}"), format!("/letters?{query}"));
    requests.extend(filters.map(filtered));
    requests.extend([
        Request::get("letter", format!("/letters/{letter}")),
        Request::post("letter, revealed", format!("/letters/{letter}/reveal"), REASON),
        Request::post("letter, edit form", format!("/letters/{letter}/edit"), REASON),
        Request::post("discard of all, confirmation", "/letters/discard", ALL),
        Request::post("replay of all, dry run", "/replays/new", ALL),
        Request::get("replays, none", "/replays"),
        Request::get("link", format!("/links/{}", filled.entity)),
        Request::get("links of a customer", format!("/links?q={}", filled.customer)),
        Request::get("reconciliation", "/reconciliation"),
        Request::get("audit", "/audit"),
        Request::get("audit of a rare operator", format!("/audit?by={RARE_OPERATOR}")),
        Request::get("audit of a rare action", "/audit?action=discarded"),
        Request::get("audit, export of a rare operator", format!("/audit/export?by={RARE_OPERATOR}")),
        Request::get("audit, export of everything", "/audit/export"),
    ]);
    Ok(requests)
}

/// The form that starts the replay of all dead letters, at no limit of pace.
pub(super) async fn start_of_replay(visitor: &Visitor) -> Result<Request> {
    let plan = visitor.ask(&Request::post("", "/replays/new", ALL)).await?.1;
    let (_, form) = plan.split_once("action=\"/replays\"").context("the page has no form that starts the replay")?;
    let mut fields = form_urlencoded::Serializer::new(format!("{ALL}&{REASON}"));
    for name in ["until", "key", "shown"] {
        fields.append_pair(name, value(form, &format!("name=\"{name}\" value=\""))?);
    }
    Ok(Request::post("replay of all, start", "/replays", fields.finish()))
}

/// The pages that show the only replay.
pub(super) fn of_replay(state: &str) -> Vec<Request> {
    [("replay", "/replays/1"), ("replays", "/replays"), ("letters", "/letters"), ("overview", "/")]
        .map(|(name, path)| Request::get(format!("{name}, {state}"), path))
        .into()
}
