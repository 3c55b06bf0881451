//! Records deaths. It never fails on content, for it is the last place a message comes to.
//!
//! A letter is changed only by a death in the life that it is in: the message's `x-replay` has to equal its `replays`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use entity::{dead_letter, dead_letter_history};
use sea_orm::ActiveValue::NotSet;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveModelTrait, ColumnTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect};
use uuid::Uuid;

use super::{Action, Line, clean, count, write};
use crate::domain::dead_letter::{DeadMessage, State, fingerprint};
use crate::domain::webhook::peek_type_and_entity;
use crate::store::id_in::id_in;
use crate::store::{Error, Transaction};

/// Records `deaths`, each once, however often it is handed in.
///
/// # Errors
/// [`Error::Contended`] when another recorder met the same new letter first: to be tried again; else the database is away.
pub async fn record(transaction: &Transaction, deaths: &[DeadMessage]) -> Result<(), Error> {
    let ids: BTreeSet<Uuid> = deaths.iter().flat_map(|died| [died.letter_id(), died.derived_id()]).collect();
    let mut letters = known(transaction, &ids).await?;
    let mut recorded = recorded(transaction, &ids).await?;
    let (mut new, mut changed, mut history) = (BTreeSet::new(), BTreeSet::new(), Vec::new());

    for died in deaths {
        let own = died.letter_id();
        let is_anothers = letters.get(&own).is_some_and(|letter| letter.body != died.body);
        let id = if is_anothers { died.derived_id() } else { own };
        let at = died.at.to_micros();
        // RabbitMQ tells of the end of some in whole seconds: two lives may have ended in the same one.
        let ends_a_replay = letters.get(&id).is_some_and(|letter| is_replaying(letter) && belongs_to(died, letter));
        if recorded.contains(&(id, at)) && !ends_a_replay {
            continue;
        }
        match letters.get_mut(&id) {
            None => {
                letters.insert(id, first_death(id, died));
                new.insert(id);
            }
            Some(letter) if belongs_to(died, letter) => {
                further_death(letter, died);
                changed.insert(id);
            }
            Some(_) => continue,
        }
        recorded.insert((id, at));
        let told = format!("{}: {}", died.failure.class, died.failure.reason);
        history.push(Line::new(id, at, None, Action::Died, Some(&told)));
    }

    insert(transaction, new.iter().filter_map(|id| letters.get(id)).cloned().collect()).await?;
    for letter in changed.difference(&new).filter_map(|id| letters.get(id)).cloned() {
        let mut letter = letter.into_active_model().reset_all();
        letter.body = NotSet;
        letter.update(&transaction.0).await?;
    }
    write(transaction, &history).await
}

/// The letters of those ids, locked on PostgreSQL against operators and other recorders.
pub(super) async fn known(
    transaction: &Transaction,
    ids: &BTreeSet<Uuid>,
) -> Result<BTreeMap<Uuid, dead_letter::Model>, Error> {
    let letters = dead_letter::Entity::find()
        .filter(id_in(&transaction.0, dead_letter::Column::MessageId, ids.iter().copied()))
        .order_by_asc(dead_letter::Column::MessageId)
        .lock_exclusive()
        .all(&transaction.0)
        .await?;
    Ok(letters.into_iter().map(|letter| (letter.message_id, letter)).collect())
}

/// The deaths already told of, by letter and time.
async fn recorded(transaction: &Transaction, ids: &BTreeSet<Uuid>) -> Result<HashSet<(Uuid, DateTime<Utc>)>, Error> {
    use dead_letter_history::{Column, Entity};
    let deaths = Entity::find()
        .filter(id_in(&transaction.0, Column::MessageId, ids.iter().copied()))
        .filter(Column::Action.eq(Action::Died.as_str()))
        .all(&transaction.0)
        .await?;
    Ok(deaths.into_iter().map(|death| (death.message_id, death.at)).collect())
}

async fn insert(transaction: &Transaction, letters: Vec<dead_letter::Model>) -> Result<(), Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let expected = letters.len() as u64;
    let letters = letters.into_iter().map(|letter| letter.into_active_model().reset_all());
    let inserted = dead_letter::Entity::insert_many(letters)
        .on_conflict(OnConflict::column(dead_letter::Column::MessageId).do_nothing().to_owned())
        .exec_without_returning(&transaction.0)
        .await?;
    if inserted == expected { Ok(()) } else { Err(Error::Contended) }
}

/// Whether a death is one of the letter's present life, and the letter is still open to it.
fn belongs_to(died: &DeadMessage, letter: &dead_letter::Model) -> bool {
    count(died.replay) == letter.replays && State::parse(&letter.state).is_some_and(State::is_open)
}

fn is_replaying(letter: &dead_letter::Model) -> bool {
    State::parse(&letter.state) == Some(State::Replaying)
}

fn first_death(id: Uuid, died: &DeadMessage) -> dead_letter::Model {
    let (event_type, entity_id) = peek_type_and_entity(&died.body);
    let mut letter = dead_letter::Model {
        message_id: id,
        source: clean(&died.source),
        body: died.body.to_vec(),
        event_type: event_type.map(|event_type| clean(&event_type)),
        entity_id,
        failure_class: String::new(),
        failure: String::new(),
        fingerprint: String::new(),
        attempts: 0,
        received_at: died.received_at.to_micros(),
        first_died_at: died.at.to_micros(),
        last_died_at: died.at.to_micros(),
        deaths: 0,
        state: String::new(),
        outcome: None,
        replays: count(died.replay),
        replayed_at: None,
        replayed_by: None,
        resolved_at: None,
        note: None,
        // One that cannot be kept as it is would not lead back to this letter; its own id does.
        wire_id: (died.wire_id != id.to_string() && clean(&died.wire_id) == died.wire_id).then(|| died.wire_id.clone()),
        received_nanos: died.received_at.nanos(),
        edited_from: died.edited_from.as_deref().map(clean),
        traceparent: died.traceparent.as_deref().map(clean),
        claimed_until: None,
    };
    further_death(&mut letter, died);
    letter
}

fn further_death(letter: &mut dead_letter::Model, died: &DeadMessage) {
    died.failure.class.as_str().clone_into(&mut letter.failure_class);
    letter.failure = clean(&died.failure.reason);
    letter.fingerprint = fingerprint(died.failure.class, &letter.failure);
    letter.attempts = count(died.attempt);
    letter.last_died_at = died.at.to_micros();
    letter.deaths += 1;
    State::Dead.as_str().clone_into(&mut letter.state);
    letter.claimed_until = None;
}
