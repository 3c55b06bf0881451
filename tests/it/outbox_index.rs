//! The index of the outbox after many deletions.

use banklink::store::outbox::{Due, claim};
use banklink::store::{Deadlines, IfMissing, Store};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use testkit::services::Services;
use testkit::waiting::eventually;

/// Until the next vacuum the index of the outbox is full of deleted entries; a claim must not read all of them each time. On a
/// server of its own: a transaction that another test leaves open keeps the deleted entries alive.
#[tokio::test(flavor = "multi_thread")]
async fn deleted_outbox_entries_are_read_once_and_not_by_every_claim() {
    const DELETED: i64 = 30_000;
    const WAITING: i64 = 40;
    const CLAIMS: i64 = 50;
    let services = Services::up("test-outbox-index", &["postgres"]).await;
    let store = Store::open(&services.database_url, IfMissing::Create, Deadlines::default()).await.unwrap();
    migration::up(&store.connection(), "").await.unwrap();
    let database = Database::connect(&services.database_url).await.unwrap();
    let append = |events: i64, refusals: i32| {
        format!(
            "INSERT INTO outbox_events \
                 (id, event_type, routing_key, entity_id, payload, received_at, created_at, refusals, retry_at) \
             SELECT gen_random_uuid(), 'a', 'a', gen_random_uuid(), '{{}}', now(), clock_timestamp(), \
                 {refusals}, CASE WHEN {refusals} > 0 THEN now() + interval '1 h' END \
             FROM generate_series(1, {events})"
        )
    };
    let past = [
        "ALTER TABLE outbox_events SET (autovacuum_enabled = off)",
        &append(DELETED, 0),
        "DELETE FROM outbox_events",
        &append(WAITING, 0),
        &append(2 * WAITING, 1),
        "ANALYZE outbox_events",
    ];
    for sql in past {
        database.execute_unprepared(sql).await.unwrap();
    }
    for _ in 0..CLAIMS {
        let claim = claim(&store, Due::New, 256).await.unwrap();
        assert_eq!(i64::try_from(claim.events.len()), Ok(WAITING));
        claim.finish(&[], &[]).await.unwrap();
    }
    const FLUSH_STATISTICS: &str =
        "DO $$ BEGIN PERFORM pg_stat_force_next_flush(); EXCEPTION WHEN undefined_function THEN NULL; END $$";
    let count = "SELECT idx_scan, idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'outbox_events_fresh'";
    let read = eventually("the statistics of the index", async || {
        // Sessions count locally and publish the numbers on request; before PostgreSQL 15, after a while.
        store.connection().execute_unprepared(FLUSH_STATISTICS).await.unwrap();
        let row = database.query_one_raw(Statement::from_string(DbBackend::Postgres, count)).await.unwrap().unwrap();
        let (scans, read): (i64, i64) = row.try_get_many("", &["idx_scan".into(), "idx_tup_read".into()]).unwrap();
        (scans >= CLAIMS).then_some(read)
    })
    .await;
    assert!(read < 3 * DELETED + CLAIMS * WAITING, "{read} entries were read by {CLAIMS} claims");
    database.close().await.unwrap();
    store.close().await;
}
