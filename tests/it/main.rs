//! Everything banklink promises, on a real RabbitMQ, PostgreSQL and SQLite. `make test` brings them up.

mod app;
mod convergence;
mod fixtures;
mod link;
mod merge;
mod model;
