//! The image and the compose files: valid, and without what must not be in them. No Docker engine is needed.

use serde_json::Value;
use testkit::app::console::Person;
use testkit::process::{banklink, until_answers};
use testkit::{On, TestApp};

use super::{file, read, run_tool, yaml_documents};

/// The servers and the roles.
const BASE: &str = "deploy/compose.yaml";
/// Adds Prometheus and Grafana.
const MONITORING: &str = "deploy/compose.monitoring.yaml";
/// Adds a simulated Lean and webhooks.
const DEMO: &str = "deploy/compose.demo.yaml";

/// Settings that are neither secret nor different from one machine to the next.
const PUBLIC: [&str; 2] = ["BANKLINK_CONSOLE_AUTH", "BANKLINK_CONSOLE_PROCESSES"];

/// The compose file, once it is valid. `None`, with a message, where that cannot be found out.
async fn compose(path: &str) -> Option<Value> {
    run_tool("check-jsonschema", &["--builtin-schema", "vendor.compose-spec", path]).await?;
    yaml_documents(&read(path)).await.map(|mut documents| documents.remove(0))
}

fn services(compose: &Value) -> impl Iterator<Item = (&String, &Value)> {
    compose["services"].as_object().unwrap().iter()
}

#[tokio::test]
async fn every_service_of_every_compose_file_has_limits_few_rights_and_ports_on_loopback() {
    for path in [BASE, MONITORING, DEMO] {
        let Some(compose) = compose(path).await else { return };
        for (name, service) in services(&compose) {
            let ports = service["ports"].as_array().into_iter().flatten();
            assert!(ports.map(|port| port.as_str().unwrap()).all(|port| port.starts_with("127.0.0.1:")), "{name}");
            // Without an image, it changes a service of an earlier file.
            let Some(image) = service["image"].as_str() else { continue };
            let limits = &service["deploy"]["resources"]["limits"];
            assert!(limits["memory"].is_string() && limits["cpus"].is_string(), "{path}: {name} has no limits");
            if image.starts_with("banklink:") {
                let hardened = [&service["read_only"], &service["cap_drop"][0]];
                assert_eq!(hardened, [&Value::Bool(true), &Value::from("ALL")], "{name}");
                let grace: u32 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
                assert!(grace > 25, "{name}: banklink needs up to 25 s to stop");
            }
        }
    }
}

#[tokio::test]
async fn the_compose_file_runs_every_role_without_a_secret_in_it() {
    let Some(compose) = compose(BASE).await else { return };
    for role in ["ingress", "worker", "relay", "api", "console", "reconciler"] {
        let service = &compose["services"][role];
        assert_eq!(service["command"], serde_json::json!(["run", role]));
        assert!(service["healthcheck"].is_null(), "{role} uses the image's health check");
    }
    assert_eq!(compose["services"]["worker"]["deploy"]["replicas"], 2);
    let profiles = &compose["services"]["reconciler"]["profiles"];
    assert_eq!(*profiles, serde_json::json!(["reconciler"]), "it needs an account at Lean");
    for secret in compose["secrets"].as_object().unwrap().values() {
        assert!(secret["file"].is_string(), "Compose mounts only files into a read-only container");
    }
    let own = services(&compose).filter(|(_, service)| service["image"].as_str().unwrap().starts_with("banklink:"));
    for (name, service) in own {
        let plain = service["environment"].as_object().unwrap().iter().filter(|(name, _)| !name.ends_with("_FILE"));
        for (variable, value) in plain.filter(|(name, _)| !PUBLIC.contains(&name.as_str())) {
            assert_eq!(value.as_str(), Some(format!("${{{variable}:-}}").as_str()), "{name}: a value in the file");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_starts_with_its_environment_and_takes_the_token_in_the_file() {
    let Some(documents) = yaml_documents(&read("deploy/compose.yaml")).await else { return };
    let console = &documents[0]["services"]["console"];
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let environment = console["environment"].as_object().unwrap();
    let own = ["AMQP_URL_FILE", "DATABASE_URL_FILE"];
    let started = environment.iter().filter(|(name, _)| !own.contains(&name.as_str())).fold(
        app.command(&["run", "console"]).on_free_ports(),
        |command, (name, value)| {
            let value = value.as_str().unwrap();
            command.env(name, value.replace("/run/secrets", file("deploy/secrets").to_str().unwrap()))
        },
    );
    let mut console = started.start();
    until_answers(&console.admin().await, "/readyz/console", 200).await;
    let secret = read("deploy/secrets/console_tokens");
    let token = secret.trim().rsplit(':').next().unwrap();
    let person = Person::at_process(&console).await;
    for (token, status) in [(token, 303), ("another-token-of-some-length", 401)] {
        assert_eq!(person.post("/login", &[("token", token)]).await.status, status, "{}", console.log());
    }
    assert_eq!(console.terminate().await, 0, "{}", console.log());
}

/// README's command needs no setting, and something happens that the dashboard can show.
#[tokio::test]
async fn the_demonstration_makes_its_secrets_itself_and_webhooks_without_end() {
    let command = format!("docker compose -f {BASE} -f {MONITORING} -f {DEMO} up --build --wait");
    assert!(read("README.md").contains(&format!("```sh\n{command}")), "the one command of README");
    let (Some(base), Some(demo)) = (compose(BASE).await, compose(DEMO).await) else { return };
    let directory = tempfile::tempdir().unwrap();
    let make = demo["services"]["demo-secrets"]["command"][0].as_str().unwrap().replace("$$", "$");
    let script = make.replace("/run/demo", directory.path().to_str().unwrap());
    for _ in ["once", "again"] {
        assert!(std::process::Command::new("sh").args(["-euc", &script]).status().unwrap().success(), "{script}");
    }
    for (name, service) in services(&base).filter(|(_, service)| service["environment"].is_object()) {
        for (variable, value) in service["environment"].as_object().unwrap() {
            let is_given = !value.as_str().unwrap().ends_with(":-}") || !service["profiles"].is_null();
            let instead = &demo["services"][name]["environment"][format!("{variable}_FILE")];
            assert!(is_given || instead.is_string(), "{name} does not start without {variable}");
        }
    }
    for (name, service) in services(&demo) {
        for (variable, path) in service["environment"].as_object().unwrap() {
            let Some(file) = path.as_str().unwrap().strip_prefix("/run/demo/") else { continue };
            let secret = std::fs::read_to_string(directory.path().join(file)).unwrap();
            assert_eq!(secret.len(), 64, "{name}: {variable}");
            let plain = variable.strip_suffix("_FILE").unwrap();
            assert!(base["services"][name].is_null() || service["environment"][plain] == "", "both would be set");
        }
    }
    // Each command is understood: its help names every flag.
    for name in ["demo-lean", "demo-traffic"] {
        let words = demo["services"][name]["command"].as_array().unwrap();
        let help = banklink(&[words[0].as_str().unwrap(), "--help"]).run().await.stdout;
        for flag in words.iter().filter_map(|word| word.as_str().filter(|word| word.starts_with("--"))) {
            assert!(help.contains(&format!("{flag} ")), "{name}: {flag}");
        }
    }
}

#[tokio::test]
async fn the_image_is_built_as_hadolint_asks_runs_as_a_user_and_checks_itself() {
    run_tool("hadolint", &["deploy/Dockerfile"]).await;
    let (dockerfile, last) = (read("deploy/Dockerfile"), |text: &str, key: &str| {
        text.lines().rfind(|line| line.starts_with(key)).map(str::to_owned).unwrap_or_default()
    });
    assert_eq!(last(&dockerfile, "USER"), "USER 10001");
    assert!(last(&dockerfile, "HEALTHCHECK").ends_with(r#"CMD ["banklink", "check", "--probe"]"#), "{dockerfile}");
    assert!(!dockerfile.contains("COPY . .\nRUN"), "dependencies would be compiled again after each change");
}
