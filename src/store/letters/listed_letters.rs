//! Finds the letters of webhooks that Lean lists: they are accounted for, because an operator decides about them.

use std::collections::BTreeSet;

use entity::dead_letter::{Column, Entity};
use sea_orm::sea_query::ExprTrait;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::Letter;
use crate::domain::failure::FailureClass;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Store};

/// Maximum letters of one query, because their bodies are read. A webhook whose letter is not among them is sent again, and is then
/// found by the id of its message.
const MAX_LETTERS: u64 = 200;

/// Where the letters of listed webhooks may be found.
#[derive(Clone, Debug, Default)]
pub struct ListedKeys {
    /// The ids of the messages that the webhooks would be sent as.
    pub message_ids: BTreeSet<Uuid>,
    /// The entities that the webhooks are about.
    pub entity_ids: BTreeSet<Uuid>,
    /// The fingerprints of the failures (`invalid_webhook`) of webhooks that name no entity.
    pub fingerprints: BTreeSet<String>,
}

/// The letters with one of those ids, the newest ones about one of those entities, and the newest open ones without an entity that
/// have one of those fingerprints.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when a query fails.
pub async fn of_listed(store: &Store, keys: &ListedKeys) -> Result<Vec<Letter>, Error> {
    store
        .read(async |connection| {
            let newest = |condition: Condition| {
                let newest_first = Entity::find().filter(condition).order_by_desc(Column::LastDiedAt);
                newest_first.limit(MAX_LETTERS)
            };
            let with_id = id_in(connection, Column::MessageId, keys.message_ids.iter().copied());
            let mut letters = Entity::find().filter(with_id).all(connection).await?;
            if !keys.entity_ids.is_empty() {
                let about = id_in(connection, Column::EntityId, keys.entity_ids.iter().copied());
                letters.extend(newest(Condition::all().add(about)).all(connection).await?);
            }
            if !keys.fingerprints.is_empty() {
                // The partial index of open letters is used only if the query repeats its condition.
                let alike = Column::ResolvedAt
                    .is_null()
                    .and(Column::FailureClass.eq(FailureClass::InvalidWebhook.as_str()))
                    .and(Column::Fingerprint.is_in(keys.fingerprints.iter()))
                    .and(Column::EntityId.is_null());
                letters.extend(newest(Condition::all().add(alike)).all(connection).await?);
            }
            Ok(letters)
        })
        .await
}
