//! Every command of the runbook works, with its placeholders filled in.

use std::io::Write;

use banklink::store::letters::{Filter, select_dead};
use banklink::store::replays::{NewReplay, create};
use lapin::BasicProperties;
use rstest::rstest;
use serde_json::json;
use testkit::lean_api::LeanApi;
use testkit::{On, SECRET, TestApp, fixtures};
use uuid::Uuid;

const RUNBOOK: &str = include_str!("../../deploy/RUNBOOK.md");

/// The lines of the runbook's shell blocks, without the blocks that say that no test runs them.
fn commands() -> Vec<&'static str> {
    let starts = RUNBOOK.match_indices("```sh\n").map(|(at, fence)| (&RUNBOOK[..at], &RUNBOOK[at + fence.len()..]));
    let is_run = |above: &str| !above.trim_end().lines().next_back().unwrap_or_default().starts_with("<!-- not run by");
    let blocks = starts.filter(|(above, _)| is_run(above)).map(|(_, block)| block);
    let commands: Vec<_> = blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()).collect();
    assert!(commands.len() > 20, "{commands:?}");
    commands
}

/// Splits a command into words; double quotes group.
fn words(command: &str) -> Vec<String> {
    let parts = command.split('"').enumerate();
    parts.fold(Vec::new(), |mut words, (index, part)| {
        if index % 2 == 1 {
            words.push(part.to_owned());
        } else {
            words.extend(part.split_whitespace().map(str::to_owned));
        }
        words
    })
}

/// Makes a dead letter of a reconnect that came before its link, which exists afterwards; its id and its entity.
async fn make_dead_letter(app: &TestApp) -> (Uuid, Uuid) {
    let (id, entity) = (Uuid::now_v7(), Uuid::new_v4());
    let properties = BasicProperties::default().with_message_id(id.to_string().as_str().into());
    let before = app.dead_letters().await.len();
    app.publish(fixtures::reconnected(entity, "2026-06-01T00:00:00Z").to_string().as_bytes(), properties).await;
    app.until_dead(before + 1).await;
    app.post(&fixtures::created(entity)).await.assert_accepted();
    app.wait_until_processed().await;
    (id, entity)
}

/// Makes a replay of one letter that no process works on; its id.
async fn make_replay(app: &TestApp, letter: Uuid) -> i64 {
    let selected = select_dead(&app.store, &Filter { ids: vec![letter], ..Filter::default() }).await.unwrap();
    let new = NewReplay { by: "operator".to_owned(), selection: "{}".to_owned(), ..NewReplay::default() };
    create(&app.store, &new, &selected, None).await.unwrap().id
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn every_command_of_the_runbook_works(#[case] on: On) {
    // One short retry, so that a letter for each command dies soon.
    let app = TestApp::builder(on).schedule("10ms").build().await;
    let origin = app.url.trim_end_matches("/webhooks/lean").to_owned();
    let lean = LeanApi::start([]).await;
    let mut links = tempfile::NamedTempFile::new().unwrap();
    for _ in 0..3 {
        writeln!(links, "{}", fixtures::created(Uuid::new_v4())).unwrap();
    }
    let page = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(page.path(), json!({ "data": [fixtures::created(Uuid::new_v4())], "page": {} }).to_string())
        .unwrap();
    for command in commands() {
        let (id, entity) = make_dead_letter(&app).await;
        let letter = app.dead_letters().await.into_iter().find(|letter| letter.message_id == id).unwrap();
        let body = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(body.path(), json!({ "type": "results.ready", "of": id }).to_string()).unwrap();
        let replay = if command.contains("REPLAY_ID") { make_replay(&app, id).await } else { 0 };
        let filled = command
            .replace("REPLAY_ID", &replay.to_string())
            .replace("MESSAGE_ID", &id.to_string())
            .replace("FINGERPRINT", &letter.fingerprint)
            .replace("ENTITY_ID", &entity.to_string())
            .replace("CUSTOMER_ID", "6bc2336a-6d74-4e59-a492-65313423a8f8")
            .replace("NEW_BODY.json", body.path().to_str().unwrap())
            .replace("LINKS.jsonl", links.path().to_str().unwrap())
            .replace("PAGE.json", page.path().to_str().unwrap())
            .replace("http://127.0.0.1:8080", &origin);
        let words = words(&filled);
        let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
        assert_eq!(arguments[0], "banklink", "{command}");
        let invocation = app.lean_command(&lean, &arguments[1..]);
        let invocation = invocation.env("LEAN_WEBHOOK_SECRETS", SECRET).env("USER", "operator");
        if arguments[1] == "events" {
            let mut tail = invocation.start();
            tail.until_log("waiting for events").await;
            app.post(&fixtures::created(Uuid::new_v4())).await.assert_accepted();
            assert_eq!(tail.ended().await, 0, "{command}: {}", tail.log());
            continue;
        }
        let outcome = invocation.run().await;
        assert_eq!(outcome.code, 0, "{command}: {outcome:?}");
    }
    // The events of every command.
    app.finish_with_leftovers().await;
}
