//! A Lean that lies: no complete instant may be derived from a list that does not fit together.

use std::time::Duration;

use banklink::domain::listed::Source;
use banklink::reconcile::{Error, Inconsistency, Range, Reconciling};
use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};
use testkit::lean_api::{Answer, LeanApi, Request, page};
use testkit::waiting::until as wait_until;
use testkit::{On, TestApp};
use tokio_util::sync::CancellationToken;

use super::{client_within, complete, counts, created, reconcile, until};

/// An app without roles and a Lean with 250 webhooks, which are all missing.
pub(super) async fn lean_with_three_pages() -> (TestApp, LeanApi) {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    (app, LeanApi::start((0..250).map(|seconds| created(seconds + 60))).await)
}

fn edit(answer: Answer, edit: impl FnOnce(&mut Value)) -> Answer {
    if answer.status == 200 { answer.edited(edit) } else { answer }
}

/// The page `number` shows what the page before it shows.
fn repeated(request: &Request, answer: Answer) -> Answer {
    edit(answer, |body| {
        if request.number("page") == 1 {
            body["data"] = json!((0..request.number("size")).map(|_| body["data"][0].clone()).collect::<Vec<_>>());
        }
    })
}

fn other_number(request: &Request, answer: Answer) -> Answer {
    edit(answer, |body| body["page"]["number"] = json!(request.number("page") + 1))
}

fn empty(request: &Request, answer: Answer) -> Answer {
    edit(answer, |body| {
        if request.number("page") == 1 {
            body["data"] = json!([]);
        }
    })
}

fn shortened(request: &Request, answer: Answer) -> Answer {
    edit(answer, |body| {
        if request.number("page") == 1 {
            body["data"].as_array_mut().unwrap().pop();
        }
    })
}

fn fewer_pages(_: &Request, answer: Answer) -> Answer {
    edit(answer, |body| body["page"]["total_pages"] = json!(1))
}

fn growing(request: &Request, answer: Answer) -> Answer {
    edit(answer, |body| body["page"]["total_elements"] = json!(250 + request.number("page")))
}

fn endless_without_totals(request: &Request, answer: Answer) -> Answer {
    let page = request.number("page") % 2;
    edit(answer, |body| *body = json!({ "data": [{ "type": "results.ready", "event_id": page.to_string() }] }))
}

/// After each listing without totals, another one.
fn unrepeatable(request: &Request, answer: Answer) -> Answer {
    let (page, size) = (request.number("page"), request.number("size"));
    let data = if page == 0 { json!([{ "type": "results.ready", "event_id": size.to_string() }]) } else { json!([]) };
    edit(answer, |body| *body = json!({ "data": data }))
}

#[rstest]
#[case::number(other_number, Inconsistency::Number)]
#[case::repeated(repeated, Inconsistency::Count)]
#[case::empty(empty, Inconsistency::EmptyPage)]
#[case::shortened(shortened, Inconsistency::Count)]
#[case::fewer_pages(fewer_pages, Inconsistency::Count)]
#[case::growing(growing, Inconsistency::Totals)]
#[case::endless(endless_without_totals, Inconsistency::RepeatedPage)]
#[case::unrepeatable(unrepeatable, Inconsistency::Unrepeatable)]
#[tokio::test(flavor = "multi_thread")]
async fn pages_that_never_fit_together_end_the_run_without_a_complete_instant(
    #[case] lie: fn(&Request, Answer) -> Answer,
    #[case] expected: Inconsistency,
) {
    let (app, lean) = lean_with_three_pages().await;
    lean.alter(lie);
    let report = reconcile(&app, &lean).await;
    assert!(matches!(report.failure, Some(Error::Inconsistent(found)) if found == expected), "{report:?}");
    assert_eq!((report.complete_until, until(&app).await), (None, None));
    let failure = app.reconcile_runs().await[0].failure.clone().unwrap();
    assert!(failure.starts_with("Lean's list is inconsistent: "), "{failure}");

    lean.alter(|_, answer| answer);
    complete(&reconcile(&app, &lean).await);
    app.finish_with_leftovers().await;
}

/// The newest first, so that everything moves by one place: the second page repeats an entry, and one is never seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_grows_while_it_is_read_is_read_again() {
    let (app, lean) = lean_with_three_pages().await;
    let mut list: Vec<String> = (0..200).map(|seconds| created(seconds + 60).to_string()).collect();
    let mut requests = 0;
    lean.alter(move |request, answer| {
        requests += usize::from(answer.status == 200);
        if requests == 2 {
            list.insert(0, created(30).to_string());
        }
        if answer.status == 200 { page(&list, request, "page", "size") } else { answer }
    });
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 201, 0, 0));
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 201, "each of them once");
    app.finish_with_leftovers().await;
}

/// The oldest first: while it is read, the first entry leaves and another one comes to the end, so the totals stay as they are. Everything
/// moves by one place, and the 101st entry is never seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_moves_on_while_it_is_read_is_read_again() {
    let (app, lean) = lean_with_three_pages().await;
    let mut list: Vec<String> = (0..200).rev().map(|seconds| created(seconds + 60).to_string()).collect();
    let mut requests = 0;
    lean.alter(move |request, answer| {
        requests += usize::from(answer.status == 200);
        if requests == 2 {
            list.remove(0);
            list.push(created(30).to_string());
        }
        if answer.status == 200 { page(&list, request, "page", "size") } else { answer }
    });
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 201, 0, 0));
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 201, "each of them once");
    app.finish_with_leftovers().await;
}

/// Also on pages that are far apart, and one of them twice, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn different_webhooks_with_one_event_id_are_all_accounted_for() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let mut webhooks: Vec<Value> = (0..250).map(|seconds| created(seconds + 60)).collect();
    for index in [1, 240] {
        webhooks[index]["event_id"] = webhooks[0]["event_id"].clone();
    }
    webhooks.insert(150, webhooks[20].clone());
    let lean = LeanApi::start(webhooks).await;
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 250, 0, 0));
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 250);
    app.finish_with_leftovers().await;
}

/// A list whose first entry is repeated instead of another one, and never says so.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_in_place_of_another_one_is_noticed() {
    let (app, lean) = lean_with_three_pages().await;
    lean.alter(|request, answer| {
        edit(answer, |body| {
            if request.number("page") == 2 {
                body["data"][1] = body["data"][0].clone();
            }
        })
    });
    let report = reconcile(&app, &lean).await;
    assert!(matches!(report.failure, Some(Error::Inconsistent(Inconsistency::Count))), "{report:?}");
    assert_eq!((report.progress.counts.sent, until(&app).await), (250, None), "other page sizes show other entries");
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_totals_is_read_twice_and_then_complete() {
    let (app, lean) = lean_with_three_pages().await;
    lean.alter(|_, answer| edit(answer, |body| drop(body.as_object_mut().unwrap().remove("page"))));
    assert_eq!(complete(&reconcile(&app, &lean).await), counts(0, 250, 0, 0));
    assert_eq!(app.ready_messages(&app.topology.webhooks()).await, 250, "each of them once");
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_are_not_webhooks_keep_the_time_incomplete_and_the_rest_is_sent() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(60), json!(null), json!(7), json!({ "event_id": "e" }), created(50)]).await;
    let report = reconcile(&app, &lean).await;
    assert!(matches!(report.failure, Some(Error::NotWebhooks(3))), "{report:?}");
    assert_eq!((report.progress.counts.sent, until(&app).await), (2, None));
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lean_that_ignores_the_time_asked_for_moves_nothing_beyond_its_end() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let lean = LeanApi::start([created(60)]).await;
    let future = created(-3_600);
    lean.alter(move |_, answer| {
        edit(answer, |body| {
            body["data"].as_array_mut().unwrap().push(future.clone());
            body["page"]["total_elements"] = json!(2);
        })
    });
    let report = reconcile(&app, &lean).await;
    assert_eq!(complete(&report), counts(0, 2, 0, 0));
    assert!(until(&app).await.is_some_and(|until| until <= chrono::Utc::now()));
    app.finish_with_leftovers().await;
}

/// Memory holds one page: what is missing on it is on the queue before the next one is asked for.
#[tokio::test(flavor = "multi_thread")]
async fn each_page_is_accounted_for_before_the_next_one_is_asked_for() {
    let (app, lean) = lean_with_three_pages().await;
    let (stop, client) = (CancellationToken::new(), client_within(&lean, Duration::from_secs(60)));
    let stopping = stop.clone();
    lean.alter(move |request, answer| {
        if request.number("page") == 2 {
            stopping.cancel();
        }
        answer
    });
    let publisher = app.publisher().await;
    let reconciling = Reconciling { store: &app.store, client: &client, source: Source::Events };
    let range = Range::new(None, None, None, TimeDelta::hours(1));
    let report = reconciling.send_missing(range, &publisher, &stop, &mut |_| ()).await.unwrap();
    assert!(matches!(report.failure, Some(Error::Interrupted)), "{report:?}");
    assert_eq!(report.progress.counts.sent, 200);
    wait_until("two pages", async || app.ready_messages(&app.topology.webhooks()).await == 200).await;
    drop(publisher);
    app.finish_with_leftovers().await;
}
