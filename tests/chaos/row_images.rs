//! Row images: triggers keep a copy of each bank link after each change, in the transaction that made the change. From these
//! images the judge computes which events subscribers are owed.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use serde_json::Value;

/// The text columns that events publish.
pub(crate) const PUBLISHED_COLUMNS: [&str; 10] = [
    "customer_id",
    "app_user_id",
    "bank_identifier",
    "bank_name",
    "bank_logo",
    "bank_main_color",
    "bank_background_color",
    "bank_swift_code",
    "bank_account_type",
    "bank_type",
];

/// A bank link after one change.
#[derive(Clone, Debug)]
pub(crate) struct RowImage {
    pub(crate) entity_id: String,
    pub(crate) revision: i64,
    pub(crate) version: i64,
    /// In the order of [`PUBLISHED_COLUMNS`].
    pub(crate) published: Vec<Value>,
    pub(crate) permissions: Value,
    pub(crate) linked_at: Option<DateTime<Utc>>,
    pub(crate) reconnected_at: Option<DateTime<Utc>>,
}

/// Creates the triggers. On PostgreSQL, where a fault updates rows without changing them, such an update leaves no image.
pub(crate) async fn create_triggers(database: &DatabaseConnection) -> Result<(), DbErr> {
    if database.get_database_backend() == DbBackend::Postgres {
        database.execute_unprepared(POSTGRES_TRIGGERS).await?;
        return Ok(());
    }
    database.execute_unprepared("CREATE TABLE chaos_images (n INTEGER PRIMARY KEY, image TEXT NOT NULL)").await?;
    let published = PUBLISHED_COLUMNS.map(|column| format!("'{column}', NEW.{column}")).join(", ");
    let image = format!(
        "json_object('entity_id', lower(hex(NEW.entity_id)), 'revision', NEW.revision, 'version', NEW.version, \
         'permissions', json(NEW.permissions), 'linked_at', NEW.linked_at, 'reconnected_at', NEW.reconnected_at, {published})"
    );
    for (name, operation) in [("inserted", "INSERT"), ("updated", "UPDATE")] {
        let trigger = format!(
            "CREATE TRIGGER chaos_{name} AFTER {operation} ON bank_links \
             BEGIN INSERT INTO chaos_images (image) VALUES ({image}); END"
        );
        database.execute_unprepared(&trigger).await?;
    }
    Ok(())
}

const POSTGRES_TRIGGERS: &str = "
    CREATE TABLE chaos_images (n bigserial PRIMARY KEY, image text NOT NULL);
    CREATE FUNCTION chaos_image() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO chaos_images (image) VALUES (to_jsonb(NEW)::text); RETURN NULL; END
    $$;
    CREATE TRIGGER chaos_inserted AFTER INSERT ON bank_links FOR EACH ROW EXECUTE FUNCTION chaos_image();
    CREATE TRIGGER chaos_updated AFTER UPDATE ON bank_links FOR EACH ROW
      WHEN (to_jsonb(OLD) IS DISTINCT FROM to_jsonb(NEW)) EXECUTE FUNCTION chaos_image();
";

/// All images, in the order of the changes.
pub(crate) async fn read_all(database: &DatabaseConnection) -> Result<Vec<RowImage>, DbErr> {
    let backend = database.get_database_backend();
    let all = Statement::from_string(backend, "SELECT image FROM chaos_images ORDER BY n");
    let rows = database.query_all_raw(all).await?;
    rows.iter().map(|row| Ok(parse(&row.try_get::<String>("", "image")?))).collect()
}

fn parse(image: &str) -> RowImage {
    let row: Value = serde_json::from_str(image).expect("an image is JSON");
    let time = |column: &str| {
        let text = row[column].as_str()?.replace(' ', "T");
        Some(DateTime::parse_from_rfc3339(&text).expect("a time").to_utc())
    };
    // SQLite writes a UUID as 32 digits, PostgreSQL with hyphens.
    let entity_id = uuid::Uuid::parse_str(row["entity_id"].as_str().unwrap_or_default()).expect("a UUID");
    RowImage {
        entity_id: entity_id.to_string(),
        revision: row["revision"].as_i64().expect("a revision"),
        version: row["version"].as_i64().expect("a version"),
        published: PUBLISHED_COLUMNS.iter().map(|column| row[*column].clone()).collect(),
        permissions: row["permissions"].clone(),
        linked_at: time("linked_at"),
        reconnected_at: time("reconnected_at"),
    }
}
