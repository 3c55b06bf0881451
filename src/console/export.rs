//! Downloads letters with their bodies, once that is in their history.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State as Shared;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use uuid::Uuid;

use super::Console;
use super::fault::Fault;
use super::fields::Fields;
use super::selection::Selection;
use super::visit::Visit;
use crate::dead_letters::letter_object_with_body;
use crate::store::letters::{self, Action, Selected, batches, load_selected, record_access};
use crate::store::{self, Store};

/// Maximum letters in memory.
const BATCH: usize = 200;

/// `POST /letters/export`: the letters as JSON Lines, as `banklink dead-letters export` writes them.
pub(super) async fn export(
    Shared(console): Shared<Arc<Console>>,
    Extension(visit): Extension<Visit>,
    body: Bytes,
) -> Result<Response, Fault> {
    let fields = Fields::of_form(&body);
    let (selection, reason) = (Selection::read(&fields)?, fields.reason()?.to_owned());
    let selected = letters::select(&console.store, &selection.filter).await?;
    tracing::warn!(action = "exported", console.user = visit.user, letters = selected.len(), "customer data is shown");
    let batches: Vec<Vec<Selected>> = batches(&selected, BATCH).map(<[Selected]>::to_vec).collect();
    let (store, by) = (console.store.clone(), visit.user);
    let first = (store, by, reason, batches.into_iter());
    let lines = stream::unfold(Some(first), async |next| {
        let (store, by, reason, mut batches) = next?;
        let batch = batches.next()?;
        match lines(&store, &batch, &by, &reason).await {
            Ok(lines) => Some((Ok(lines), Some((store, by, reason, batches)))),
            // Cuts the connection, so that a part is not taken for all.
            Err(error) => Some((Err(error), None)),
        }
    });
    let headers = [
        (CONTENT_TYPE, "application/jsonl"),
        (CONTENT_DISPOSITION, "attachment; filename=\"banklink-dead-letters.jsonl\""),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// The letters, a line each. Who sees them, and why, is in their history before.
async fn lines(store: &Store, selected: &[Selected], by: &str, reason: &str) -> Result<String, store::Error> {
    let letters = load_selected(store, selected).await?;
    let ids: Vec<Uuid> = letters.iter().map(|letter| letter.message_id).collect();
    record_access(store, &ids, Action::Exported, by, Some(reason)).await?;
    Ok(letters.iter().map(|letter| format!("{}\n", letter_object_with_body(letter))).collect())
}
