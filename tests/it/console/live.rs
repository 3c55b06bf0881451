//! Pages that keep themselves up to date say when they cannot, and end with the session.

use std::time::Duration;

use banklink::console::Role;
use banklink::store::letters::{Filter, select_dead};
use banklink::store::replays::{NewReplay, create, pause};
use reqwest::{Method, Response};
use testkit::app::console::{Person, accounts};
use testkit::app::insert_dead_letters;
use testkit::waiting::within;
use testkit::{On, TestApp, fixtures};
use tokio::time::timeout;
use uuid::Uuid;

async fn open(person: &Person, path: &str) -> Response {
    let response = person.request(Method::GET, path).send().await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    response
}

/// The next frame of a stream; `None` once it has ended.
async fn frame(stream: &mut Response) -> Option<String> {
    let chunk = within(stream.chunk()).await.unwrap()?;
    Some(String::from_utf8_lossy(&chunk).into_owned())
}

/// The next frame that holds `text`.
async fn until_frame(stream: &mut Response, text: &str) -> String {
    loop {
        let frame = frame(stream).await.unwrap_or_else(|| panic!("the stream has ended without {text}"));
        if frame.contains(text) {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_kept_up_to_date_says_so_and_asks_no_more_often_than_before() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    insert_dead_letters(&app.store.connection(), [fixtures::created(Uuid::new_v4())]).await;
    let selected = select_dead(&app.store, &Filter::default()).await.unwrap();
    let new = NewReplay { by: "anna".to_owned(), selection: "{}".to_owned(), ..NewReplay::default() };
    let id = create(&app.store, &new, &selected, None).await.unwrap().id;
    pause(&app.store, id, "anna").await.unwrap();
    let console = app.start_console(accounts()).await;
    let viewer = console.log_in(Role::Viewer).await;
    let page = viewer.get(&format!("/replays/{id}")).await.page();
    assert!(page.contains("<section id=\"outdated\" aria-live=\"polite\"></section>"), "{page}");
    let mut stream = open(&viewer, &format!("/live/replays/{id}")).await;
    let first = frame(&mut stream).await.unwrap();
    assert!(first.contains("id=\"replay-state\"") && !first.contains("Not up to date"), "{first}");

    let (hide, show) = ("ALTER TABLE replays RENAME TO hidden", "ALTER TABLE hidden RENAME TO replays");
    app.sql(hide, "").await;
    let outdated = until_frame(&mut stream, "Not up to date since").await;
    assert!(outdated.contains("The database does not answer") && !outdated.contains("replay-state"), "{outdated}");
    // Within the interval of a stream there are two frames at most. One that does not pause sends hundreds.
    let mut frames = 0;
    let count = async {
        while frame(&mut stream).await.is_some() {
            frames += 1;
        }
    };
    assert!(timeout(Duration::from_secs(2), count).await.is_err(), "the stream has ended");
    assert!(frames <= 2, "{frames} frames");
    app.sql(show, "").await;
    let again = until_frame(&mut stream, "id=\"replay-state\"").await;
    assert!(!again.contains("Not up to date"), "{again}");

    app.sql("DELETE FROM replays", "").await;
    until_frame(&mut stream, "Not up to date since").await;
    drop((stream, console));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_the_session_that_opened_it_and_no_other() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let (viewer, other) = (console.log_in(Role::Viewer).await, console.log_in(Role::Viewer).await);
    for path in ["/live/overview", "/live/replays", "/live/reconciliation"] {
        let mut streams = [open(&viewer, path).await, open(&other, path).await];
        for stream in &mut streams {
            assert!(frame(stream).await.is_some());
        }
        viewer.post("/logout", &[]).await;
        // It would otherwise go on for minutes.
        let mut frames = 0;
        while frame(&mut streams[0]).await.is_some() {
            frames += 1;
            assert!(frames <= 5, "{path} goes on after the logout");
        }
        // The other one shows what is new.
        if path == "/live/overview" {
            insert_dead_letters(&app.store.connection(), [fixtures::created(Uuid::new_v4())]).await;
            until_frame(&mut streams[1], "1 letter is dead.").await;
        }
        let token = testkit::app::console::token(Role::Viewer);
        assert_eq!(viewer.post("/login", &[("token", &token)]).await.status, 303);
    }
    drop(console);
}
