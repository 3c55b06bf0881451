//! Everything banklink promises, on a real RabbitMQ, PostgreSQL and SQLite. `make test` brings them up.

mod app;
mod commands;
mod convergence;
mod crashes;
mod dead_letters;
mod fixtures;
mod ingress;
mod link;
mod merge;
mod model;
mod oddities;
mod outages;
mod process;
mod relay;
mod services;
mod settings;
mod tidy;
mod topology;
