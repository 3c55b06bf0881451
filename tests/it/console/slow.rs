//! A console that cannot show its pages slows no webhook, not even in the same process.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use testkit::app::console::Person;
use testkit::waiting::until;
use testkit::{On, SECRET, TestApp};
use tokio_util::sync::CancellationToken;

use crate::network::post_some;

const WEBHOOKS: usize = 100;
/// More than the console answers at the same time, and more than a role has connections to the database.
const PEOPLE: usize = 48;

/// Asks for pages again and again until `stop`, and counts those that are shown.
async fn looks(person: Person, shown: &AtomicUsize, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        for path in ["/letters", "/letters?state=any&since=1d", "/"] {
            let page = person.get(path).await;
            if page.status == 200 && path != "/" {
                shown.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_come_through_while_every_page_waits_for_the_database() {
    let app = TestApp::builder(On::Postgres).workers(0).relays(0).build().await;
    let roles = ["run", "ingress", "worker", "relay", "console"];
    let mut process = app.command(&roles).env("LEAN_WEBHOOK_SECRETS", SECRET).on_free_ports().start();
    let url = process.url().await;
    until("a worker that works", async || post_some(&url, 1).await.len() == 1).await;
    app.next_event().await;
    let database = Database::connect(app.database_url()).await.unwrap();
    // A migration, or a careless administrator.
    let lock = database.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE dead_letters, dead_letter_history IN ACCESS EXCLUSIVE MODE").await.unwrap();

    let (shown, stop) = (AtomicUsize::new(0), CancellationToken::new());
    let mut people = Vec::new();
    for _ in 0..PEOPLE {
        people.push(Person::at_process(&process).await);
    }
    let looking = join_all(people.into_iter().map(|person| looks(person, &shown, &stop)));
    let working = async {
        let waiting =
            "SELECT 1 FROM pg_locks WHERE relation = 'dead_letters'::regclass AND NOT granted HAVING count(*) >= 6";
        let waiting = Statement::from_string(DbBackend::Postgres, waiting);
        until("pages that wait", async || lock.query_one_raw(waiting.clone()).await.unwrap().is_some()).await;
        let accepted = post_some(&url, WEBHOOKS).await;
        assert_eq!(accepted.len(), WEBHOOKS, "every webhook is answered 200 at once");
        for _ in 0..WEBHOOKS {
            app.next_event().await;
        }
        assert_eq!(
            shown.load(Ordering::Relaxed),
            0,
            "pages were shown meanwhile, so they have kept nothing from anyone"
        );
        let paused = process.log().contains("paused: the batch cannot be processed now");
        assert!(!paused, "the worker has waited for a connection that a page had");
        lock.rollback().await.unwrap();
        until("a page", async || shown.load(Ordering::Relaxed) > 0).await;
        stop.cancel();
    };
    tokio::join!(looking, working);
    assert_eq!(app.bank_links().await.len(), WEBHOOKS + 1);
    assert_eq!(process.terminate().await, 0, "{}", process.log());
    database.close().await.unwrap();
}
