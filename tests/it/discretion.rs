//! No log line tells a secret or what a customer's webhook says, whatever happens and however much is logged.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{Answer, On, Recipe, TestApp, amqp_url, postgres_url};
use crate::fixtures;
use crate::process::{Invocation, banklink, until_answers};

const WEBHOOK_SECRET: &str = "webhook-secret-Qm3vT8";
const OTHER_SECRET: &str = "retired-secret-Hn5wK2";
const DATABASE_PASSWORD: &str = "database-password-Zr7xL4";
const WRONG_PASSWORD: &str = "wrong-password-Jd9cP6";
/// Part of everything that the webhooks say.
const SAID: &str = "Vb4nG1";

/// The program, as talkative as it can be made.
fn talkative(app: &TestApp, format: &str, arguments: &[&str], database: &str) -> Invocation {
    banklink(arguments)
        .env("RUST_LOG", "trace")
        .env("BANKLINK_LOG_FORMAT", format)
        .env("AMQP_URL", amqp_url())
        .env("DATABASE_URL", database)
        .env("BANKLINK_NAMESPACE", &app.namespace)
        .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
        .env("BANKLINK_LISTEN", "127.0.0.1:0")
        .env("BANKLINK_ADMIN_LISTEN", "127.0.0.1:0")
        .env("LEAN_WEBHOOK_SECRETS", format!("{WEBHOOK_SECRET},{OTHER_SECRET}"))
}

/// Webhooks of every fate, each saying the word.
fn webhooks(entity: Uuid) -> Vec<Vec<u8>> {
    let created = |entity: Uuid| {
        let mut webhook = fixtures::created(entity);
        for field in
            ["/message", "/payload/customer_id", "/payload/app_user_id", "/payload/bank_details/name", "/event_id"]
        {
            *webhook.pointer_mut(field).unwrap() = json!(format!("{field}-{SAID}"));
        }
        webhook
    };
    let with = |pointer: &str, value: Value| {
        let mut webhook = created(Uuid::new_v4());
        *webhook.pointer_mut(pointer).unwrap() = value;
        webhook
    };
    let mut panicking = created(Uuid::new_v4());
    panicking["banklink_fault"] = json!("panic");
    let mut reconnected = fixtures::reconnected(Uuid::new_v4(), "2026-05-12T14:34:40Z");
    reconnected["payload"]["reconnect_id"] = json!(SAID);
    let webhooks = [
        created(entity),
        panicking,
        reconnected,
        with("/payload/customer_id", json!(format!("refused-{SAID}"))),
        with("/payload/id", json!(format!("no uuid {SAID}"))),
        with("/timestamp", json!(format!("no time {SAID}"))),
        with("/payload/permissions", json!({ SAID: SAID })),
        with("/type", json!(format!("unheard.of.{SAID}"))),
    ];
    let malformed = format!("{{\"type\": \"entity.created\", {SAID}: 5");
    webhooks.iter().map(|webhook| webhook.to_string().into_bytes()).chain([malformed.into_bytes()]).collect()
}

/// A word as a log might show it: as it is, in hex, as a list of bytes, and within base64 wherever it begins.
fn disguises(word: &str) -> Vec<String> {
    let bytes = word.as_bytes();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut disguises = vec![word.to_lowercase(), hex::encode(bytes), decimal.join(", "), decimal.join(",")];
    for before in 0..3 {
        let encoded = STANDARD.encode([&[0; 2][..before], bytes].concat());
        // What the neighbours have no part in.
        let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
        disguises.push(encoded[from..to].to_lowercase());
    }
    disguises
}

fn assert_discreet(log: &str, words: &[&str]) {
    let lower = log.to_lowercase();
    for word in words {
        for disguise in disguises(word) {
            let told = lower.lines().find(|line| line.contains(&disguise));
            assert_eq!(told, None, "{word} as {disguise}");
        }
    }
}

/// What of `edit`'s stderr is a log line, and no difference between bodies that an operator asked to see.
fn logged(stderr: &str) -> String {
    stderr.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect::<Vec<_>>().join("\n")
}

/// The URL of an app's database for a user of its own, whose password is worth looking for.
async fn user_of_its_own(app: &TestApp) -> (String, String) {
    let name = format!("u_{}", Uuid::new_v4().simple());
    app.sql("", &format!("CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{DATABASE_PASSWORD}'")).await;
    let (_, server) = postgres_url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (server, _) = server.split_once('/').unwrap();
    (name.clone(), format!("postgres://{name}:{DATABASE_PASSWORD}@{server}/{}", app.namespace))
}

/// What the commands log while they do what they can with a letter of that id; `body` is a webhook to send or to edit into.
async fn logs_of_commands(talkative: &impl Fn(&[&str]) -> Invocation, url: &str, body: &[u8], letter: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let path = file.path().to_str().unwrap();
    let mut tail = talkative(&["events", "tail", "--count", "1"]).start();
    tail.until_log("waiting for events").await;
    let mut log = tail.log();
    tail.terminate().await;
    log += &logged(&talkative(&["dead-letters", "edit", letter, "--yes", "--body", path]).run().await.stderr);
    for (command, status) in [
        (["send", path, "--url", url].as_slice(), 0),
        (&["send", path, "--url", &url.replace("lean", "nowhere")], 1),
        (&["check"], 0),
        (&["migrate", "status"], 0),
        (&["topology", "apply"], 0),
        (&["dead-letters", "replay", "--class", "panicked", "--dry-run"], 0),
        (&["dead-letters", "replay", "--class", "panicked", "--yes"], 1),
        (&["dead-letters", "list"], 0),
        (&["dead-letters", "stats"], 0),
        (&["dead-letters", "prune", "--resolved-older-than", "1h"], 0),
        (&["dead-letters", "show", letter, "--reveal"], 0),
        (&["dead-letters", "export"], 0),
        (&["dead-letters", "discard", "--class", "panicked", "--yes", "--reason", "a test"], 0),
    ] {
        let outcome = talkative(command).run().await;
        assert_eq!(outcome.code, status, "{command:?}: {outcome:?}");
        log += &outcome.stderr;
    }
    log
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_tells_a_secret_or_a_body_at_any_level_in_either_format() {
    tokio::join!(no_log_tells("json"), no_log_tells("text"));
}

async fn no_log_tells(format: &str) {
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(On::Postgres) }.start().await;
    let (user, database) = user_of_its_own(&app).await;
    let refused = format!("ALTER TABLE bank_links ADD CHECK (customer_id <> 'refused-{SAID}')");
    app.sql("", &refused).await;

    let talkative = |arguments: &[&str]| talkative(&app, format, arguments, &database);
    let mut running = talkative(&["run"]).start();
    let (url, admin) = (running.url().await, running.admin().await);
    until_answers(&admin, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    let webhooks = webhooks(entity);
    for (secret, body) in [WEBHOOK_SECRET, OTHER_SECRET].into_iter().cycle().zip(&webhooks) {
        let post = app.http.post(&url).header("lean-signature", fixtures::signature(secret, body));
        Answer::read(post.body(body.clone()).send().await.unwrap()).await.assert_accepted();
    }
    let unsigned = app.http.post(&url).header("lean-signature", SAID).body(webhooks[0].clone()).send().await.unwrap();
    assert_eq!(unsigned.status(), 401);
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(entity));
    let letters = app.until_dead(7).await;
    assert_eq!(letters.len(), 7, "all but the one applied and the one ignored");
    assert!(
        letters.iter().any(|letter| letter.failure.starts_with("a panic at src/failpoints.rs:")),
        "where, and not what"
    );

    let mut log = logs_of_commands(&talkative, &url, &webhooks[0], &letters[0].message_id.to_string()).await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    log += &running.log();
    assert!(log.contains("DEBUG") && log.contains("a webhook is dead"), "it was talkative");

    // What does not answer, and what does not let us in, is told of without the password.
    let (_, broker) = amqp_url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let wrong = talkative(&["run"])
        .env("DATABASE_URL", database.replace(DATABASE_PASSWORD, WRONG_PASSWORD))
        .env("AMQP_URL", format!("amqp://nobody:{WRONG_PASSWORD}@{broker}"));
    let mut wrong = wrong.start();
    wrong.until_log("no connection to RabbitMQ").await;
    wrong.until_log("waiting for the database").await;
    wrong.terminate().await;
    log += &wrong.log();

    let words =
        [WEBHOOK_SECRET, OTHER_SECRET, DATABASE_PASSWORD, WRONG_PASSWORD, SAID, "guest:guest", &entity.to_string()];
    assert_discreet(&log, &words);
    let server = Database::connect(postgres_url()).await.unwrap();
    app.finish().await;
    server.execute_unprepared(&format!("DROP ROLE {user}")).await.unwrap();
}
