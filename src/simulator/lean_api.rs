//! Lean's API as far as banklink meets it: the Events API, and the entities of the Data API.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::HeaderMap;
use chrono::{DateTime, NaiveDate};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use uuid::Uuid;

use super::dialect::Dialect;
use super::link::Link;
use super::oauth::authorize;
use super::params::Params;
use super::problem::Problem;
use super::state::Shared;
use super::webhook::Webhook;
use crate::domain::timestamp::Timestamp;

/// Largest page.
const MAX_PAGE_SIZE: usize = 1_000;
/// Size of a page of entities, unless the request names one.
const ENTITIES_PAGE_SIZE: usize = 100;

const DATE_TIME: &str = "an RFC 3339 date-time such as 2026-05-12T14:34:40Z";
const DATE: &str = "a date such as 2026-05-12";

/// One page of a list, and which one it is.
#[derive(Serialize)]
pub(super) struct Page<T> {
    data: Vec<T>,
    page: Value,
}

impl<T> Page<T> {
    /// The page with that number, from 0, of what `all` yields. A page after the last is empty.
    fn of(all: impl Iterator<Item = T>, number: usize, size: usize) -> Self {
        let (first, mut total, mut data) = (number.saturating_mul(size), 0, Vec::new());
        for item in all {
            if total >= first && data.len() < size {
                data.push(item);
            }
            total += 1;
        }
        let pages = total.div_ceil(size);
        Self { data, page: json!({ "number": number, "size": size, "total_elements": total, "total_pages": pages }) }
    }
}

/// `GET /events/v1`: webhooks of the last 90 days, by timestamp. Those that were dropped or given up are listed, too.
pub(super) async fn events(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Page<Box<RawValue>>>, Problem> {
    authorize(&shared, &headers)?;
    if shared.settings.dialect == Dialect::Ksa {
        return Err(Problem::not_found("Saudi Arabia has no Events API; see GET /customers/v1/entities"));
    }
    let query = Params::parse(query.unwrap_or_default().as_bytes());
    let time = |name| query.parsed(name, DATE_TIME, |text| Timestamp::parse(text).ok());
    let (after, before, kind) = (time("from")?, time("to")?, query.get("type"));
    query.required("page")?;
    query.required("size")?;
    let number = query.number("page", 0..=usize::MAX / 2)?.unwrap_or_default();
    let size = query.number("size", 1..=MAX_PAGE_SIZE)?.unwrap_or(MAX_PAGE_SIZE);

    let is_asked = |webhook: &&Arc<Webhook>| {
        after.is_none_or(|after| webhook.timestamp > after)
            && before.is_none_or(|before| webhook.timestamp < before)
            && kind.is_none_or(|kind| kind == webhook.kind.name())
    };
    let page = {
        let state = shared.state();
        Page::of(state.records.webhooks().filter(is_asked).cloned(), number, size)
    };
    let listed = |webhook: Arc<Webhook>| serde_json::from_slice(&webhook.body).ok();
    Ok(Json(Page { data: page.data.into_iter().filter_map(listed).collect(), page: page.page }))
}

/// `GET /customers/v1/entities`: the entities created from `start_date` to `end_date`, both included, in UTC.
pub(super) async fn entities(
    State(shared): State<Arc<Shared>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Json<Page<Value>>, Problem> {
    authorize(&shared, &headers)?;
    let query = Params::parse(query.unwrap_or_default().as_bytes());
    let date = |name| {
        query.required(name)?;
        query.parsed(name, DATE, |text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok())
    };
    let (start, end) = (date("start_date")?, date("end_date")?);
    if start > end {
        return Err(Problem::bad_request("start_date is after end_date"));
    }
    let number = query.number("page_number", 0..=usize::MAX / 2)?.unwrap_or_default();
    let size = query.number("page_size", 1..=MAX_PAGE_SIZE)?.unwrap_or(ENTITIES_PAGE_SIZE);

    let is_asked = |link: &&Link| {
        let created = Some(DateTime::from_timestamp_nanos(link.created_at.nanos()).date_naive());
        start <= created && created <= end
    };
    let state = shared.state();
    Ok(Json(Page::of(state.records.links().iter().filter(is_asked).map(Link::as_entity), number, size)))
}

/// `GET /customers/v1/{customer_id}/entities`: a bare array; an unknown customer has none.
pub(super) async fn entities_of(
    State(shared): State<Arc<Shared>>,
    Path(customer_id): Path<String>,
    headers: HeaderMap,
) -> Result<Json<Vec<Value>>, Problem> {
    authorize(&shared, &headers)?;
    let state = shared.state();
    Ok(Json(state.records.links_of(&customer_id).map(Link::as_entity).collect()))
}

/// `GET /customers/v1/{customer_id}/entities/{entity_id}`.
pub(super) async fn entity(
    State(shared): State<Arc<Shared>>,
    Path((customer_id, entity_id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    authorize(&shared, &headers)?;
    let state = shared.state();
    let link = Uuid::parse_str(&entity_id).ok().and_then(|id| state.records.link(&customer_id, id));
    link.map(|link| Json(link.as_entity())).ok_or(Problem::not_found("no such entity of this customer"))
}
