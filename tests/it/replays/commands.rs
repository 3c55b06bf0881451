//! `banklink dead-letters replays`: list, show, pause, resume, cancel, and what `replay` and `prune` have to do with replays.

use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp};

use super::{EXPIRE_LEASES, abandoned, bad_letters, good_letters, replays, show, totals, worker};

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_listed_and_shown_with_what_became_of_its_letters(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    good_letters(&app, 3).await;
    bad_letters(&app, 1).await;
    let replay =
        ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--by", "anna", "--rate", "500/s"];
    let replayed = app.command(&[&replay[..], &["--reason", "a bad deploy"]].concat()).run().await;
    assert_eq!(replayed.code, 1, "one letter is dead again: {replayed:?}");
    let id = totals(&replayed.stdout)["replay"].as_i64().unwrap();
    assert!(replayed.stderr.contains(&format!("replay {id}: 4 letters")), "{replayed:?}");

    let shown = show(&app, id).await;
    let expected = json!({
        "id": id, "created_by": "anna", "reason": "a bad deploy", "selection": { "class": "panicked" }, "letters": 4,
        "state": "done", "rate": 500, "canary": null, "stop_on_failure": null, "replayed": 4, "skipped": 0, "applied": 3,
        "stale": 0, "ignored": 0, "dead": 1, "under_way": 0, "failure": null, "changed_by": null, "worked_on_by": null,
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&shown[name], value, "{name}");
    }
    assert!(shown["ended_at"].is_string() && shown["created_at"].is_string() && shown["changed_at"].is_string());
    let dead = app.dead_letters().await.into_iter().find(|letter| letter.state == "dead").unwrap();
    assert_eq!(shown["dead_again"], json!([dead.message_id]));
    let replayed = app.history().await.into_iter().filter(|entry| entry.action == "replayed");
    let details: Vec<_> = replayed.map(|entry| (entry.by.unwrap(), entry.detail.unwrap())).collect();
    assert_eq!(details, vec![("anna".to_owned(), format!("replay {id}")); 4]);

    let text = replays(&app, &["show", &id.to_string()]).run().await.stdout;
    for expected in ["class panicked", "a bad deploy", "done since", "applied 3", &dead.message_id.to_string()] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let listed = replays(&app, &["list", "--json"]).run().await.stdout;
    let listed: Vec<Value> = listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((listed.len(), &listed[0]["id"], &listed[0]["state"]), (1, &json!(id), &json!("done")));
    assert!(listed[0].get("dead_again").is_none());
    assert_eq!(replays(&app, &["list", "--json", "--state", "running"]).run().await.stdout, "");
    assert!(replays(&app, &["list"]).run().await.stdout.contains("WORKED ON BY"));
    app.until_outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_state_does_not_permit_is_refused_and_what_is_so_already_is_accepted() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    good_letters(&app, 2).await;
    let worker = worker(&app).await;
    let (first, second) = (abandoned(&app, &worker, |new| new).await, abandoned(&app, &worker, |new| new).await);
    let run = async |arguments: &str| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        replays(&app, &arguments).run().await
    };
    let both = run(&format!("pause {first} {second} --by berta --json")).await;
    assert_eq!((both.code, both.stdout.lines().count()), (0, 2), "a replay without a process can be paused: {both:?}");
    assert_eq!(run(&format!("pause {first} --by carla")).await.code, 0, "it is paused already");
    let shown = show(&app, first).await;
    assert_eq!((&shown["state"], &shown["changed_by"]), (&json!("paused"), &json!("berta")));
    assert_eq!(run(&format!("cancel {first}")).await.code, 0);
    assert!(show(&app, first).await["ended_at"].is_string());
    for refused in [format!("pause {first}"), format!("resume {first}")] {
        let refused = run(&refused).await;
        assert!(refused.code == 1 && refused.stderr.contains(&format!("replay {first} is cancelled")), "{refused:?}");
    }
    let partly = run(&format!("cancel 999 {second}")).await;
    assert!(partly.code == 1 && partly.stderr.contains("there is no replay 999"), "{partly:?}");
    assert_eq!(show(&app, second).await["state"], json!("cancelled"), "the others are changed all the same");
    assert_eq!(run("show 999").await.code, 1);
    assert_eq!(run("cancel").await.code, 2);
    assert!(app.dead_letters().await.iter().all(|letter| letter.state == "dead" && letter.replays == 0));
    drop(worker);
    app.finish().await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn prune_deletes_ended_replays_and_counts_outcomes_before_it_deletes_letters(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).unsubscribed().build().await;
    good_letters(&app, 3).await;
    let worker = worker(&app).await;
    let cancelled = abandoned(&app, &worker, |new| new).await;
    assert_eq!(replays(&app, &["cancel", &cancelled.to_string()]).run().await.code, 0);
    let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--wait", "0"];
    let waiting = totals(&app.command(&replay).run().await.stdout)["replay"].as_i64().unwrap();
    // Its outcomes come only after the command has ended.
    app.start_worker();
    app.until_links(3).await;
    app.until_outbox_is_empty().await;
    let prune = async |arguments: &[&str]| {
        let prune = ["dead-letters", "prune", "--resolved-older-than", "0s", "--json"];
        let pruned = app.command(&[&prune, arguments].concat()).run().await;
        serde_json::from_str::<Value>(&pruned.stdout).unwrap()
    };
    assert_eq!(prune(&["--dry-run"]).await, json!({ "pruned": 3, "replays": 1, "dry_run": true }));
    assert_eq!(prune(&[]).await, json!({ "pruned": 3, "replays": 1, "dry_run": false }));
    let shown = show(&app, waiting).await;
    assert_eq!((&shown["state"], &shown["applied"], &shown["dead"]), (&json!("done"), &json!(3), &json!(0)));
    assert_eq!(prune(&[]).await["replays"], json!(1), "it has ended meanwhile");
    assert!(app.replays().await.is_empty() && app.replay_letters().await.is_empty());
    app.finish_dropping(worker).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn outcomes_that_no_process_waits_for_are_counted_when_the_replay_is_shown(#[case] on: On) {
    let app = TestApp::builder(on).workers(0).unsubscribed().build().await;
    good_letters(&app, 5).await;
    let replay = ["dead-letters", "replay", "--class", "panicked", "--yes", "--json", "--wait", "0"];
    let replayed = app.command(&replay).run().await;
    let totals = totals(&replayed.stdout);
    assert_eq!((replayed.code, &totals["replayed"], &totals["under_way"]), (1, &json!(5), &json!(5)), "{replayed:?}");
    let id = totals["replay"].as_i64().unwrap();
    assert!(replayed.stderr.contains(&format!("replays show {id}")), "{replayed:?}");
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["under_way"]), (&json!("running"), &json!(5)));
    app.start_worker();
    app.until_links(5).await;
    app.until_outbox_is_empty().await;
    let shown = show(&app, id).await;
    assert_eq!((&shown["state"], &shown["applied"], &shown["under_way"]), (&json!("done"), &json!(5), &json!(0)));
}

/// The letters are those of the moment when the replay was made.
#[tokio::test(flavor = "multi_thread")]
async fn a_letter_that_dies_after_the_replay_was_made_is_not_part_of_it() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    good_letters(&app, 2).await;
    let worker = worker(&app).await;
    let id = abandoned(&app, &worker, |new| new).await;
    good_letters(&app, 3).await;
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    let resumed = replays(&app, &["resume", &id.to_string(), "--json"]).run().await;
    let totals = totals(&resumed.stdout);
    assert_eq!((resumed.code, &totals["selected"], &totals["applied"]), (0, &json!(2), &json!(2)), "{resumed:?}");
    let dead = app.dead_letters().await.iter().filter(|letter| letter.state == "dead").count();
    assert_eq!(dead, 3);
    app.finish_dropping(worker).await;
}
