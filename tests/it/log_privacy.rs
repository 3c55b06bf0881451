//! No log line and no span contains a secret or the content of a webhook, at any log level.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rstest::rstest;
use sea_orm::{ConnectionTrait, Database};
use serde_json::{Value, json};
use testkit::http::Answer;
use testkit::otlp::Receiver;
use testkit::process::{Invocation, until_answers};
use testkit::{On, TestApp, amqp_url, fixtures, postgres_url};
use uuid::Uuid;

const WEBHOOK_SECRET: &str = "webhook-secret-Qm3vT8";

const OTHER_SECRET: &str = "retired-secret-Hn5wK2";

const DATABASE_PASSWORD: &str = "database-password-Zr7xL4";

const WRONG_PASSWORD: &str = "wrong-password-Jd9cP6";

/// A word in every field of every webhook.
const CONTENT: &str = "Vb4nG1";

/// The program at log level trace.
fn verbose(app: &TestApp, format: &str, arguments: &[&str], database: &str) -> Invocation {
    app.command(arguments)
        .on_free_ports()
        .env("RUST_LOG", "trace")
        .env("BANKLINK_LOG_FORMAT", format)
        .env("DATABASE_URL", database)
        .env("LEAN_WEBHOOK_SECRETS", format!("{WEBHOOK_SECRET},{OTHER_SECRET}"))
}

/// Webhooks of every outcome, each with the word.
fn webhooks(entity: Uuid) -> Vec<Vec<u8>> {
    let created = |entity: Uuid| {
        let mut webhook = fixtures::created(entity);
        for field in
            ["/message", "/payload/customer_id", "/payload/app_user_id", "/payload/bank_details/name", "/event_id"]
        {
            *webhook.pointer_mut(field).unwrap() = json!(format!("{field}-{CONTENT}"));
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
    reconnected["payload"]["reconnect_id"] = json!(CONTENT);
    let webhooks = [
        created(entity),
        panicking,
        reconnected,
        with("/payload/customer_id", json!(format!("refused-{CONTENT}"))),
        with("/payload/id", json!(format!("not a UUID {CONTENT}"))),
        with("/timestamp", json!(format!("not a time {CONTENT}"))),
        with("/payload/permissions", json!([format!("{CONTENT}\u{0}")])),
        // The type itself is logged, so that operators learn of new ones.
        with("/type", json!("unheard.of")),
    ];
    let malformed = format!("{{\"type\": \"entity.created\", {CONTENT}: 5");
    webhooks.iter().map(|webhook| webhook.to_string().into_bytes()).chain([malformed.into_bytes()]).collect()
}

/// The forms in which a log might show a word: as text, in hex, as a list of bytes, and within base64 at any offset.
fn encodings(word: &str) -> Vec<String> {
    let bytes = word.as_bytes();
    let decimal = bytes.iter().map(u8::to_string).collect::<Vec<_>>();
    let mut encodings = vec![word.to_lowercase(), hex::encode(bytes), decimal.join(", "), decimal.join(",")];
    for before in 0..3 {
        let encoded = STANDARD.encode([&[0; 2][..before], bytes].concat());
        // The digits that depend on the word alone.
        let (from, to) = ((before * 8).div_ceil(6), (before + bytes.len()) * 8 / 6);
        encodings.push(encoded[from..to].to_lowercase());
    }
    encodings
}

fn assert_private(log: &str, words: &[&str]) {
    let lower = log.to_lowercase();
    for word in words {
        for encoding in encodings(word) {
            let line = lower.lines().find(|line| line.contains(&encoding));
            assert_eq!(line, None, "{word} as {encoding}");
        }
    }
}

/// The log lines in the stderr of `edit`, which also prints the difference between the two bodies.
fn log_lines(stderr: &str) -> String {
    stderr.lines().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect::<Vec<_>>().join("\n")
}

/// Creates a database user with a recognisable password; returns its name and the URL of the app's database.
async fn create_user(app: &TestApp) -> (String, String) {
    let name = format!("u_{}", Uuid::new_v4().simple());
    app.sql("", &format!("CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{DATABASE_PASSWORD}'")).await;
    let (_, server) = postgres_url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let (server, _) = server.split_once('/').unwrap();
    (name.clone(), format!("postgres://{name}:{DATABASE_PASSWORD}@{server}/{}", app.namespace))
}

/// The logs of every command, run on the dead letter `letter`; `body` is the webhook for `send` and `edit`.
async fn logs_of_commands(verbose: &impl Fn(&[&str]) -> Invocation, url: &str, body: &[u8], letter: &str) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), body).unwrap();
    let path = file.path().to_str().unwrap();
    let mut tail = verbose(&["events", "tail", "--count", "1"]).start();
    tail.until_log("waiting for events").await;
    let mut log = tail.log();
    tail.terminate().await;
    log += &log_lines(&verbose(&["dead-letters", "edit", letter, "--yes", "--body", path]).run().await.stderr);
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
        let outcome = verbose(command).run().await;
        assert_eq!(outcome.code, status, "{command:?}: {outcome:?}");
        log += &outcome.stderr;
    }
    log
}

#[rstest]
#[case::json("json")]
#[case::text("text")]
#[tokio::test(flavor = "multi_thread")]
async fn no_log_contains_a_secret_or_a_body(#[case] format: &str) {
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).build().await;
    let (user, database) = create_user(&app).await;
    let refused = format!("ALTER TABLE bank_links ADD CHECK (customer_id <> 'refused-{CONTENT}')");
    app.sql("", &refused).await;

    let verbose = |arguments: &[&str]| verbose(&app, format, arguments, &database);
    let words = [WEBHOOK_SECRET, OTHER_SECRET, DATABASE_PASSWORD, CONTENT, "guest:guest"];
    let receiver = Receiver::start().await;
    let mut running = verbose(&["run"]).env("OTEL_EXPORTER_OTLP_ENDPOINT", &receiver.endpoint).start();
    let (url, admin) = (running.url().await, running.admin().await);
    until_answers(&admin, "/readyz", 200).await;
    let entity = Uuid::new_v4();
    let webhooks = webhooks(entity);
    for (secret, body) in [WEBHOOK_SECRET, OTHER_SECRET].into_iter().cycle().zip(&webhooks) {
        let post = app.http.post(&url).header("lean-signature", fixtures::signature(secret, body));
        Answer::read(post.body(body.clone()).send().await.unwrap()).await.assert_accepted();
    }
    let unsigned =
        app.http.post(&url).header("lean-signature", CONTENT).body(webhooks[0].clone()).send().await.unwrap();
    assert_eq!(unsigned.status(), 401);
    assert_eq!(app.next_event().await["data"]["entity_id"], json!(entity));
    let letters = app.until_dead(7).await;
    assert_eq!(letters.len(), 7, "all but one applied and one ignored webhook");
    assert!(
        letters.iter().any(|letter| letter.failure.starts_with("a panic at src/failpoints.rs:")),
        "the reason names the position of the panic, not its message"
    );

    let mut log = logs_of_commands(&verbose, &url, &webhooks[0], &letters[0].message_id.to_string()).await;
    assert_eq!(running.terminate().await, 0, "{}", running.log());
    log += &running.log();
    let spans = receiver.spans();
    assert!(spans.iter().any(|span| span.is_error) && spans.len() > 20, "{spans:?}");
    assert_private(&format!("{spans:?}"), &words);
    assert!(log.contains("DEBUG") && log.contains("a webhook is dead"), "the log is verbose");

    // Failed logins are logged without the password.
    let (_, broker) = amqp_url().rsplit_once('@').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let wrong = verbose(&["run"])
        .env("DATABASE_URL", database.replace(DATABASE_PASSWORD, WRONG_PASSWORD))
        .env("AMQP_URL", format!("amqp://stranger:{WRONG_PASSWORD}@{broker}"));
    let mut wrong = wrong.start();
    wrong.until_log("no connection to RabbitMQ").await;
    wrong.until_log("waiting for the database").await;
    wrong.terminate().await;
    log += &wrong.log();

    assert_private(&log, &words);
    assert_private(&log, &[WRONG_PASSWORD, &entity.to_string()]);
    let server = Database::connect(postgres_url()).await.unwrap();
    app.finish_with_leftovers().await;
    server.execute_unprepared(&format!("DROP ROLE {user}")).await.unwrap();
}
