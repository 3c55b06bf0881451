//! Looks up bank links, and writes them as JSON.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::SecondsFormat;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::time::timeout;
use uuid::Uuid;

use super::Api;
use super::problem::Problem;
use crate::domain::link_data::LinkData;
use crate::store;
use crate::store::link_reads::{self, StoredLink};

/// Maximum time for reading one link.
const READ_DEADLINE: Duration = Duration::from_secs(10);

/// A link in an answer: the `data` of its events, and when its row was last written.
#[derive(Serialize)]
struct Link<'a> {
    #[serde(flatten)]
    data: LinkData<'a>,
    updated_at: String,
}

impl<'a> From<&'a StoredLink> for Link<'a> {
    fn from(stored: &'a StoredLink) -> Self {
        let updated_at = stored.updated_at.to_rfc3339_opts(SecondsFormat::Micros, true);
        Self { data: (&stored.link).into(), updated_at }
    }
}

/// A customer's list of links, oldest first, and the cursor that stands for it.
pub(super) struct List {
    links: Vec<StoredLink>,
    pub(super) cursor: String,
}

impl List {
    /// The entities of the links.
    pub(super) fn entities(&self) -> Vec<Uuid> {
        self.links.iter().map(|stored| stored.link.entity_id).collect()
    }

    /// The list as JSON.
    pub(super) fn json(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            bank_links: Vec<Link<'a>>,
            cursor: &'a str,
        }
        let body = Body { bank_links: self.links.iter().map(Link::from).collect(), cursor: &self.cursor };
        // Texts, numbers and times can always be written.
        serde_json::to_string(&body).unwrap_or_default()
    }
}

impl Api {
    /// The list of `customer`: its announced links. A row whose `entity.created` has not arrived yet is in no event and in no list.
    ///
    /// # Errors
    /// [`Problem::Database`].
    pub(super) async fn list(&self, customer: &str) -> Result<List, Problem> {
        let links: Vec<_> =
            self.reader.links(customer).await?.into_iter().filter(|stored| stored.link.linked_at.is_some()).collect();
        let cursor = cursor(&links);
        Ok(List { links, cursor })
    }
}

/// The cursor of the empty list.
pub(super) fn empty_cursor() -> String {
    cursor(&[])
}

/// A digest of what the events about `links` have said: which links there are, their values, and when each was reconnected. It
/// changes if and only if an event is published, so a request that waits does not miss a change.
fn cursor(links: &[StoredLink]) -> String {
    let mut digest = Sha256::new();
    let mut links: Vec<_> = links.iter().map(|stored| &stored.link).collect();
    // `linked_at`, by which the list is sorted, can change without an event.
    links.sort_by_key(|link| link.entity_id);
    for link in links {
        let mut data = LinkData::from(link);
        data.forget_silent_changes();
        digest.update(serde_json::to_vec(&data).unwrap_or_default());
    }
    URL_SAFE_NO_PAD.encode(&digest.finalize()[..15])
}

/// `GET /v1/bank-links/{entity_id}`
pub(super) async fn link(
    State(api): State<Arc<Api>>,
    entity_id: Result<Path<Uuid>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(entity_id) = entity_id.map_err(|_| Problem::UnknownLink)?;
    let found = timeout(READ_DEADLINE, link_reads::of_entity(&api.store, entity_id)).await;
    let found = found.unwrap_or(Err(store::Error::TimedOut)).map_err(|error| Problem::Database(error.class()))?;
    let stored = found.ok_or(Problem::UnknownLink)?;
    let etag = format!("\"{}\"", stored.link.revision);
    let is_known = headers.get_all(IF_NONE_MATCH).iter().any(|value| names(value, &etag));
    let mut response =
        if is_known { StatusCode::NOT_MODIFIED.into_response() } else { Json(Link::from(&stored)).into_response() };
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(ETAG, etag);
    }
    Ok(response)
}

/// Whether a value of `if-none-match` names `etag`, by weak comparison (RFC 9110, section 13.1.2).
fn names(value: &HeaderValue, etag: &str) -> bool {
    let tags = value.to_str().unwrap_or_default().split(',').map(str::trim);
    tags.into_iter().any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}
