//! The operator's commands: look, try one, see beforehand, replay, prove.

use std::collections::BTreeMap;

use banklink::store::dead_letters::{Selected, claim, select_dead};
use lapin::BasicProperties;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::{On, Recipe, TestApp, on_both};
use crate::commands::on;
use crate::fixtures;
use crate::process::Invocation;
use crate::waiting::eventually;

/// `banklink dead-letters …` on an app.
fn dead_letters(app: &TestApp, arguments: &[&str]) -> Invocation {
    on(app, &[&["dead-letters"], arguments].concat()).env("USER", "somebody")
}

/// Runs it with --json, and reads the lines.
async fn lines(app: &TestApp, arguments: &[&str]) -> Vec<Value> {
    let outcome = dead_letters(app, &[arguments, &["--json"]].concat()).run().await;
    assert_eq!(outcome.code, 0, "{arguments:?}: {outcome:?}");
    outcome.stdout.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// Dies of a reconnect that comes before its link, and then the link is there: what a replay can cure.
async fn curable(app: &TestApp, letters: usize) -> Vec<(Uuid, Uuid)> {
    let already = app.dead_letters().await.len();
    let mut made = Vec::new();
    for _ in 0..letters {
        let entity = Uuid::new_v4();
        let id = app.post(&fixtures::reconnected(entity, "2026-06-01T00:00:00Z")).await.assert_accepted();
        made.push((id, entity));
    }
    app.until_dead(already + letters).await;
    for (_, entity) in &made {
        app.post(&fixtures::created(*entity)).await.assert_accepted();
    }
    app.settle_everything().await;
    made
}

async fn states(app: &TestApp) -> BTreeMap<String, usize> {
    let mut states = BTreeMap::new();
    for letter in app.dead_letters().await {
        *states.entry(format!("{} {}", letter.state, letter.outcome.unwrap_or_default())).or_default() += 1;
    }
    states
}

on_both! {
    async fn a_letter_is_listed_counted_shown_and_masked(app: TestApp) {
        let mut wrong = fixtures::created(Uuid::new_v4());
        wrong["payload"]["id"] = json!("nonsense");
        let id = app.post(&wrong).await.assert_accepted().to_string();
        app.post_bytes(b"\x1b[31mno json\xff").await.assert_accepted();
        app.until_dead(2).await;

        let listed = lines(&app, &["list"]).await;
        assert_eq!(listed.len(), 2);
        assert_eq!(listed[0]["failure_class"], "malformed_json", "the newest death first");
        assert_eq!(lines(&app, &["list", "--class", "invalid_webhook", "--since", "1h", "--limit", "5"]).await[0]["message_id"], json!(id));
        assert!(lines(&app, &["list", "--until", "1h"]).await.is_empty());
        assert!(lines(&app, &["list", "--state", "resolved"]).await.is_empty());
        let stats = lines(&app, &["stats"]).await;
        assert_eq!((stats.len(), &stats[0]["count"]), (2, &json!(1)));
        assert_eq!(lines(&app, &["list", "--fingerprint", stats[0]["fingerprint"].as_str().unwrap()]).await.len(), 1);

        let shown = dead_letters(&app, &["show", &id]).run().await;
        assert!(shown.stdout.contains("payload.id: expected a UUID") && shown.stdout.contains("died"), "{}", shown.stdout);
        for secret in ["6bc2336a", "user-1", "Lean Mock Bank"] {
            assert!(!shown.stdout.contains(secret), "{secret} in {}", shown.stdout);
        }
        assert!(lines(&app, &["show", &id]).await[0].get("body").is_none());
        let revealed = dead_letters(&app, &["show", &id, "--reveal", "--by", "anna"]).run().await;
        assert!(revealed.stdout.contains("Lean Mock Bank"), "{}", revealed.stdout);
        let seen = app.history().await.into_iter().find(|entry| entry.action == "revealed").unwrap();
        assert_eq!(seen.by.as_deref(), Some("anna"));
        for line in dead_letters(&app, &["list"]).run().await.stdout.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        assert_eq!(dead_letters(&app, &["show", &Uuid::new_v4().to_string()]).run().await.code, 1);
        app.finish().await;
    }

    async fn a_replay_resolves_what_can_be_cured_and_says_what_became_of_the_rest(app: TestApp) {
        let made = curable(&app, 3).await;
        app.post_bytes(b"garbage").await.assert_accepted();
        app.until_dead(4).await;
        let replayed = dead_letters(&app, &["replay", "--since", "1h", "--yes", "--json", "--by", "anna"]).run().await;
        assert_eq!(replayed.code, 1, "one of them dies again");
        let totals: Value = serde_json::from_str(&replayed.stdout).unwrap();
        let expected = json!({"selected": 4, "replayed": 4, "skipped": 0, "applied": 3, "stale": 0, "ignored": 0, "dead": 1, "under_way": 0});
        assert_eq!(totals, expected);
        for (_, entity) in &made {
            assert!(app.bank_link(*entity).await.unwrap().reconnected_at.is_some());
        }
        let garbage = app.dead_letters().await.into_iter().find(|letter| letter.state == "dead").unwrap();
        assert_eq!((garbage.deaths, garbage.replays, garbage.attempts), (2, 1, 1));
        let story: Vec<_> = app.history().await.into_iter().filter(|e| e.message_id == made[0].0).map(|e| (e.action, e.by)).collect();
        let by = |name: Option<&str>| name.map(str::to_owned);
        assert_eq!(story, [("died".into(), None), ("replayed".into(), by(Some("anna"))), ("resolved".into(), None)]);

        let nothing = dead_letters(&app, &["replay", &made[0].0.to_string(), "--json"]).run().await;
        let totals: Value = serde_json::from_str(&nothing.stdout).unwrap();
        assert_eq!((nothing.code, &totals["selected"], &totals["skipped"]), (0, &json!(1), &json!(1)), "it is resolved");
        app.finish().await;
    }

    async fn a_dry_run_says_what_would_happen_and_does_nothing(app: TestApp) {
        let made = curable(&app, 1).await;
        let entity = made[0].1;
        app.post(&fixtures::reconnected(Uuid::new_v4(), "2026-06-01T00:00:00Z")).await.assert_accepted();
        app.post_bytes(b"garbage").await.assert_accepted();
        app.until_dead(3).await;
        let before = (app.bank_links().await, app.dead_letters().await, app.history().await);
        let rehearsed = lines(&app, &["replay", "--state", "dead", "--dry-run"]).await;
        let mut would: Vec<_> = rehearsed.iter().map(|line| line["would"].as_str().unwrap()).collect();
        would.sort_unstable();
        assert_eq!(would, ["fail", "fail", "update"]);
        let update = rehearsed.iter().find(|line| line["would"] == "update").unwrap();
        assert_eq!(update["events"], json!(["customer.bank_reconnected"]));
        assert_eq!((app.bank_links().await, app.dead_letters().await, app.history().await), before);
        assert!(app.bank_link(entity).await.unwrap().reconnected_at.is_none());
        app.finish().await;
    }

    async fn an_old_letter_changes_only_what_nothing_newer_is_held_for(app: TestApp) {
        let entity = Uuid::new_v4();
        let mut wrong = fixtures::created(entity);
        wrong["banklink_fault"] = json!("panic");
        let id = app.post(&wrong).await.assert_accepted().to_string();
        app.until_dead(1).await;
        app.post(&fixtures::updated(entity, "2026-06-01T00:00:00Z", &json!(["accounts"]))).await.assert_accepted();
        app.settle_everything().await;

        // The fault is edited out: what remains is older than what the link has learnt since.
        wrong["banklink_fault"] = json!("none");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), wrong.to_string()).unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(dead_letters(&app, &["edit", &id, "--body", path]).run().await.code, 2, "nobody is there to say yes");
        let edited = dead_letters(&app, &["edit", &id, "--body", path, "--yes", "--json"]).run().await;
        assert_eq!(edited.code, 0, "{edited:?}");
        assert!(edited.stderr.contains("-  \"banklink_fault\": \"panic\"") && edited.stderr.contains("dry run: update"), "{}", edited.stderr);
        let totals: Value = serde_json::from_str(&edited.stdout).unwrap();
        assert_eq!((&totals["selected"], &totals["replayed"], &totals["skipped"]), (&json!(1), &json!(1), &json!(0)));
        app.settle_everything().await;
        let link = app.bank_link(entity).await.unwrap();
        assert_eq!(link.permissions, json!(["accounts"]), "the past has not won");
        assert!(link.linked_at.is_some(), "and yet it has told when the bank was linked");
        assert_eq!(states(&app).await, BTreeMap::from([("resolved edited".to_owned(), 1)]));
        app.finish().await;
    }

    async fn two_operators_replay_each_letter_once(app: TestApp) {
        curable(&app, 40).await;
        let replay = || dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--json"]).run();
        let (one, other) = tokio::join!(replay(), replay());
        let totals = [&one, &other].map(|outcome| serde_json::from_str::<Value>(&outcome.stdout).unwrap());
        let sum = |name: &str| totals.iter().map(|total| total[name].as_u64().unwrap()).sum::<u64>();
        assert_eq!((sum("replayed"), sum("applied")), (40, 40), "{one:?} {other:?}");
        assert!(app.dead_letters().await.iter().all(|letter| letter.replays == 1 && letter.state == "resolved"));
        app.finish().await;
    }

    async fn a_late_copy_of_an_earlier_life_does_not_touch_the_letter(app: TestApp) {
        let made = curable(&app, 1).await;
        let (id, entity) = made[0];
        let chosen = select_dead(&app.store, &Default::default()).await.unwrap();
        // Claimed twice, as if the first replay had died before it published: the second life is the one that counts.
        claim(&app.store, &chosen, "first").await.unwrap();
        app.sql(
            "UPDATE dead_letters SET claimed_until = '2020-01-01T00:00:00+00:00'",
            "UPDATE dead_letters SET claimed_until = '2020-01-01T00:00:00Z'",
        )
        .await;
        assert_eq!(lines(&app, &["stats"]).await.len(), 1, "a claim that ran out counts as dead");
        let again: Vec<Selected> = select_dead(&app.store, &Default::default()).await.unwrap();
        assert_eq!(claim(&app.store, &again, "second").await.unwrap().len(), 1);
        let copy = |replay: i64| {
            let mut headers = lapin::types::FieldTable::default();
            headers.insert("x-replay".into(), lapin::types::AMQPValue::LongLongInt(replay));
            BasicProperties::default().with_message_id(id.to_string().as_str().into()).with_headers(headers)
        };
        let body = app.dead_letters().await[0].body.clone();
        app.publish_by_hand(&body, copy(1)).await;
        app.settle_everything().await;
        assert!(app.bank_link(entity).await.unwrap().reconnected_at.is_some(), "it is handled like any webhook");
        assert_eq!(states(&app).await, BTreeMap::from([("replaying ".to_owned(), 1)]), "and the letter is left alone");
        app.publish_by_hand(&body, copy(2)).await;
        app.settle_everything().await;
        assert_eq!(states(&app).await, BTreeMap::from([("resolved stale".to_owned(), 1)]));
        app.finish().await;
    }

    async fn letters_are_discarded_with_a_reason_and_pruned_when_they_are_old(app: TestApp) {
        app.post_bytes(b"garbage").await.assert_accepted();
        app.post_bytes(b"more garbage").await.assert_accepted();
        let letters = app.until_dead(2).await;
        let id = letters[0].message_id.to_string();
        let discarded = dead_letters(&app, &["discard", &id, "--reason", "a test", "--json"]).run().await;
        let totals: Value = serde_json::from_str(&discarded.stdout).unwrap();
        assert_eq!((discarded.code, &totals["selected"], &totals["skipped"]), (0, &json!(1), &json!(0)));
        let letter = app.dead_letters().await.into_iter().find(|letter| letter.message_id == letters[0].message_id).unwrap();
        assert_eq!((letter.state.as_str(), letter.note.as_deref()), ("discarded", Some("a test")));
        assert_eq!(dead_letters(&app, &["prune", "--resolved-older-than", "1h"]).run().await.code, 0);
        assert_eq!(app.dead_letters().await.len(), 2, "not old enough");
        assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s", "--dry-run"]).await[0]["pruned"], 1);
        assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s"]).await[0]["pruned"], 1);
        let left = app.dead_letters().await;
        assert_eq!((left.len(), left[0].state.as_str()), (1, "dead"), "what is dead is never pruned");
        assert!(app.history().await.iter().all(|entry| entry.message_id == left[0].message_id));
        app.finish().await;
    }

    async fn thousands_of_old_letters_are_pruned_lot_by_lot(app: TestApp) {
        app.post_bytes(b"garbage").await.assert_accepted();
        app.until_dead(1).await;
        assert_eq!(dead_letters(&app, &["discard", "--state", "dead", "--reason", "x", "--yes"]).run().await.code, 0);
        // Twice as many each time.
        for _ in 0..12 {
            let copy = |new_id: &str| format!(
                "CREATE TABLE copies AS SELECT * FROM dead_letters; UPDATE copies SET message_id = {new_id}; \
                 INSERT INTO dead_letters SELECT * FROM copies; DROP TABLE copies"
            );
            app.sql(&copy("randomblob(16)"), &copy("gen_random_uuid()")).await;
        }
        app.post_bytes(b"more garbage").await.assert_accepted();
        app.until_dead(4_097).await;
        assert_eq!(lines(&app, &["prune", "--resolved-older-than", "0s"]).await[0]["pruned"], 4_096);
        assert_eq!(states(&app).await, BTreeMap::from([("dead ".to_owned(), 1)]));
        app.finish().await;
    }

    /// Whoever may publish may write anything there.
    async fn letters_with_headers_beyond_all_reason_are_listed_and_replayed_like_any(app: TestApp) {
        let mut headers = lapin::types::FieldTable::default();
        headers.insert("x-replay".into(), lapin::types::AMQPValue::LongLongInt(i32::MAX.into()));
        headers.insert("x-attempt".into(), lapin::types::AMQPValue::LongLongInt(u32::MAX.into()));
        for name in ["x-source", "x-edited-from"] {
            headers.insert(name.into(), lapin::types::AMQPValue::LongString("x".repeat(60_000).into()));
        }
        let odd = BasicProperties::default().with_message_id("a\0b".into()).with_headers(headers);
        app.publish_by_hand(b"garbage", odd).await;
        app.until_dead(1).await;
        for replay in 1..=2 {
            assert_eq!(lines(&app, &["list"]).await.len(), 1);
            let replayed = dead_letters(&app, &["replay", "--class", "malformed_json", "--yes"]).run().await;
            assert_eq!(replayed.code, 1, "it dies again: {replayed:?}");
            let letter = &app.dead_letters().await[0];
            assert_eq!((letter.state.as_str(), letter.deaths, letter.replays), ("dead", replay + 1, replay));
        }
        assert_eq!(app.dead_letters().await.len(), 1);
        app.finish().await;
    }

    async fn any_body_is_exported_and_replayed_byte_for_byte(app: TestApp) {
        let bodies: Vec<Vec<u8>> = vec![b"\x00\x00".to_vec(), b"\xff\xfe invalid".to_vec(), vec![b'x'; 200 * 1024], "ع🏦".into()];
        for body in &bodies {
            app.post_bytes(body).await.assert_accepted();
        }
        app.until_dead(bodies.len()).await;
        for letter in app.dead_letters().await {
            let shown = dead_letters(&app, &["show", &letter.message_id.to_string(), "--reveal"]).run().await;
            assert_eq!(shown.code, 0, "always valid UTF-8");
        }
        let decode = |line: &Value| base64::Engine::decode(&base64::prelude::BASE64_STANDARD, line["body"].as_str().unwrap()).unwrap();
        let exported: Vec<Vec<u8>> = lines(&app, &["export"]).await.iter().map(decode).collect();
        assert_eq!(exported, bodies, "oldest first");
        assert_eq!(dead_letters(&app, &["replay", "--state", "dead", "--yes"]).run().await.code, 1);
        let again: Vec<Vec<u8>> = lines(&app, &["export"]).await.iter().map(decode).collect();
        let (mut again, mut bodies) = (again, bodies);
        again.sort();
        bodies.sort();
        assert_eq!(again, bodies);
        assert!(app.dead_letters().await.iter().all(|letter| letter.deaths == 2 && letter.replays == 1));
        assert_eq!(app.history().await.iter().filter(|entry| entry.action == "exported").count(), 8);
        app.finish().await;
    }

    async fn canaries_and_failures_stop_a_replay(app: TestApp) {
        for _ in 0..8 {
            app.post_bytes(b"garbage").await.assert_accepted();
        }
        app.until_dead(8).await;
        let canary = dead_letters(&app, &["replay", "--state", "dead", "--yes", "--json", "--canary", "2"]).run().await;
        let totals: Value = serde_json::from_str(&canary.stdout).unwrap();
        assert_eq!((canary.code, &totals["replayed"], &totals["dead"]), (1, &json!(2), &json!(2)), "{canary:?}");
        assert!(canary.stderr.contains("left alone"), "{}", canary.stderr);
        let stopped = ["replay", "--state", "dead", "--yes", "--json", "--rate", "4/s", "--stop-on-failure", "10"];
        let stopped = dead_letters(&app, &stopped).run().await;
        let totals: Value = serde_json::from_str(&stopped.stdout).unwrap();
        assert!(stopped.code == 1 && totals["replayed"].as_u64() < Some(8), "{stopped:?}");
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_is_said_so() {
    let app = TestApp::start(On::Sqlite).await;
    let id = Uuid::new_v4().to_string();
    for wrong in [
        ["replay"].as_slice(),
        &["discard", "--reason", "x"],
        &["replay", "--class", "nonsense"],
        &["replay", "--class", "panicked"],
        &["discard", "--class", "panicked", "--reason", "x"],
        &["replay", &id, "--class", "panicked", "--yes"],
        &["replay", "no-uuid"],
        &["list", "--since", "someday"],
        &["list", "--state", "limbo"],
        &["list", "--limit", "9223372036854775808"],
        &["discard", &id],
        &["prune"],
        &["show"],
    ] {
        let outcome = dead_letters(&app, wrong).run().await;
        assert_eq!(outcome.code, 2, "{wrong:?}: {outcome:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_without_tables_is_told_what_it_lacks() {
    let app = Recipe { workers: 0, relays: 0, ..Recipe::on(On::Sqlite) }.start().await;
    assert_eq!(on(&app, &["migrate", "down"]).run().await.code, 0);
    for command in [["list"].as_slice(), &["replay", "--class", "panicked", "--yes"]] {
        let outcome = dead_letters(&app, command).run().await;
        assert!(outcome.code == 1 && outcome.stderr.contains("banklink migrate up"), "{command:?}: {outcome:?}");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_interrupted_stops_between_letters_and_says_how_to_go_on() {
    let app = Recipe { workers: 0, ..Recipe::on(On::Postgres) }.start().await;
    let worker = || on(&app, &["run", "worker", "--admin-listen", "127.0.0.1:0"]).start();
    let mut first_worker = worker();
    curable(&app, 100).await;
    // So that nothing is resolved meanwhile.
    assert_eq!(first_worker.terminate().await, 0);
    let replay = ["replay", "--class", "unknown_entity", "--yes", "--json"];
    let mut first = dead_letters(&app, &[&replay[..], &["--rate", "4/s"]].concat()).start();
    let replayed = async || app.dead_letters().await.iter().filter(|letter| letter.replays > 0).count();
    eventually("some are replayed", async || (replayed().await >= 10).then_some(())).await;
    assert_eq!(first.interrupt().await, 1);
    let (log, taken_on) = (first.log(), replayed().await);
    assert!(log.contains("the same command goes on where it stopped"), "{log}");
    let totals = log.lines().find_map(|line| serde_json::from_str::<Value>(line).ok()?.get("replayed")?.as_u64());
    assert_eq!(totals, u64::try_from(taken_on).ok(), "it tells of all that it took on: {log}");
    assert!(taken_on < 100, "it was stopped on its way");
    assert!(app.dead_letters().await.iter().all(|letter| letter.claimed_until.is_none()), "no claim runs out any more");

    let mut second_worker = worker();
    assert_eq!(dead_letters(&app, &replay).run().await.code, 0);
    app.settle_everything().await;
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "resolved" && letter.replays == 1));
    assert_eq!(second_worker.terminate().await, 0);
    app.finish().await;
}

/// kill -9 of the replay and of the worker in the middle: run again, every letter ends resolved and every link is right.
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_killed_is_run_again() {
    let app = Recipe::on(On::Postgres).start().await;
    let made = curable(&app, 300).await;
    let mut first =
        dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--rate", "200/s", "--wait", "0"]).start();
    eventually("some are replayed", async || {
        let replayed = app.dead_letters().await.iter().filter(|letter| letter.replays > 0).count();
        (replayed > 20).then_some(())
    })
    .await;
    first.kill().await;
    // What it had claimed and not published is dead again once the claim has run out.
    app.sql("", "UPDATE dead_letters SET claimed_until = now() - interval '1 s' WHERE claimed_until IS NOT NULL").await;
    let again = dead_letters(&app, &["replay", "--class", "unknown_entity", "--yes", "--json"]).run().await;
    assert_eq!(again.code, 0, "{again:?}");
    eventually("every letter resolved", async || {
        app.dead_letters().await.iter().all(|letter| letter.state == "resolved").then_some(())
    })
    .await;
    for (_, entity) in made {
        assert!(app.bank_link(entity).await.unwrap().reconnected_at.is_some());
    }
    app.finish().await;
}
