//! banklink: consumes Lean's webhooks so that no bank link is ever lost.
//!
//! One webhook, straight through: [`ingress`] checks the signature and has the broker confirm the bytes; [`worker`] merges
//! a batch into the bank links and writes the events in the same transaction; [`relay`] publishes them. A
//! message that cannot be handled becomes a dead letter.
//!
//! A module imports only from layers below its own, which `tests/it/tidy.rs` checks:
//! `cli` → `ingress`, `worker`, `relay`, `dead_letters`, `admin` → `broker`, `store` → `config` → `domain`, `telemetry`, `shutdown`,
//! `reconnect`, `server`, `failpoints`, `rate_limiter`, `panics`.

pub mod admin;
pub mod app;
pub mod broker;
pub mod cli;
pub mod config;
pub mod dead_letters;
pub mod domain;
pub mod failpoints;
pub mod ingress;
pub mod panics;
pub mod rate_limiter;
pub mod readiness;
pub mod reconnect;
pub mod relay;
pub mod server;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod worker;
