//! Events that a relay publishes: claimed from `outbox_events`, or leased when they were written.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::outbox_event::{Column, Entity};
use sea_orm::sea_query::{Expr, ExprTrait, LockBehavior, LockType, SimpleExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::bulk_statements::id_in;
use super::{Error, MAX_BINDS, Store, Transaction};

/// Which events were never deferred. It must be the text of the partial index, or PostgreSQL does not use that.
pub(super) const NEW: &str = "refusals < 1";

/// Which events to claim. New and deferred events are claimed apart, so that deferred ones hold up no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due<'a> {
    /// Events that were never deferred and are not leased, appended at this time or later; at any time if it is `None`.
    New(Option<DateTime<Utc>>),
    /// Events of this type that were refused or not answered in time, and whose delay is over.
    Deferred(&'a str),
}

/// An event that waits to be published.
#[derive(Clone, Debug, FromQueryResult)]
pub struct PendingEvent {
    /// The event's id.
    pub id: Uuid,
    /// Its type.
    pub event_type: String,
    /// Its routing key.
    pub routing_key: String,
    /// The bank link that it is about.
    pub entity_id: Uuid,
    /// The whole event as JSON, byte for byte as it was appended.
    pub json: String,
    /// The W3C trace context of the message that caused it.
    pub traceparent: Option<String>,
    /// When that message was received.
    pub received_at: DateTime<Utc>,
    /// How often the event was deferred so far: refused, or not answered in time.
    pub refusals: i32,
    /// When it was appended.
    pub created_at: DateTime<Utc>,
}

/// Events that this relay publishes: no other relay can claim them meanwhile, except those claimed on SQLite. Dropping it releases those
/// that are locked; those that are leased can be claimed once their leases have ended.
pub struct Claim {
    /// The events, oldest first.
    pub events: Vec<PendingEvent>,
    hold: Hold,
    store: Store,
}

/// What keeps other relays away from the events of a claim.
enum Hold {
    /// The row locks of a transaction, on PostgreSQL.
    Locks(Transaction),
    /// The leases that the events were written with, and the ids of those events.
    Leases(Vec<DateTime<Utc>>, Vec<Uuid>),
    /// Nothing, on SQLite: its only writer must not wait for the network.
    Nothing,
}

/// Claims up to `limit` events, oldest first, skipping those that other relays have claimed.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn claim(store: &Store, due: Due<'_>, limit: u64) -> Result<Claim, Error> {
    let generation = store.shared.current();
    let claim = async {
        let (events, hold) = if store.is_sqlite() {
            (select_due(&store.connection(), due, limit).await?, Hold::Nothing)
        } else {
            let transaction = store.begin().await?;
            (select_due(&transaction.connection, due, limit).await?, Hold::Locks(transaction))
        };
        Ok(Claim { events, hold, store: store.same() })
    };
    store.guarded(&generation, claim).await
}

/// The first type after `last_type`, in alphabetical order, of which there are deferred events.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`] when the query fails.
pub async fn next_deferred_type(store: &Store, last_type: &str) -> Result<Option<String>, Error> {
    let select = Entity::find()
        .select_only()
        .column(Column::EventType)
        .filter(Column::RetryAt.is_not_null())
        .filter(Column::EventType.gt(last_type))
        .order_by_asc(Column::EventType)
        .limit(1);
    store.read_quickly(async |connection| Ok(select.into_tuple().one(connection).await?)).await
}

impl Claim {
    /// The claim of events that were written with `leases`, by the process that wrote them.
    pub(super) fn leased(store: &Store, events: Vec<PendingEvent>, leases: Vec<DateTime<Utc>>) -> Self {
        let ids = events.iter().map(|event| event.id).collect();
        Self { events, hold: Hold::Leases(leases, ids), store: store.same() }
    }

    /// Whether no other claim can contain these events: not on SQLite.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        !matches!(self.hold, Hold::Nothing)
    }

    /// Deletes the events in `published`, defers those in `deferred` by the delay beside each, and releases the rest.
    ///
    /// # Errors
    /// [`Error::Unavailable`], [`Error::TimedOut`] or [`Error::Blocked`]. Nothing has changed then: what was published is
    /// published again under the same id.
    pub async fn finish(self, published: &[Uuid], deferred: &[(Uuid, Duration)]) -> Result<(), Error> {
        let (is_ours, rest) = match self.hold {
            Hold::Locks(transaction) => {
                let generation = transaction.generation.clone();
                let finish = async {
                    delete_and_defer(&transaction, published, deferred, &Condition::all()).await?;
                    transaction.commit().await
                };
                return self.store.guarded(&generation, finish).await;
            }
            Hold::Leases(leases, ids) => {
                let settled: HashSet<&Uuid> = published.iter().chain(deferred.iter().map(|(id, _)| id)).collect();
                let rest = ids.into_iter().filter(|id| !settled.contains(id)).collect();
                (Condition::all().add(Column::LeasedUntil.is_in(leases)), rest)
            }
            Hold::Nothing => (Condition::all(), Vec::new()),
        };
        let finish = async |transaction: &Transaction| {
            delete_and_defer(transaction, published, deferred, &is_ours).await?;
            release(transaction, rest, &is_ours).await
        };
        self.store.transaction(finish).await
    }
}

/// Deletes and defers those of the events that `is_ours` is true of.
async fn delete_and_defer(
    transaction: &Transaction,
    published: &[Uuid],
    deferred: &[(Uuid, Duration)],
    is_ours: &Condition,
) -> Result<(), Error> {
    let connection = &transaction.connection;
    for ids in published.chunks(MAX_BINDS / 2) {
        let is_published = id_in(connection, Column::Id, ids.iter().copied());
        Entity::delete_many().filter(is_published).filter(is_ours.clone()).exec(connection).await?;
    }
    // Few delays occur: they depend on the number of refusals before.
    let mut by_delay = BTreeMap::<Duration, Vec<Uuid>>::new();
    for (id, delay) in deferred {
        by_delay.entry(*delay).or_default().push(*id);
    }
    for (delay, ids) in by_delay {
        Entity::update_many()
            .col_expr(Column::Refusals, Expr::col(Column::Refusals).add(1))
            .col_expr(Column::RetryAt, Expr::value(Utc::now() + delay))
            .col_expr(Column::LeasedUntil, no_lease())
            .filter(id_in(connection, Column::Id, ids))
            .filter(is_ours.clone())
            .exec(connection)
            .await?;
    }
    Ok(())
}

/// Ends the leases of events that were not published, so that any relay can claim them at once.
async fn release(transaction: &Transaction, ids: Vec<Uuid>, is_ours: &Condition) -> Result<(), Error> {
    let connection = &transaction.connection;
    for ids in ids.chunks(MAX_BINDS / 2) {
        Entity::update_many()
            .col_expr(Column::LeasedUntil, no_lease())
            .filter(id_in(connection, Column::Id, ids.iter().copied()))
            .filter(is_ours.clone())
            .exec(connection)
            .await?;
    }
    Ok(())
}

fn no_lease() -> SimpleExpr {
    Expr::value(None::<DateTime<Utc>>)
}

async fn select_due(connection: &impl ConnectionTrait, due: Due<'_>, limit: u64) -> Result<Vec<PendingEvent>, Error> {
    let columns = [
        Column::Id,
        Column::EventType,
        Column::RoutingKey,
        Column::EntityId,
        Column::Traceparent,
        Column::ReceivedAt,
        Column::Refusals,
        Column::CreatedAt,
    ];
    let select =
        Entity::find().select_only().columns(columns).expr_as(Expr::col(Column::Payload).cast_as("text"), "json");
    let select = match due {
        Due::New(from) => {
            let is_recent = from.map(|from| Column::CreatedAt.gte(from));
            let is_free = Column::LeasedUntil.is_null().or(Column::LeasedUntil.lte(Utc::now()));
            select
                .filter(Expr::cust(NEW))
                .filter(is_free)
                .filter(Condition::all().add_option(is_recent))
                .order_by_asc(Column::CreatedAt)
        }
        Due::Deferred(event_type) => select
            .filter(Column::EventType.eq(event_type))
            .filter(Column::RetryAt.lte(Utc::now()))
            .order_by_asc(Column::RetryAt),
    };
    // sea-query leaves the lock out on SQLite, which has no row locks.
    let select = select.limit(limit).lock_with_behavior(LockType::Update, LockBehavior::SkipLocked);
    Ok(select.into_model().all(connection).await?)
}
