//! The span of a transaction, as OpenTelemetry's conventions for databases say (docs/TRACES.md).

use std::str::FromStr;

use sea_orm::sqlx::postgres::PgConnectOptions;

use super::{Error, Store, Transaction};
use crate::telemetry::{Span, SpanKind};

/// What a transaction does, for its span.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// `upsert`, for example.
    pub name: &'static str,
    /// The table that it is about.
    pub table: &'static str,
    /// How many messages it is for.
    pub batch_size: usize,
}

impl Store {
    /// As [`Store::transaction`], in a span of the trace of `parent`, a `traceparent`. Without one there is no span.
    ///
    /// # Errors
    /// As [`Store::transaction`].
    pub async fn transaction_in_span<T>(
        &self,
        operation: Operation,
        parent: Option<&str>,
        work: impl AsyncFnOnce(&Transaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut span = self.span(operation, parent);
        self.transaction(work).await.inspect_err(|error| {
            if let Some(code) = error.code() {
                span.set("db.response.status_code", code.to_owned());
            }
            span.fail(error_type(error));
        })
    }

    fn span(&self, operation: Operation, parent: Option<&str>) -> Span {
        let Operation { name, table, batch_size } = operation;
        let mut span = Span::child(SpanKind::Client, parent, || format!("{name} {table}"));
        if span.is_recording() {
            span.set("db.operation.name", name);
            span.set("db.collection.name", table);
            // The conventions want it only for a batch of several.
            if batch_size > 1 {
                span.set("db.operation.batch.size", i64::try_from(batch_size).unwrap_or(i64::MAX));
            }
            match PgConnectOptions::from_str(self.shared.url()) {
                Ok(options) if !self.is_sqlite() => describe_postgres(&mut span, &options),
                _ => span.set("db.system.name", "sqlite"),
            }
        }
        span
    }
}

fn describe_postgres(span: &mut Span, options: &PgConnectOptions) {
    span.set("db.system.name", "postgresql");
    span.set("server.address", options.get_host().to_owned());
    span.set("server.port", i64::from(options.get_port()));
    if let Some(database) = options.get_database() {
        span.set("db.namespace", database.to_owned());
    }
}

/// The `error.type` of a failed span.
fn error_type(error: &Error) -> &'static str {
    match error {
        Error::InvalidRow(_) => "invalid_row",
        Error::RuleViolation(_) => "rule_violation",
        Error::Blocked(_) => "blocked",
        Error::Unavailable(_) => "unavailable",
        Error::TimedOut => "timed_out",
        Error::Contended => "contended",
    }
}
