//! `GET /v1/customers/{customer_id}/bank-links`: the list at once, or once it differs from what the requester has.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, sleep_until};

use super::links::{List, empty_cursor};
use super::parameters::{CustomerId, WaitFor};
use super::problem::Problem;
use super::report::Waiting;
use super::{Api, RETRY_INTERVAL};

pub(super) async fn links(
    State(api): State<Arc<Api>>,
    CustomerId(customer): CustomerId,
    wait_for: WaitFor,
) -> Result<Response, Problem> {
    let list = if wait_for.wait.is_zero() { api.list(&customer).await? } else { api.wait(&customer, wait_for).await? };
    let json = list.json();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, json).into_response())
}

impl Api {
    /// The list of `customer` once it differs from that of the cursor, or when the time is over or the process stops.
    ///
    /// # Errors
    /// [`Problem::TooManyWaiting`], or [`Problem::Database`] if it is unavailable at the end of the time.
    async fn wait(&self, customer: &str, WaitFor { wait, cursor }: WaitFor) -> Result<List, Problem> {
        let _place = self.place_to_wait()?;
        let deadline = Instant::now() + wait.min(self.settings.max_wait);
        let cursor = cursor.unwrap_or_else(empty_cursor);
        // Before the first look, so that no change is missed in between.
        let mut watch = self.watchers.watch(customer);
        loop {
            watch.forget();
            // An outage of the database does not end the wait.
            let result = self.list(customer).await;
            if let Ok(list) = &result {
                watch.set_links(list.entities());
            }
            let is_over = Instant::now() >= deadline || self.stop.is_cancelled();
            let look_again_at = match &result {
                Ok(list) if list.cursor != cursor => return result,
                _ if is_over => return result,
                Ok(_) => deadline,
                Err(_) => deadline.min(Instant::now() + RETRY_INTERVAL),
            };
            tokio::select! {
                _ = watch.next() => {}
                () = sleep_until(look_again_at) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// A place among the requests that wait.
    ///
    /// # Errors
    /// [`Problem::TooManyWaiting`].
    pub(super) fn place_to_wait(&self) -> Result<Waiting, Problem> {
        let permit = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Problem::TooManyWaiting)?;
        Ok(Waiting::start(&self.metrics, permit))
    }
}
