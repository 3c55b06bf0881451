//! Records dead messages. It never fails because of what a message contains: there is no other place to put the message.
//!
//! A death changes an existing letter only if it belongs to the letter's current replay: the message's `x-replay` must equal the
//! letter's `replays`. So late copies from earlier replays change nothing.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use entity::{dead_letter, dead_letter_history};
use sea_orm::ActiveValue::NotSet;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter};
use uuid::Uuid;

use super::{Action, Letter, insert_history, is_current, lock_letters, saturating_i32, storable};
use crate::domain::dead_letter::{DeadMessage, State, fingerprint};
use crate::domain::webhook::peek_type_and_entity;
use crate::store::bulk_statements::id_in;
use crate::store::{Error, Transaction};

/// Records `deaths`. Recording the same death again changes nothing.
///
/// # Errors
/// [`Error::Contended`] when another transaction has inserted the same new letter: try again. [`Error::Unavailable`] or
/// [`Error::Blocked`] when a query fails.
pub async fn record(transaction: &Transaction, deaths: &[&DeadMessage]) -> Result<(), Error> {
    let ids: BTreeSet<Uuid> = deaths.iter().flat_map(|death| death.letter_ids()).collect();
    let mut letters = lock_letters(transaction, &ids).await?;
    let mut recorded = recorded_deaths(transaction, &ids).await?;
    let (mut new, mut changed, mut history) = (BTreeSet::new(), BTreeSet::new(), Vec::new());

    for death in deaths {
        let Some(id) = letter_id(&letters, death) else { continue };
        let at = death.at.to_micros();
        // RabbitMQ reports some deaths in whole seconds, so two replays may have ended at the same time.
        let ends_replay = letters.get(&id).is_some_and(|letter| {
            State::parse(&letter.state) == Some(State::Replaying)
                && is_current(letter.replays, &letter.state, death.replay)
        });
        if recorded.contains(&(id, at)) && !ends_replay {
            continue;
        }
        match letters.get_mut(&id) {
            None => {
                letters.insert(id, new_letter(id, death));
                new.insert(id);
            }
            Some(letter) if is_current(letter.replays, &letter.state, death.replay) => {
                apply_death(letter, death);
                changed.insert(id);
            }
            Some(_) => continue,
        }
        recorded.insert((id, at));
        let detail = Some(storable(&format!("{}: {}", death.failure.class, death.failure.reason)));
        history.push(Action::Died.entry(id, at, None, detail));
    }

    insert_letters(transaction, new.iter().filter_map(|id| letters.get(id)).cloned().collect()).await?;
    for letter in changed.difference(&new).filter_map(|id| letters.get(id)).cloned() {
        let mut letter = letter.into_active_model().reset_all();
        letter.body = NotSet;
        letter.update(&transaction.connection).await?;
    }
    insert_history(transaction, &history).await
}

/// The id of the letter of `death`: that of its letter or, if it has none yet, the first one that is free. `None` in practice never:
/// it would take a letter for each of its ids that cannot be its own.
fn letter_id(letters: &BTreeMap<Uuid, Letter>, death: &DeadMessage) -> Option<Uuid> {
    let may_be_its_own = |letter: &Letter| {
        let is_open = State::parse(&letter.state).is_some_and(State::is_open);
        letter.body == death.body && (is_open || letter.received_nanos == death.received_at.nanos())
    };
    death.letter_ids().into_iter().find(|id| letters.get(id).is_none_or(may_be_its_own))
}

/// The deaths in the history of `ids`, as letter and time.
async fn recorded_deaths(
    transaction: &Transaction,
    ids: &BTreeSet<Uuid>,
) -> Result<HashSet<(Uuid, DateTime<Utc>)>, Error> {
    use dead_letter_history::{Column, Entity};
    let deaths = Entity::find()
        .filter(id_in(&transaction.connection, Column::MessageId, ids.iter().copied()))
        .filter(Column::Action.eq(Action::Died.as_str()))
        .all(&transaction.connection)
        .await?;
    Ok(deaths.into_iter().map(|death| (death.message_id, death.at)).collect())
}

async fn insert_letters(transaction: &Transaction, letters: Vec<Letter>) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let expected = letters.len() as u64;
    let letters = letters.into_iter().map(|letter| letter.into_active_model().reset_all());
    let inserted = dead_letter::Entity::insert_many(letters)
        .on_conflict(OnConflict::column(dead_letter::Column::MessageId).do_nothing().to_owned())
        .exec_without_returning(&transaction.connection)
        .await?;
    if inserted == expected { Ok(()) } else { Err(Error::Contended) }
}

fn new_letter(id: Uuid, death: &DeadMessage) -> Letter {
    let (event_type, entity_id) = peek_type_and_entity(&death.body);
    // An id that cannot be stored unchanged is left out. A replay then carries the letter's `message_id` instead.
    let has_other_id = death.wire_id != id.to_string() && storable(&death.wire_id) == death.wire_id;
    // `apply_death` sets the columns about the death; the others are null.
    let mut letter = Letter {
        message_id: id,
        source: storable(&death.source),
        body: death.body.to_vec(),
        event_type: event_type.map(|event_type| storable(&event_type)),
        entity_id,
        received_at: death.received_at.to_micros(),
        first_died_at: death.at.to_micros(),
        replays: saturating_i32(death.replay),
        wire_id: has_other_id.then(|| death.wire_id.clone()),
        received_nanos: death.received_at.nanos(),
        edited_from: death.edited_from.as_deref().map(storable),
        traceparent: death.traceparent.as_deref().map(storable),
        ..Letter::default()
    };
    apply_death(&mut letter, death);
    letter
}

fn apply_death(letter: &mut Letter, death: &DeadMessage) {
    death.failure.class.as_str().clone_into(&mut letter.failure_class);
    letter.failure = storable(&death.failure.reason);
    letter.fingerprint = fingerprint(death.failure.class, &letter.failure);
    letter.attempts = saturating_i32(death.attempt);
    letter.last_died_at = death.at.to_micros();
    letter.deaths += 1;
    State::Dead.as_str().clone_into(&mut letter.state);
    letter.claimed_until = None;
}
