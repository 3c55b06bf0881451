//! banklink consumes Lean's webhooks: each becomes a row of `bank_links` and, if values changed, an event for subscribers.
//!
//! # One webhook, straight through
//!
//! 1. [`ingress`] checks the signature, and answers 200 once RabbitMQ has confirmed the bytes.
//! 2. [`worker`] consumes them in batches. [`domain::webhook`] parses, [`domain::bank_link::merge`] computes the new row,
//!    [`domain::event`] the events that follow; [`store`] writes both in one transaction.
//! 3. [`relay`] publishes the events.
//!
//! A message that cannot be handled becomes a dead letter, which [`dead_letters`] can replay. An unavailable dependency
//! costs time, never an attempt.
//!
//! # Modules
//!
//! A module imports only modules of lower layers; `tests/it/tidy` checks it.
//!
//! | layer | modules |
//! | --- | --- |
//! | 5 | [`cli`]: the program's commands |
//! | 4 | [`app`]: builds the roles from their settings |
//! | 3 | [`ingress`], [`worker`], [`relay`]: the roles of the main job; [`api`]: the read API; [`reconcile`]: what Lean lists; [`admin`]: probes and metrics; [`console`]: the operator's pages; [`simulator`]: a stand-in for Lean |
//! | 2 | [`dead_letters`]: what operators do |
//! | 1 | [`broker`]: RabbitMQ, the only user of lapin; [`store`]: the database, the only user of SeaORM; [`lean`]: the client of Lean's API |
//! | 0 | [`domain`]: the rules, pure; [`telemetry`], [`readiness`], [`shutdown`], [`reconnect`], [`server`], [`rate_limiter`], [`panics`], [`failpoints`], [`stack`], [`bisect`], [`escape`], [`times`] |
//!
//! `docs/ARCHITECTURE.md` has the file-by-file tour, the reasons and a glossary; `docs/CONTRACT.md` is what others rely on.

pub mod admin;
pub mod api;
pub mod app;
pub mod bisect;
pub mod broker;
pub mod cli;
pub mod console;
pub mod dead_letters;
pub mod domain;
pub mod escape;
pub mod failpoints;
pub mod ingress;
pub mod lean;
pub mod panics;
pub mod rate_limiter;
pub mod readiness;
pub mod reconcile;
pub mod reconnect;
pub mod relay;
pub mod server;
pub mod shutdown;
pub mod simulator;
pub mod stack;
pub mod store;
pub mod telemetry;
pub mod times;
pub mod worker;
