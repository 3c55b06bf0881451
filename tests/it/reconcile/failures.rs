//! A Lean that refuses, is busy or is broken.

use std::time::Duration;

use banklink::domain::listed::Source;
use banklink::reconcile::{Range, Reconciling, Report};
use banklink::{lean, reconcile};
use chrono::TimeDelta;
use testkit::lean_api::{Answer, Request};
use tokio_util::sync::CancellationToken;

use super::lies::lean_with_three_pages;
use super::{client_within, complete, counts, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_renewed_once_for_all_when_it_runs_out_or_is_refused() {
    let (app, lean) = lean_with_three_pages().await;
    let mut requests = 0;
    lean.alter(move |_, answer| {
        requests += 1;
        if requests == 2 { Answer::status(401) } else { answer }
    });
    complete(&super::reconcile(&app, &lean).await);
    assert_eq!(
        (lean.tokens(), lean.requests().len()),
        (2, 5),
        "one page was asked for twice, and the first one again at the end"
    );

    lean.set_token_lifetime(0);
    complete(&super::reconcile(&app, &lean).await);
    assert!(lean.tokens() > 2);
    app.finish_with_leftovers().await;
}

async fn failure_of(alter: impl FnMut(&Request, Answer) -> Answer + Send + 'static) -> lean::Error {
    let (app, lean) = lean_with_three_pages().await;
    lean.alter(alter);
    let (client, publisher) = (client_within(&lean, Duration::from_secs(1)), app.publisher().await);
    let reconciling = Reconciling { store: &app.store, client: &client, source: Source::Events };
    let range = Range::new(None, None, None, TimeDelta::hours(1));
    let stop = CancellationToken::new();
    let report: Report = reconciling.send_missing(range, &publisher, &stop, &mut |_| ()).await.unwrap();
    assert_eq!(until(&app).await, None);
    drop(publisher);
    app.finish_with_leftovers().await;
    match report.failure {
        Some(reconcile::Error::Lean(error)) => error,
        failure => panic!("{failure:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_lean_refuses_for_good_ends_the_run_and_what_may_pass_is_waited_for_within_a_limit() {
    assert_eq!(failure_of(|_, _| Answer::status(401)).await, lean::Error::Unauthorized);
    assert_eq!(failure_of(|_, _| Answer::status(403)).await, lean::Error::Refused(403));
    let redirect = |_: &Request, _| Answer { headers: "location: /elsewhere\r\n".to_owned(), ..Answer::status(302) };
    assert_eq!(failure_of(redirect).await, lean::Error::Refused(302));
    let html = |_: &Request, _| Answer { body: "<html>".to_owned(), ..Answer::status(200) };
    assert!(matches!(failure_of(html).await, lean::Error::Unreadable(_)));
    assert!(matches!(failure_of(|_, _| Answer::status(503)).await, lean::Error::Unavailable(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lean_that_is_busy_or_broken_for_a_while_is_waited_for() {
    let (app, lean) = lean_with_three_pages().await;
    let mut failures = vec![
        Answer::status(500),
        Answer { headers: "retry-after: 1\r\n".to_owned(), ..Answer::status(429) },
        Answer::status(429),
    ];
    lean.alter(move |_, answer| failures.pop().unwrap_or(answer));
    assert_eq!(complete(&super::reconcile(&app, &lean).await), counts(0, 250, 0, 0));
    assert_eq!(lean.requests().len(), 7);
    app.finish_with_leftovers().await;
}
