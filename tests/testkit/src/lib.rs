//! What the test programs share: fixtures, private services, a failing network, the program as a process, and
//! [`TestApp`], the whole of banklink inside the test.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "test code states its expectations by failing"
)]

pub mod app;
pub mod browser;
pub mod fixtures;
pub mod http;
pub mod lean_api;
pub mod model;
pub mod otlp;
pub mod process;
pub mod prometheus;
pub mod properties;
pub mod proxy;
pub mod published;
pub mod raw_http;
pub mod services;
pub mod tls;
pub mod tool;
pub mod waiting;

use std::path::{Path, PathBuf};

pub use app::{On, Slow, TestApp, TestAppBuilder};

/// The secret that every webhook of the tests is signed with, unless the test is about secrets.
pub const SECRET: &str = "a-secret-of-the-tests";

const SERVICES_MISSING: &str =
    "the tests need services: run `make test`, or `deploy/services up` and export what it prints";

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository's root")
}

/// The URL of the RabbitMQ that the tests share.
#[must_use]
pub fn amqp_url() -> String {
    std::env::var("AMQP_URL").expect(SERVICES_MISSING)
}

/// The URL of the PostgreSQL server that the tests share; each app creates a database of its own there.
#[must_use]
pub fn postgres_url() -> String {
    let url = std::env::var("DATABASE_URL").expect(SERVICES_MISSING);
    assert!(url.starts_with("postgres"), "{SERVICES_MISSING}");
    url
}
