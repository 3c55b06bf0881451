//! Tests of everything banklink promises, on a real RabbitMQ, PostgreSQL and SQLite. `make test` starts them.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test states its expectations by failing"
)]

mod admin;
mod api;
mod bank_links;
mod chaos_judge;
mod commands;
mod console;
mod convergence;
mod crashes;
mod dead_letters;
mod deferred_rows;
mod deployment;
mod documented_commands;
mod grants;
mod handover;
mod ingress;
mod invalid_webhooks;
mod lenient_webhooks;
mod link_commands;
mod locked_letters;
mod log_privacy;
mod management;
mod merge;
mod migrate;
mod monitoring;
mod network;
mod operator;
mod outages;
mod outbox_index;
mod overlap;
mod permissions;
mod pgbouncer;
mod postgres_settings;
mod prefetch;
mod properties;
mod published;
mod reconcile;
mod refused_row;
mod rehearsal;
mod relay;
mod replays;
mod runbook;
mod send;
mod settings;
mod simulator;
mod steps;
mod store;
mod subscribers;
mod tidy;
mod topology;
mod traces;
mod unusual_webhooks;
