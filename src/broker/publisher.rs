//! Publishes messages, many in flight, and reports whether RabbitMQ has confirmed each and routed it to a queue.
//!
//! One task owns each publishing channel (`publishing_task.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

use super::connection::Connection;
use super::error::Error;
use super::message::Outgoing;
use super::publish_request::{Outcome, PublishRequest};
use super::publishing_task;
use super::spans::{error_type, publish_span};
use crate::telemetry::Span;

/// Maximum number of requests queued for the task, in addition to the messages in flight.
const MAX_QUEUED: usize = 1024;

/// A handle to the task that owns a publishing channel. Clones share the task; it ends when the last one is dropped.
#[derive(Clone)]
pub struct Publisher {
    requests: mpsc::Sender<PublishRequest>,
    connection: Connection,
    is_channel_open: Arc<AtomicBool>,
}

impl Publisher {
    /// Starts the publishing task on `tasks`, with a channel on a supervised connection.
    #[must_use]
    pub fn start(connection: Connection, tasks: &TaskTracker) -> Self {
        let (requests, queued) = mpsc::channel(MAX_QUEUED);
        let is_channel_open = Arc::new(AtomicBool::new(false));
        tasks.spawn(publishing_task::run(connection.clone(), queued, Arc::clone(&is_channel_open)));
        Self { requests, connection, is_channel_open }
    }

    /// Whether the connection accepts messages and the publishing channel is open.
    ///
    /// # Errors
    /// As [`Connection::ready`], and [`Error::NoChannel`] while the channel is being opened.
    pub fn ready(&self) -> Result<(), Error> {
        self.connection.ready()?;
        if self.is_channel_open.load(Ordering::Relaxed) { Ok(()) } else { Err(Error::NoChannel) }
    }

    /// The connection it publishes on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Publishes one message as mandatory and waits for its confirm for at most `timeout`.
    ///
    /// # Errors
    /// [`Error::Nacked`] and [`Error::Returned`] when RabbitMQ refused this message; [`Error::Blocked`], or the error
    /// of the last attempt to connect, when the connection is not ready. After [`Error::TimedOut`],
    /// [`Error::Disconnected`], [`Error::Amqp`] and [`Error::Precondition`], which mean that no confirm arrived, the
    /// message may be on a queue nevertheless, so publishing it again may duplicate it.
    pub async fn publish(&self, mut outgoing: Outgoing, timeout: Duration) -> Result<(), Error> {
        let mut span = publish_span(&mut outgoing, &self.connection.server);
        let published = self.publish_in_span(outgoing, timeout).await;
        published.inspect_err(|error| span.fail(error_type(error)))
    }

    async fn publish_in_span(&self, outgoing: Outgoing, timeout: Duration) -> Result<(), Error> {
        self.connection.ready()?;
        let requested_at = Instant::now();
        let deadline = requested_at + timeout;
        let place = timeout_at(deadline, self.requests.reserve()).await.map_err(|_| Error::TimedOut)?;
        let (request, outcome) = PublishRequest::new(outgoing, requested_at, deadline);
        place.map_err(|_| Error::Disconnected)?.send(request);
        answer(outcome, deadline).await
    }

    /// As [`Publisher::publish`], for many messages; returns the answers in their order. Requested together, they reach RabbitMQ in few
    /// packets, which costs it and this process less.
    pub async fn publish_all(&self, mut messages: Vec<Outgoing>, timeout: Duration) -> Vec<Result<(), Error>> {
        let spans: Vec<Span> =
            messages.iter_mut().map(|outgoing| publish_span(outgoing, &self.connection.server)).collect();
        let deadline = Instant::now() + timeout;
        let mut outcomes = self.request_all(messages, deadline).await.into_iter();
        let mut answers = Vec::with_capacity(spans.len());
        for mut span in spans {
            let answer = match outcomes.next() {
                Some(outcome) => answer(outcome, deadline).await,
                None => self.connection.ready().and(Err(Error::Disconnected)),
            };
            answers.push(answer.inspect_err(|error| span.fail(error_type(error))));
        }
        answers
    }

    /// Requests as many of the messages as the connection and the deadline allow, in their order.
    async fn request_all(&self, messages: Vec<Outgoing>, deadline: Instant) -> Vec<Outcome> {
        let requested_at = Instant::now();
        let mut outcomes = Vec::with_capacity(messages.len());
        let mut messages = messages.into_iter();
        while self.connection.ready().is_ok() && messages.len() > 0 {
            let part = messages.by_ref().take(MAX_QUEUED);
            let part = part.map(|outgoing| PublishRequest::new(outgoing, requested_at, deadline));
            let (requests, replies): (Vec<_>, Vec<_>) = part.unzip();
            let Ok(Ok(places)) = timeout_at(deadline, self.requests.reserve_many(requests.len())).await else { break };
            places.zip(requests).for_each(|(place, request)| place.send(request));
            outcomes.extend(replies);
        }
        outcomes
    }
}

async fn answer(outcome: Outcome, deadline: Instant) -> Result<(), Error> {
    timeout_at(deadline, outcome).await.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Disconnected)?
}
