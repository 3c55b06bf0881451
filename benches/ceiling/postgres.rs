//! The ceiling's SQL on PostgreSQL: one array for each column, so the statement's text does not depend on the batch
//! size.

use std::str::FromStr;

use anyhow::Result;
use chrono::{TimeDelta, Utc};
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::{self, ConnectOptions, Connection, PgConnection};

use super::event::{LINKED, Linked};
use super::outbox::{BATCH_SIZE, EventPublisher, OutboxEvent};

const UPSERT: &str = "\
    INSERT INTO bank_links (entity_id, customer_id, app_user_id, bank_identifier, bank_name, bank_logo, bank_main_color, \
      bank_background_color, bank_swift_code, bank_account_type, bank_type, permissions, linked_at, reconnected_at, \
      occurred_at, version, revision, last_event_id, instants, created_at, updated_at) \
    SELECT entity_id, customer_id, app_user_id, identifier, name, logo, main_color, background_color, swift_code, \
      account_type, type, permissions::json, occurred_at, NULL, occurred_at, version, 1, last_event_id, '{}', $16, $16 \
    FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], \
      $9::text[], $10::text[], $11::text[], $12::text[], $13::timestamptz[], $14::bigint[], $15::text[]) \
      AS new (entity_id, customer_id, app_user_id, identifier, name, logo, main_color, background_color, swift_code, \
      account_type, type, permissions, occurred_at, version, last_event_id) \
    ON CONFLICT (entity_id) DO UPDATE SET customer_id = excluded.customer_id, app_user_id = excluded.app_user_id, \
      bank_identifier = excluded.bank_identifier, bank_name = excluded.bank_name, bank_logo = excluded.bank_logo, \
      bank_main_color = excluded.bank_main_color, bank_background_color = excluded.bank_background_color, \
      bank_swift_code = excluded.bank_swift_code, bank_account_type = excluded.bank_account_type, \
      bank_type = excluded.bank_type, permissions = excluded.permissions, occurred_at = excluded.occurred_at, \
      version = excluded.version, revision = bank_links.revision + 1, last_event_id = excluded.last_event_id, \
      updated_at = excluded.updated_at \
    WHERE bank_links.version < excluded.version";

const APPEND: &str = "\
    INSERT INTO outbox_events (id, event_type, routing_key, entity_id, payload, received_at, created_at) \
    SELECT id, $6, $6, entity_id, payload::json, received_at, created_at \
    FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::timestamptz[]) \
      AS new (id, entity_id, payload, received_at, created_at) \
    ON CONFLICT (id) DO NOTHING";

const CLAIM: &str = "\
    SELECT id, routing_key, payload::text AS payload FROM outbox_events WHERE refusals < 1 \
    ORDER BY created_at LIMIT $1 FOR UPDATE SKIP LOCKED";

pub(super) async fn connect(url: &str) -> Result<PgConnection> {
    // The planner settings of banklink.
    let planner = [("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("jit", "off")];
    let options = PgConnectOptions::from_str(url)?.options(planner);
    Ok(options.disable_statement_logging().connect().await?)
}

/// Writes rows and events in one transaction.
pub(super) async fn write(connection: &mut PgConnection, links: &[Linked]) -> Result<()> {
    let now = Utc::now();
    let mut transaction = connection.begin().await?;
    let mut upsert = sqlx::query(UPSERT)
        .bind(links.iter().map(|link| link.entity_id).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.customer_id.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.app_user_id.as_deref()).collect::<Vec<_>>());
    for field in 0..8 {
        upsert = upsert.bind(links.iter().map(|link| link.bank[field].as_deref()).collect::<Vec<_>>());
    }
    upsert
        .bind(links.iter().map(|link| link.permissions.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.occurred_at).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.version).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.last_event_id.as_deref()).collect::<Vec<_>>())
        .bind(now)
        .execute(&mut *transaction)
        .await?;
    sqlx::query(APPEND)
        .bind(links.iter().map(|link| link.event_id).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.entity_id).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.event.as_str()).collect::<Vec<_>>())
        .bind(links.iter().map(|link| link.received_at).collect::<Vec<_>>())
        .bind((0..).map(TimeDelta::microseconds).map(|after| now + after).take(links.len()).collect::<Vec<_>>())
        .bind(LINKED)
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(())
}

/// Claims, publishes and deletes a batch of events in one transaction, and returns how many.
pub(super) async fn relay(connection: &mut PgConnection, publisher: &EventPublisher) -> Result<usize> {
    let mut transaction = connection.begin().await?;
    let claimed: Vec<OutboxEvent> = sqlx::query_as(CLAIM).bind(BATCH_SIZE as i64).fetch_all(&mut *transaction).await?;
    publisher.publish(&claimed).await?;
    let ids: Vec<_> = claimed.iter().map(|(id, ..)| *id).collect();
    sqlx::query("DELETE FROM outbox_events WHERE id = ANY($1)").bind(ids).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(claimed.len())
}
