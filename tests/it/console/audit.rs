//! The audit: everything that operators did, to letters and to replays, in one list and in one file.

use banklink::console::{Changes, Role, Settings};
use banklink::store::letters::{Action, Filter, record_access, select_dead};
use banklink::store::replays::{NewReplay, Resume, cancel, create, pause, resume};
use rstest::rstest;
use testkit::app::console::accounts;
use testkit::app::insert_dead_letters;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

/// Five entries each.
const ROUNDS: usize = 45;

/// What an operator did, as a row of the export has it without the time; and the page of what it was done to.
type Deed = (String, String);

/// Does something to a letter, and to a new replay of it. Returns that, oldest first.
async fn round(app: &TestApp, number: usize) -> Vec<Deed> {
    let selected = select_dead(&app.store, &Filter::default()).await.unwrap();
    let new = NewReplay { by: "anna".to_owned(), reason: Some(format!("ticket {number}")), ..NewReplay::default() };
    let id = create(&app.store, &new, &selected, None).await.unwrap().id;
    pause(&app.store, id, "ben").await.unwrap();
    let letter = selected[0].id;
    record_access(&app.store, &[letter], Action::Revealed, "dora", Some("for the bank")).await.unwrap();
    resume(&app.store, id, "carla", Resume::Paused).await.unwrap();
    // What is so already is done by no one.
    resume(&app.store, id, "ben", Resume::Paused).await.unwrap();
    cancel(&app.store, id, "anna").await.unwrap();
    let to_replay = |row: String| (format!("{row}\""), format!("/replays/{id}"));
    vec![
        to_replay(format!("\"anna\",started,replay {id},\"2 letters: ticket {number}")),
        to_replay(format!("\"ben\",paused,replay {id},\"")),
        (format!("\"dora\",revealed,{letter},\"for the bank\""), format!("/letters/{letter}")),
        to_replay(format!("\"carla\",resumed,replay {id},\"")),
        to_replay(format!("\"anna\",cancelled,replay {id},\"")),
    ]
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn deeds_to_letters_and_to_replays_are_in_one_list_in_their_order_each_once(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    // Works on no replay itself.
    let console = app.start_console(Settings { changes: Changes::ReadOnly, ..accounts() }).await;
    let auditor = console.log_in(Role::Auditor).await;
    assert!(auditor.get("/audit").await.page().contains("Nothing is on record."));
    insert_dead_letters(&app.store.connection(), (0..2).map(|_| fixtures::created(Uuid::new_v4()))).await;
    let mut deeds = Vec::new();
    for number in 0..ROUNDS {
        deeds.extend(round(&app, number).await);
    }
    deeds.reverse();
    let (rows, subjects): (Vec<String>, Vec<String>) = deeds.into_iter().unzip();

    let export = async |query: &str| {
        let csv = auditor.get(&format!("/audit/export{query}")).await.page();
        let rows = csv.lines().skip(1).map(|line| line.split_once(',').unwrap().1.to_owned());
        rows.collect::<Vec<_>>()
    };
    assert_eq!(export("").await, rows);
    let of = |wanted: &str| rows.iter().filter(|row| row.contains(wanted)).cloned().collect::<Vec<_>>();
    for (query, wanted) in
        [("?by=dora", "\"dora\""), ("?action=started", ",started,"), ("?by=anna&action=cancelled", ",cancelled,")]
    {
        assert_eq!(export(query).await, of(wanted), "{query}");
        assert_eq!(of(wanted).len(), ROUNDS);
    }

    let (mut listed, mut path) = (Vec::new(), "/audit".to_owned());
    loop {
        let page = auditor.get(&path).await.page();
        let cells = page.split("data-label=\"To what\"><a href=\"").skip(1);
        listed.extend(cells.map(|cell| cell.split('"').next().unwrap().to_owned()));
        let Some((_, next)) = page.split_once("rel=\"next\" href=\"") else { break };
        path = next.split('"').next().unwrap().to_owned();
    }
    assert_eq!(listed, subjects);
    for wrong in ["action=died", "before=7", "before=7~x"] {
        assert_eq!(auditor.get(&format!("/audit?{wrong}")).await.status, 400, "{wrong}");
    }
    drop(console);
}
