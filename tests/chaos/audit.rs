//! Keeps an image of each bank link for each change of it: written by triggers, in the transaction that made the change. From
//! these the judge works out by itself which events subscribers are owed.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, DbErr, Statement};
use serde_json::Value;

/// Everything but its identity that subscribers are told of.
pub(crate) const LOOKS: [&str; 10] = [
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

/// A bank link as one change left it.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) entity: String,
    pub(crate) revision: i64,
    pub(crate) version: i64,
    /// In the order of [`LOOKS`].
    pub(crate) looks: Vec<Value>,
    pub(crate) permissions: Value,
    pub(crate) linked_at: Option<DateTime<Utc>>,
    pub(crate) reconnected_at: Option<DateTime<Utc>>,
}

/// Sets the triggers up. A change that changes nothing, such as a rival's, leaves no image.
pub(crate) async fn begin(database: &DatabaseConnection) -> Result<(), DbErr> {
    if database.get_database_backend() == DbBackend::Postgres {
        database.execute_unprepared(ON_POSTGRES).await?;
        return Ok(());
    }
    database.execute_unprepared("CREATE TABLE chaos_images (n INTEGER PRIMARY KEY, image TEXT NOT NULL)").await?;
    let texts: Vec<String> = LOOKS.iter().map(|column| format!("'{column}', NEW.{column}")).collect();
    let image = format!(
        "json_object('entity_id', lower(hex(NEW.entity_id)), 'revision', NEW.revision, 'version', NEW.version, \
         'permissions', json(NEW.permissions), 'linked_at', NEW.linked_at, 'reconnected_at', NEW.reconnected_at, {})",
        texts.join(", ")
    );
    for (name, when) in [("made", "INSERT"), ("changed", "UPDATE")] {
        let sql = format!(
            "CREATE TRIGGER chaos_{name} AFTER {when} ON bank_links BEGIN INSERT INTO chaos_images (image) VALUES ({image}); END"
        );
        database.execute_unprepared(&sql).await?;
    }
    Ok(())
}

const ON_POSTGRES: &str = "
    CREATE TABLE chaos_images (n bigserial PRIMARY KEY, image text NOT NULL);
    CREATE FUNCTION chaos_image() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN INSERT INTO chaos_images (image) VALUES (to_jsonb(NEW)::text); RETURN NULL; END
    $$;
    CREATE TRIGGER chaos_made AFTER INSERT ON bank_links FOR EACH ROW EXECUTE FUNCTION chaos_image();
    CREATE TRIGGER chaos_changed AFTER UPDATE ON bank_links FOR EACH ROW
      WHEN (to_jsonb(OLD) IS DISTINCT FROM to_jsonb(NEW)) EXECUTE FUNCTION chaos_image();
";

/// Every image, in the order of the changes.
pub(crate) async fn images(database: &DatabaseConnection) -> Result<Vec<Image>, DbErr> {
    let backend = database.get_database_backend();
    let all = Statement::from_string(backend, "SELECT image FROM chaos_images ORDER BY n");
    let rows = database.query_all_raw(all).await?;
    rows.iter().map(|row| Ok(image(&row.try_get::<String>("", "image")?))).collect()
}

fn image(text: &str) -> Image {
    let row: Value = serde_json::from_str(text).expect("an image is JSON");
    let time = |column: &str| {
        let text = row[column].as_str()?.replace(' ', "T");
        Some(DateTime::parse_from_rfc3339(&text).expect("a time").to_utc())
    };
    // SQLite writes a uuid as 32 digits, PostgreSQL with dashes.
    let entity = uuid::Uuid::parse_str(row["entity_id"].as_str().unwrap_or_default()).expect("a uuid");
    Image {
        entity: entity.to_string(),
        revision: row["revision"].as_i64().expect("a revision"),
        version: row["version"].as_i64().expect("a version"),
        looks: LOOKS.iter().map(|column| row[column].clone()).collect(),
        permissions: row["permissions"].clone(),
        linked_at: time("linked_at"),
        reconnected_at: time("reconnected_at"),
    }
}
