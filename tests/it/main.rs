//! Everything banklink promises, on a real RabbitMQ, PostgreSQL and SQLite. `make test` brings them up.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test says what it expects by failing"
)]

mod app;
mod commands;
mod connections;
mod convergence;
mod crashes;
mod dead_letters;
mod discretion;
mod fixtures;
mod hostile;
mod ingress;
mod judge;
mod link;
mod merge;
mod model;
mod oddities;
mod operator;
mod outages;
mod poison;
mod process;
mod properties;
mod proxy;
mod relay;
mod runbook;
mod services;
mod settings;
mod store;
mod tidy;
mod topology;
mod waiting;
