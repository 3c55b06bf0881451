//! Pages of replays, which have no time to count every outcome.

use banklink::dead_letters::{Collect, ReplayRunner, list, show};
use banklink::store::replays::{Claimed, Part, claim, pause};
use rstest::rstest;
use testkit::app::lease_holder;
use testkit::{On, TestApp};
use tokio_util::sync::CancellationToken;

use super::{EXPIRE_LEASES, create, good_letters, worker};

const RESOLVE: &str = "UPDATE dead_letters SET state = 'resolved', outcome = 'applied', claimed_until = NULL, \
     resolved_at = last_died_at WHERE state = 'replaying'";

/// A replay of three letters, all of which were replayed and are resolved by now, and its lease, which is held.
async fn resolved(app: &TestApp) -> i64 {
    good_letters(app, 3).await;
    let worker = worker(app).await;
    let id = create(&worker, |new| new).await.replay().id;
    let holder = lease_holder(app, &format!("replay:{id}")).await;
    let claimed = claim(&app.store, id, &holder, Part::Next { positions: 0..3, limit: 3 }).await.unwrap();
    assert!(matches!(claimed, Claimed::Letters(claims, _) if claims.len() == 3));
    app.sql(RESOLVE, RESOLVE).await;
    id
}

#[rstest]
#[case::sqlite(On::Sqlite)]
#[case::postgres(On::Postgres)]
#[tokio::test(flavor = "multi_thread")]
async fn a_page_leaves_the_outcomes_to_the_process_that_works_on_the_replay(#[case] on: On) {
    let app = TestApp::builder(on).ingress_only().build().await;
    let id = resolved(&app).await;
    let shown = async || {
        let (one, all) =
            tokio::join!(show(&app.store, id, Collect::ForPage), list(&app.store, None, 20, Collect::ForPage));
        let (one, all) = (one.unwrap().unwrap().replay, all.unwrap().remove(0).replay);
        // Each may have collected them before the other has read them.
        one.applied.max(all.applied)
    };
    assert_eq!(shown().await, 0, "the process will collect them");
    app.sql(EXPIRE_LEASES, EXPIRE_LEASES).await;
    assert_eq!(shown().await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_collects_the_outcomes_of_a_paused_replay_that_is_on_no_page() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let id = resolved(&app).await;
    let mut runner = ReplayRunner::new(worker(&app).await, CancellationToken::new());
    runner.collect().await.unwrap();
    assert_eq!(app.replays().await[0].applied, 0, "while it is running, who works on it collects them");
    pause(&app.store, id, "berta").await.unwrap();
    runner.collect().await.unwrap();
    let replay = app.replays().await.remove(0);
    assert_eq!((replay.applied, replay.state.as_str()), (3, "done"));
}
