//! `banklink reconcile` as a person, a script or a monitor calls it.

use serde_json::{Value, json};
use testkit::lean_api::{CLIENT_SECRET, LeanApi};
use testkit::process::{Output, banklink, metric};
use testkit::waiting::until as wait_until;
use testkit::{On, TestApp};
use uuid::Uuid;

use super::{ago, created, entity, until};

fn objects(output: &Output) -> Vec<Value> {
    output.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_lists_what_is_missing_and_a_run_sends_it() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let lost = created(600);
    let lean =
        LeanApi::start([lost.clone(), json!({ "type": "results.ready", "event_id": "r", "timestamp": ago(60) })]).await;

    let dry = app.lean_command(&lean, &["reconcile", "--dry-run", "--json"]).run().await;
    assert_eq!(dry.code, 1, "something is missing: {dry:?}");
    let [missing, totals] = &objects(&dry)[..] else { panic!("{dry:?}") };
    let id = format!("urn:banklink:lean-event:{}", lost["event_id"].as_str().unwrap());
    let expected = json!({
        "message_id": Uuid::new_v5(&Uuid::NAMESPACE_URL, id.as_bytes()), "event_id": lost["event_id"],
        "type": "entity.created", "entity_id": entity(&lost), "timestamp": lost["timestamp"],
    });
    assert_eq!(missing, &expected);
    assert_eq!((&totals["missing"], &totals["sent"], &totals["complete_until"]), (&json!(1), &json!(0), &Value::Null));
    let table = app.lean_command(&lean, &["reconcile", "--dry-run"]).run().await;
    assert!(table.stdout.contains("MESSAGE ID") && table.stdout.contains(&entity(&lost).to_string()), "{table:?}");
    assert!(app.reconcile_runs().await.is_empty() && app.bank_links().await.is_empty());

    let run = app.lean_command(&lean, &["reconcile", "--json"]).run().await;
    assert_eq!(run.code, 0, "{run:?}");
    let totals = &objects(&run)[0];
    assert_eq!((&totals["sent"], &totals["ignored"], &totals["failure"]), (&json!(1), &json!(1), &Value::Null));
    assert_eq!(totals["complete_until"], totals["to"]);
    app.until_links(1).await;
    assert_eq!(app.lean_command(&lean, &["reconcile", "--dry-run"]).run().await.code, 0, "nothing is missing");

    let status = app.command(&["reconcile", "status", "--json"]).run().await;
    let [run, last] = &objects(&status)[..] else { panic!("{status:?}") };
    for column in [
        "id",
        "source",
        "started_at",
        "ended_at",
        "from",
        "to",
        "known",
        "sent",
        "dead",
        "ignored",
        "complete_until",
        "failure",
    ] {
        assert!(run.get(column).is_some(), "{column}: {run}");
    }
    assert_eq!(last, &json!({ "complete_until": totals["to"] }));
    let status = app.command(&["reconcile", "status"]).run().await;
    assert!(status.code == 0 && status.stdout.contains("complete until 2"), "{status:?}");
}

/// A monitor must not be led to believe that everything is there because a part of it was compared.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_the_time_does_not_move_the_complete_instant_over_a_gap() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let lean = LeanApi::start([created(3 * 86_400), created(60)]).await;
    let part = app.lean_command(&lean, &["reconcile", "--from", "1d", "--json"]).run().await;
    assert_eq!(part.code, 0, "{part:?}");
    assert!(part.stderr.contains("was not compared"), "{part:?}");
    assert_eq!((&objects(&part)[0]["sent"], until(&app).await), (&json!(1), None));

    let all = app.lean_command(&lean, &["reconcile"]).run().await;
    assert_eq!(all.code, 0, "{all:?}");
    let complete = until(&app).await;
    assert!(complete.is_some());
    // An older part does not move it back.
    assert_eq!(app.lean_command(&lean, &["reconcile", "--from", "3d", "--to", "2d"]).run().await.code, 0);
    assert_eq!(until(&app).await, complete);
    app.until_links(2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_usage_and_wrong_settings_are_refused_before_anything_is_asked() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    for times in [["--to", "2999-01-01T00:00:00Z"].as_slice(), &["--from", "1h", "--to", "2h"], &["--from", "soon"]] {
        let refused = app.lean_command(&lean, &[&["reconcile"], times].concat()).run().await;
        assert_eq!(refused.code, 2, "{times:?}: {refused:?}");
    }
    for command in [["reconcile"], ["run"]] {
        let arguments: &[&str] = if command == ["run"] { &["run", "reconciler"] } else { &["reconcile"] };
        let unset = banklink(arguments).run().await;
        assert_eq!(unset.code, 2, "{unset:?}");
        for name in ["LEAN_API_URL", "LEAN_AUTH_URL", "LEAN_CLIENT_ID", "LEAN_CLIENT_SECRET"] {
            assert!(unset.stderr.contains(&format!("{name} is not set")), "{name}: {unset:?}");
        }
    }
    for (name, value) in [
        ("LEAN_API_URL", "http://api.leantech.me"),
        ("LEAN_AUTH_URL", "http://auth.leantech.me"),
        ("LEAN_CLIENT_SECRET", "hunter2 hunter2"),
        ("BANKLINK_RECONCILE_SOURCE", "both"),
        ("BANKLINK_RECONCILE_OVERLAP", "1y"),
    ] {
        let refused = app.lean_command(&lean, &["reconcile"]).env(name, value).run().await;
        assert!(refused.code == 2 && refused.stderr.contains(name), "{name}: {refused:?}");
        assert!(!refused.stderr.contains("hunter2"), "{refused:?}");
    }
    assert!(lean.requests().is_empty() && lean.tokens() == 0);
    let help = app.lean_command(&lean, &["reconcile", "--help"]).run().await;
    assert!(help.code == 0 && !help.stdout.contains(CLIENT_SECRET), "{help:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reason_of_a_failure_is_named_and_nothing_is_complete() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(60)]).await;
    let refused = app.lean_command(&lean, &["reconcile"]).env("LEAN_CLIENT_SECRET", "another-secret").run().await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("Lean refused LEAN_CLIENT_ID and LEAN_CLIENT_SECRET (401)"), "{refused:?}");
    assert!(!refused.stderr.contains("another-secret"), "{refused:?}");
    let runs = app.reconcile_runs().await;
    assert!(runs[0].failure.is_some() && runs[0].ended_at.is_some() && until(&app).await.is_none(), "{runs:?}");
    lean.add(&json!({ "no": "webhook" }));
    let garbage = app.lean_command(&lean, &["reconcile", "--json"]).run().await;
    assert_eq!(garbage.code, 1, "{garbage:?}");
    assert!(garbage.stderr.contains("1 entry of Lean's list is not a webhook"), "{garbage:?}");
    app.finish_with_leftovers().await;
}

/// A proxy of the environment would get the secret in clear.
#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_stands_between_the_command_and_a_lean_on_this_host() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let (lean, proxy) = (LeanApi::start([]).await, LeanApi::start([]).await);
    let mut command = app.lean_command(&lean, &["reconcile"]).env("NO_PROXY", "").env("no_proxy", "");
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        command = command.env(name, &proxy.url);
    }
    let run = command.run().await;
    assert_eq!((run.code, proxy.tokens()), (0, 0), "{run:?}");
    app.finish_with_leftovers().await;
}

/// The words that no output may contain: what webhooks hold about a customer, and the secrets.
const PRIVATE: [&str; 5] =
    ["6bc2336a-6d74-4e59-a492-65313423a8f8", "user-1", "Lean Mock Bank", CLIENT_SECRET, "access-token-Wd4kR8"];

#[tokio::test(flavor = "multi_thread")]
async fn no_output_contains_a_secret_a_token_or_a_customer() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let lean = LeanApi::start((0..3).map(|seconds| created(seconds + 60))).await;
    let mut dead = created(60);
    dead["payload"]["id"] = json!("not a UUID");
    lean.add(&dead);
    lean.add(&json!({ "customer_id": PRIVATE[0] }));
    let mut output = String::new();
    for arguments in [
        ["reconcile", "--dry-run"].as_slice(),
        &["reconcile", "--dry-run", "--json"],
        &["reconcile"],
        &["reconcile", "status"],
    ] {
        let done = app.lean_command(&lean, arguments).env("RUST_LOG", "trace").run().await;
        output += &(done.stdout + &done.stderr);
    }
    let role = app.lean_command(&lean, &["run", "reconciler"]).on_free_ports().env("RUST_LOG", "trace");
    let mut role = role.start();
    role.until_log("reconciling is not complete").await;
    let admin = role.admin().await;
    wait_until("the metric", async || {
        metric(&admin, "banklink_reconcile_events_total{outcome=\"dead\"}").await.is_some_and(|dead| dead >= 1.0)
    })
    .await;
    assert_eq!(role.terminate().await, 0);
    output += &role.log();
    for word in PRIVATE {
        let line = output.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "{word}");
    }
    assert!(output.contains("an entry of Lean's list is not a webhook"), "the log is there");
}
