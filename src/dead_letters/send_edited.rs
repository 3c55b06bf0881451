//! A dead letter with another body: sent in as a new message, which says what it was edited from.

use bytes::Bytes;
use uuid::Uuid;

use super::message;
use crate::broker::{self, DEADLINE, Message, Outgoing, Publisher};
use crate::store::dead_letters::{Selected, claim, mark_edited, release_claims};
use crate::store::{self, Store};

/// What can go wrong with an edit.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database is away.
    #[error(transparent)]
    Database(#[from] store::Error),
    /// The broker did not take the message; the letter is dead as before, or will be in half a minute.
    #[error(transparent)]
    Broker(#[from] broker::Error),
}

/// Sends in the letter's message with `body` instead, under a new id but with the old receipt, so that it cannot move a bank
/// link ahead of its time; marks the letter resolved. The new message's id, or `None` if the letter is not dead any more.
///
/// # Errors
/// When a dependency is away. Doing it again may send the new body twice, which changes nothing.
pub async fn send_edited(
    store: &Store,
    publisher: &Publisher,
    chosen: Selected,
    body: Bytes,
    by: &str,
) -> Result<Option<Uuid>, Error> {
    let Some(claimed) = claim(store, &[chosen], by).await?.pop() else { return Ok(None) };
    let old = message(&claimed.letter);
    let id = Uuid::now_v7();
    let new = Message { id: id.to_string(), edited_from: Some(old.id.clone()), replay: None, body, ..old };
    let outgoing = Outgoing::webhook(publisher.connection().topology(), &new);
    if let Err(cause) = publisher.publish(outgoing, DEADLINE).await {
        if cause.is_refusal() {
            release_claims(store, &[claimed.key()]).await?;
        }
        return Err(cause.into());
    }
    mark_edited(store, &claimed, &new.id, by).await?;
    Ok(Some(id))
}
