//! Pages that wait for the database or for RabbitMQ keep no one from pausing a replay, from logging in, and from other pages.

use std::sync::Arc;

use banklink::console::Role;
use banklink::store::letters::{Filter, select_dead};
use banklink::store::replays::{NewReplay, create};
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement, TransactionTrait};
use testkit::app::console::accounts;
use testkit::app::insert_dead_letters;
use testkit::proxy::{Mode, Proxy};
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// More than the console makes at the same time.
const PAGES: usize = 12;

#[tokio::test(flavor = "multi_thread")]
async fn pages_that_wait_for_the_database_delay_no_pause_and_no_login() {
    let app =
        TestApp::builder(On::Postgres).ingress_only().lock_deadline(std::time::Duration::from_secs(60)).build().await;
    insert_dead_letters(&app.store.connection(), [fixtures::created(Uuid::new_v4())]).await;
    let console = app.start_console(accounts()).await;
    let operator = console.log_in(Role::Operator).await;
    let selected = select_dead(&app.store, &Filter::default()).await.unwrap();
    let database = Database::connect(app.database_url()).await.unwrap();
    let lock = database.begin().await.unwrap();
    lock.execute_unprepared("LOCK TABLE dead_letters IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let new = NewReplay { by: "anna".to_owned(), selection: "{}".to_owned(), ..NewReplay::default() };
    // The console leaves it to the process that works on it.
    let id = create(&app.store, &new, &selected, Some("another process")).await.unwrap().id;

    let pages = join_all((0..PAGES).map(|_| operator.get("/letters?state=any")));
    let working = async {
        let waiting =
            "SELECT 1 FROM pg_locks WHERE relation = 'dead_letters'::regclass AND NOT granted HAVING count(*) >= 6";
        let waiting = Statement::from_string(DbBackend::Postgres, waiting);
        until("pages that wait", async || lock.query_one_raw(waiting.clone()).await.unwrap().is_some()).await;
        assert_eq!(operator.post(&format!("/replays/{id}/pause"), &[]).await.status, 303);
        assert_eq!(console.visitor().get("/login").await.status, 200);
        console.log_in(Role::Viewer).await;
        assert_eq!(app.replays().await[0].state, "paused");
        lock.rollback().await.unwrap();
    };
    let (pages, ()) = tokio::join!(pages, working);
    assert!(pages.iter().all(|page| page.status == 200), "none was refused meanwhile");
    database.close().await.unwrap();
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_events_of_a_link_are_read_another_page_says_so_instead_of_waiting() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let linked = Uuid::new_v4();
    app.post(&fixtures::created(linked)).await.assert_accepted();
    app.until_link(linked).await;
    // A console of its own, behind a network that falls silent.
    let proxy = Proxy::before(&testkit::amqp_url()).await;
    let address = banklink::broker::Address::parse(&proxy.url).unwrap();
    let banklink = banklink::app::App::new(address, Arc::clone(&app.topology));
    let stop = CancellationToken::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let console = banklink.console(accounts(), &app.store, stop.clone()).unwrap();
    let serving = tokio::spawn(Arc::clone(&console).run(listener));
    let server = testkit::app::console::ConsoleServer { url, console };
    let viewer = server.log_in(Role::Viewer).await;
    let path = format!("/links/{linked}?events=7d");
    until("the events", async || viewer.get(&path).await.status == 200).await;
    proxy.set(Mode::Held);
    let mut pages: FuturesUnordered<_> = (0..PAGES).map(|_| viewer.get(&path)).collect();
    for number in 1..PAGES {
        let page = pages.next().await.unwrap().page();
        assert!(page.contains("They are being read for another page now."), "{number}: {page}");
    }
    proxy.set(Mode::Forward);
    assert!(pages.next().await.is_some());
    drop((pages, server));
    stop.cancel();
    serving.await.unwrap();
    banklink.close().await;
    app.until_outbox_is_empty().await;
}
