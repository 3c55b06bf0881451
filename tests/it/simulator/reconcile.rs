//! What the simulated Lean dropped, `banklink reconcile` finds: in the Events API, through the real ingress and worker.

use rstest::rstest;
use serde_json::{Value, json};
use testkit::{On, TestApp};

use super::{Simulated, settings};

const LINKS: usize = 2_000;

/// The totals of a run of the command against the simulator.
async fn reconcile(app: &TestApp, lean: &Simulated, options: &[&str]) -> Value {
    let command = app
        .command(&[&["reconcile", "--json"], options].concat())
        .env("LEAN_API_URL", &lean.url)
        .env("LEAN_AUTH_URL", &lean.url)
        .env("LEAN_CLIENT_ID", "simulated-client")
        .env("LEAN_CLIENT_SECRET", "simulated-client-secret");
    let run = command.run().await;
    assert_eq!(run.code, 0, "{run:?}");
    serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap()
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn dropped_webhooks_are_found_and_sent_although_the_rest_came_twice_and_shuffled(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let odds = banklink::simulator::Odds { duplicate: 100, reorder: 50, drop: 20 };
    let lean = Simulated::start(banklink::simulator::Settings { odds, ..settings(&app.url) }).await;
    lean.create_links(LINKS).await;
    let webhooks = lean.settled().await;
    let dropped = webhooks["dropped"].as_u64().unwrap();
    assert!((200..600).contains(&dropped), "{webhooks}");
    let arrived = LINKS - usize::try_from(dropped).unwrap();
    app.until_links(arrived).await;

    let first = reconcile(&app, &lean, &[]).await;
    assert_eq!((&first["sent"], &first["known"]), (&json!(dropped), &json!(arrived)), "{first}");
    app.until_links(LINKS).await;
    let second = reconcile(&app, &lean, &["--from", "90d"]).await;
    assert_eq!((&second["sent"], &second["known"]), (&json!(0), &json!(LINKS)), "{second}");
    assert!(second["complete_until"].as_str() > first["complete_until"].as_str(), "{first} {second}");
    app.until_outbox_is_empty().await;
    lean.stop().await;
}
