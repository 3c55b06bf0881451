//! Replays on pages: what is started is what was shown, once; who changed it; and what happens to those that no process works on.

use banklink::console::{Changes, Role, Settings};
use banklink::dead_letters::describe;
use banklink::store::letters::{Filter, discard, select_dead};
use banklink::store::replays::{NewReplay, create};
use rstest::rstest;
use serde_json::json;
use testkit::app::console::{ConsoleAnswer, Person, accounts, loopback};
use testkit::app::insert_dead_letters;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::hostile::{HOSTILE, assert_harmless};

/// Submits the form of a page, with what a person fills in.
async fn start(person: &Person, page: &ConsoleAnswer, written: &[(&str, &str)]) -> ConsoleAnswer {
    person.submit(page, "/replays", written).await
}

async fn good_letters(app: &TestApp, letters: usize) {
    insert_dead_letters(&app.store.connection(), (0..letters).map(|_| fixtures::created(Uuid::new_v4()))).await;
}

async fn until_state(app: &TestApp, state: &str) {
    until(state, async || app.replays().await.last().is_some_and(|replay| replay.state == state)).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_started_is_what_was_shown_and_only_once(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    let bodies = (0..5).map(|_| fixtures::created(Uuid::new_v4()));
    insert_dead_letters(&app.store.connection(), bodies.chain((0..2).map(|number| json!({ "number": number })))).await;
    let operator = console.log_in(Role::Operator).await;
    let kind = [("scope", "all"), ("class", "panicked"), ("fingerprint", "0123456789ab")];
    let plan = operator.post("/replays/new", &kind).await;
    for expected in ["Replay 7 letters?", ">5</span> would insert", ">2</span> would fail again", "of all 7 letters"] {
        assert!(plan.text.contains(expected), "{expected}: {}", plan.text);
    }
    let pace = [("rate", "500"), ("canary", "3"), ("stop", "50"), ("reason", "ticket 12")];
    assert_eq!(start(&operator, &plan, &pace[..3]).await.status, 400, "no reason");
    assert_eq!(start(&operator, &plan, &[("rate", "0"), ("reason", "x")]).await.status, 400, "no pace");
    assert_eq!(start(&console.log_in(Role::Admin).await, &plan, &pace).await.status, 200, "shown to another one");

    // Meanwhile another operator discards one of them, and one that had died before is recorded: their number is the same.
    let first = select_dead(&app.store, &Filter::default()).await.unwrap()[0];
    discard(&app.store, &[first], "not wanted", "other").await.unwrap();
    good_letters(&app, 1).await;
    let changed = start(&operator, &plan, &pace).await;
    assert_eq!((changed.status, app.replays().await.len()), (200, 0), "nothing is started that was not shown");
    for expected in ["Replay 7 letters?", "Other letters are dead than when you looked", "value=\"ticket 12\""] {
        assert!(changed.text.contains(expected), "{expected}: {}", changed.text);
    }

    // Two clicks, and later a reload.
    let (one, other) = tokio::join!(start(&operator, &changed, &pace), start(&operator, &changed, &pace));
    assert_eq!((one.status, one.header("location")), (303, other.header("location")), "{}", one.text);
    let path = one.header("location").to_owned();
    until_state(&app, "done").await;
    assert_eq!(start(&operator, &changed, &pace).await.header("location"), path);
    let replays = app.replays().await;
    let [replay] = replays.as_slice() else { panic!("{replays:?}") };
    assert_eq!((replay.letters, replay.applied, replay.dead, replay.skipped), (7, 5, 2, 0));
    assert_eq!((replay.rate, replay.canary, replay.stop_on_failure), (Some(500), Some(3), Some(50.0)));
    assert_eq!((replay.created_by.as_str(), replay.reason.as_deref()), ("operator", Some("ticket 12")));
    assert!(replay.selection.contains(r#""fingerprint":"0123456789ab""#), "{}", replay.selection);

    let viewer = console.log_in(Role::Viewer).await;
    let page = viewer.get(&path).await.page();
    for letter in app.dead_letters().await.iter().filter(|letter| letter.state == "dead") {
        assert!(page.contains(&format!("/letters/{}", letter.message_id)), "{page}");
    }
    assert!(page.contains("7 of 7 letters have ended") && page.contains("ticket 12"), "{page}");
    assert!(viewer.get("/replays").await.page().contains(&path));
    app.finish_dropping(console).await;
}

/// Two sessions of the operator to whom the page was shown, and another operator.
#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_several_sessions_submit_at_once_starts_one_replay(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    good_letters(&app, 30).await;
    let (one, other) = (console.log_in(Role::Operator).await, console.log_in(Role::Operator).await);
    let admin = console.log_in(Role::Admin).await;
    let plan = one.post("/replays/new", &[("scope", "all")]).await;
    let pace = [("rate", "500"), ("reason", "at once")];
    let (first, second, foreign) =
        tokio::join!(start(&one, &plan, &pace), start(&other, &plan, &pace), start(&admin, &plan, &pace));
    assert_eq!((first.status, second.status), (303, 303), "{}", second.text);
    assert_eq!(first.header("location"), second.header("location"));
    // The admin, to whom it was not shown, starts nothing: the answer is what would be, or what was started.
    assert!(foreign.status == 200 || foreign.header("location") == first.header("location"), "{}", foreign.text);
    until_state(&app, "done").await;
    let replays: Vec<_> = app.replays().await.into_iter().map(|replay| (replay.created_by, replay.applied)).collect();
    assert_eq!(replays, [("operator".to_owned(), 30)]);
    assert!(app.dead_letters().await.iter().all(|letter| letter.replays == 1));
    app.finish_dropping(console).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ticked_letters_are_replayed_and_no_others() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    let console = app.start_console(loopback()).await;
    good_letters(&app, 4).await;
    let person = console.visitor();
    let ids: Vec<String> = app.dead_letters().await[1..3].iter().map(|letter| letter.message_id.to_string()).collect();
    let ticked: Vec<_> = ids.iter().map(|id| ("id", id.as_str())).collect();
    let plan = person.post("/replays/new", &ticked).await;
    assert!(plan.text.contains("Replay 2 letters?"), "{}", plan.text);
    let started = start(&person, &plan, &[("reason", "ticked")]).await;
    assert_eq!(started.status, 303, "{}", started.text);
    until_state(&app, "done").await;
    let states: Vec<_> = app.dead_letters().await.into_iter().map(|letter| letter.state).collect();
    assert_eq!(states, ["dead", "resolved", "resolved", "dead"]);
    // They are replayed, so nothing is left to start.
    let again = person.post("/replays/new", &ticked).await.page();
    assert!(again.contains("nothing to replay") && !again.contains("action=\"/replays\""), "{again}");
    assert_eq!(person.post("/replays/new", &[]).await.status, 400, "nothing ticked");
    app.finish_dropping(console).await;
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn two_people_pause_resume_and_cancel_and_it_is_on_record_who_did(#[case] on: On) {
    let app = TestApp::builder(on).unsubscribed().build().await;
    let console = app.start_console(accounts()).await;
    good_letters(&app, 60).await;
    let (operator, admin) = (console.log_in(Role::Operator).await, console.log_in(Role::Admin).await);
    let plan = admin.post("/replays/new", &[("scope", "all")]).await;
    let started = start(&admin, &plan, &[("rate", "2"), ("reason", "slowly")]).await;
    let path = started.header("location").to_owned();
    let state = async || {
        let replay = app.replays().await.pop().unwrap();
        (replay.state, replay.changed_by.unwrap_or_default())
    };
    let replayed_by = async |who: &str| {
        let history = app.history().await;
        history.iter().any(|entry| entry.action == "replayed" && entry.by.as_deref() == Some(who))
    };
    until("a letter that the admin has replayed", async || replayed_by("admin").await).await;
    let post = async |person: &Person, deed: &str, fields: &[(&str, &str)]| {
        person.post(&format!("{path}/{deed}"), fields).await
    };
    assert_eq!(post(&operator, "pause", &[]).await.header("location"), path);
    assert_eq!(state().await, ("paused".to_owned(), "operator".to_owned()));
    assert_eq!(post(&operator, "resume", &[]).await.header("location"), path);
    assert_eq!(state().await, ("running".to_owned(), "operator".to_owned()));
    until("a letter that the operator has replayed", async || replayed_by("operator").await).await;

    let question = post(&admin, "cancel", &[]).await;
    assert!(question.status == 200 && question.text.contains("not replayed yet would stay dead"), "{}", question.text);
    let asked = question.hidden("asked");
    assert_eq!(post(&operator, "cancel", &[("asked", &asked)]).await.status, 200, "another one was asked");
    assert_eq!(state().await.0, "running", "a question changes nothing");
    assert_eq!(post(&admin, "cancel", &[("asked", &asked)]).await.header("location"), path);
    assert_eq!(state().await, ("cancelled".to_owned(), "admin".to_owned()));
    let refused = post(&operator, "resume", &[]).await;
    assert!(refused.status == 409 && refused.text.contains("is cancelled"), "{}", refused.text);
    assert_eq!(operator.post("/replays/4711/pause", &[]).await.status, 404);
    let page = operator.get(&path).await.page();
    for done in ["started", "paused", "resumed", "cancelled"] {
        assert!(page.contains(&format!("<strong><bdi>{done}</bdi></strong> by ")), "{done}: {page}");
    }
    assert!(page.contains("Changed by") && !page.contains(&format!("{path}/resume")), "{page}");
    for role in [Role::Viewer, Role::Auditor] {
        let person = console.log_in(role).await;
        assert_eq!(post(&person, "resume", &[]).await.status, 403, "{role:?}");
        assert_eq!(person.post("/replays/new", &[("scope", "all")]).await.status, 403, "{role:?}");
        assert!(!person.get("/letters").await.page().contains("/replays/new"), "{role:?}");
    }
    app.finish_dropping(console).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_takes_what_no_process_works_on_unless_it_is_read_only_and_shows_hostile_text_as_text() {
    let app = TestApp::builder(On::Sqlite).unsubscribed().build().await;
    good_letters(&app, 3).await;
    let filter = Filter { event_type: Some(HOSTILE.to_owned()), ..Filter::default() };
    let new = NewReplay {
        by: HOSTILE.to_owned(),
        reason: Some(HOSTILE.to_owned()),
        selection: describe(&filter),
        ..NewReplay::default()
    };
    let selected = select_dead(&app.store, &Filter::default()).await.unwrap();
    // As a command leaves it that was killed.
    let id = create(&app.store, &new, &selected, None).await.unwrap().id;
    let read_only = app.start_console(Settings { changes: Changes::ReadOnly, ..loopback() }).await;
    let path = format!("/replays/{id}");
    let page = read_only.visitor().get(&path).await.page();
    assert!(page.contains("this console is read-only") && !page.contains(&format!("{path}/pause")), "{page}");
    for path in ["/replays", &path] {
        assert_harmless(path, &read_only.visitor().get(path).await.page());
    }
    let console = app.start_console(loopback()).await;
    until_state(&app, "done").await;
    assert_eq!(app.replays().await[0].applied, 3);
    let plan = console.visitor().post("/replays/new", &[("scope", "all"), ("state", HOSTILE)]).await;
    assert!(plan.status == 400 && !plan.text.contains("<script>"), "{}", plan.text);
    app.finish_dropping((read_only, console)).await;
}
