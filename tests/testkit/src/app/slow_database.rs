//! Makes PostgreSQL slow for one bank link, and sees that it is.

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use uuid::Uuid;

use super::TestApp;

/// What is slow.
#[derive(Clone, Copy, Debug)]
pub enum Slow {
    /// Inserting the bank link.
    InsertBankLink,
    /// Deleting an event about it.
    DeleteEvent,
}

impl TestApp {
    /// From now on `body`, PL/pgSQL that waits for something, delays what is slow about `entity`.
    pub async fn delay(&self, slow: Slow, entity: Uuid, body: &str) {
        let (operation, row) = match slow {
            Slow::InsertBankLink => ("INSERT ON bank_links", "NEW"),
            Slow::DeleteEvent => ("DELETE ON outbox_events", "OLD"),
        };
        let function = format!(
            "CREATE FUNCTION slow() RETURNS trigger AS \
             $$ BEGIN IF {row}.entity_id = '{entity}' THEN {body} END IF; RETURN {row}; END $$ LANGUAGE plpgsql"
        );
        let trigger = format!("CREATE TRIGGER slow BEFORE {operation} FOR EACH ROW EXECUTE FUNCTION slow()");
        for sql in [function, trigger] {
            self.store.connection().execute_unprepared(&sql).await.expect(&sql);
        }
    }

    /// Whether a session of the app's database waits for `event`, as `pg_stat_activity` calls it.
    pub async fn is_waiting_for(&self, event: &str) -> bool {
        let waiting = format!(
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = '{event}' LIMIT 1"
        );
        let waiting = Statement::from_string(DbBackend::Postgres, waiting);
        self.store.connection().query_one_raw(waiting).await.expect("the sessions").is_some()
    }
}
