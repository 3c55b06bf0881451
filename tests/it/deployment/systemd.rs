//! The systemd units: valid, hardened, and right about the program's settings. systemd need not be running.

use std::path::Path;

use testkit::lean_api::{CLIENT_ID, CLIENT_SECRET, LeanApi};
use testkit::process::{Invocation, banklink, program, until_answers};
use testkit::waiting::within;
use testkit::{On, SECRET, TestApp, amqp_url};
use tokio::process::Command;

use super::{file, read, tool_command};
use testkit::app::API_TOKEN;

const UNITS: [(&str, &str); 6] = [
    ("ingress", "banklink-ingress.service"),
    ("worker", "banklink-worker@.service"),
    ("relay", "banklink-relay.service"),
    ("api", "banklink-api.service"),
    ("reconciler", "banklink-reconciler.service"),
    ("console", "banklink-console.service"),
];
/// What runs once, before the roles.
const ONCE: [&str; 2] = ["banklink-migrate.service", "banklink-topology.service"];
const HARDENING: &str = "banklink-.service.d/10-hardening.conf";

/// The values of a key in a unit, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// What the unit runs, with its environment. Its credentials are written to `directory`, with values that `value` knows.
fn invocation(unit: &str, directory: &Path, value: impl Fn(&str) -> String) -> Invocation {
    for credential in values(unit, "LoadCredential") {
        let (name, path) = credential.split_once(':').unwrap();
        assert!(path.starts_with("/etc/banklink/credentials/") && path.ends_with(name), "{credential}");
        std::fs::write(directory.join(name), value(name)).unwrap();
    }
    let command = values(unit, "ExecStart")[0].strip_prefix("/usr/bin/banklink ").unwrap();
    let environment = values(unit, "Environment").into_iter().flat_map(str::split_whitespace);
    environment.fold(banklink(&command.split(' ').collect::<Vec<_>>()), |invocation, variable| {
        let (name, value) = variable.split_once('=').unwrap();
        let value = value.replace("%d", directory.to_str().unwrap()).replace("%i", "1");
        invocation.env(name, value)
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn each_unit_starts_its_role_with_its_credentials_and_stops_within_the_time_that_systemd_grants() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let lean = LeanApi::start([]).await;
    let directory = tempfile::tempdir().unwrap();
    let value = |credential: &str| match credential {
        "amqp_url" => amqp_url(),
        "database_url" => app.database_url(),
        "lean_webhook_secrets" => SECRET.to_owned(),
        "api_tokens" => API_TOKEN.to_owned(),
        "console_tokens" => format!("anna:admin:{API_TOKEN}"),
        "lean_client_secret" => CLIENT_SECRET.to_owned(),
        other => panic!("an unknown credential: {other}"),
    };
    let hardening = read(&format!("deploy/systemd/{HARDENING}"));
    let grace: u32 = values(&hardening, "TimeoutStopSec")[0].parse().unwrap();
    assert!(grace > 25, "banklink needs up to 25 s to stop");
    assert!(values(&hardening, "Restart").is_empty(), "a drop-in wins over the unit");
    for name in ONCE {
        // As for the roles, what an operator puts into banklink.env.
        let unit = format!("{hardening}\n{}", read(&format!("deploy/systemd/{name}")));
        let invocation = invocation(&unit, directory.path(), value).env("BANKLINK_NAMESPACE", &app.namespace);
        let output = invocation.env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms").run().await;
        assert_eq!(output.code, 0, "{name}: {output:?}");
    }

    let mut ports = Vec::new();
    for (role, name) in UNITS {
        let unit = format!("{hardening}\n{}", read(&format!("deploy/systemd/{name}")));
        assert_eq!(values(&unit, "Restart"), ["on-failure"], "{name}");
        ports.extend(unit.split("BANKLINK_ADMIN_LISTEN=").skip(1).map(|rest| rest[..14].to_owned()));
        // What an operator puts into banklink.env.
        let invocation = invocation(&unit, directory.path(), value)
            .env("BANKLINK_NAMESPACE", &app.namespace)
            .env("BANKLINK_RETRY_SCHEDULE", "100ms,200ms")
            .env("LEAN_API_URL", &lean.url)
            .env("LEAN_AUTH_URL", &lean.url)
            .env("LEAN_CLIENT_ID", CLIENT_ID);
        let mut process = invocation.on_free_ports().start();
        until_answers(&process.admin().await, &format!("/readyz/{role}"), 200).await;
        assert_eq!(process.terminate().await, 0, "{role}: {}", process.log());
    }
    ports.sort();
    ports.dedup();
    assert_eq!(ports.len(), UNITS.len(), "units on one machine need different addresses: {ports:?}");
}

#[tokio::test]
async fn the_units_are_valid_and_systemd_rates_their_exposure_2_0_or_better() {
    // The units name the program where the package installs it; here it is elsewhere.
    let directory = tempfile::tempdir().unwrap();
    let drop_ins = directory.path().join("banklink-.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::copy(file("deploy/systemd").join(HARDENING), directory.path().join(HARDENING)).unwrap();
    let mut names: Vec<&str> = UNITS.map(|(_, name)| name).to_vec();
    names.extend(ONCE);
    names.push("banklink.target");
    for name in &names {
        let unit = read(&format!("deploy/systemd/{name}")).replace("/usr/bin/banklink", program().to_str().unwrap());
        std::fs::write(directory.path().join(name), unit).unwrap();
    }
    let existing = std::fs::read_dir(file("deploy/systemd")).unwrap().count();
    assert_eq!(existing, names.len() + 2, "a unit is not checked; besides them, there are drop-ins and banklink.env");
    for name in names {
        let path = directory.path().join(name);
        let analyze = async |arguments: &[&str]| {
            let mut command: Command = tool_command("systemd-analyze").await?;
            command.env("SYSTEMD_UNIT_PATH", format!("{}:", directory.path().display()));
            let output = within(command.args(arguments).arg(&path).output()).await.unwrap();
            let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            assert!(output.status.success(), "{arguments:?} {name}:\n{stdout}\n{stderr}");
            Some(stderr.into_owned())
        };
        let Some(complaints) = analyze(&["verify", "--man=no", "--recursive-errors=no"]).await else { return };
        assert!(!complaints.contains(name), "{complaints}");
        if name.ends_with(".service") {
            analyze(&["security", "--offline=true", "--threshold=20", "--no-pager"]).await;
        }
    }
}
