//! The image and the compose file: valid, and without what must not be in them. No Docker engine is needed.

use serde_json::Value;

use testkit::app::console::Person;
use testkit::process::until_answers;
use testkit::{On, TestApp};

use super::{file, read, run_tool, yaml_documents};

/// Settings that are neither secret nor different from one machine to the next.
const PUBLIC: [&str; 2] = ["BANKLINK_CONSOLE_AUTH", "BANKLINK_CONSOLE_PROCESSES"];

#[tokio::test]
async fn the_compose_file_is_valid_and_runs_every_role_within_limits() {
    let path = "deploy/compose.yaml";
    let schema = ["--builtin-schema", "vendor.compose-spec", path];
    if run_tool("check-jsonschema", &schema).await.is_none() {
        return;
    }
    let Some(documents) = yaml_documents(&read(path)).await else { return };
    let compose = &documents[0];
    let services = compose["services"].as_object().unwrap();
    for role in ["ingress", "worker", "relay", "api", "console", "reconciler"] {
        assert_eq!(services[role]["command"], serde_json::json!(["run", role]));
        assert!(services[role]["healthcheck"].is_null(), "{role} uses the image's health check");
    }
    assert_eq!(services["worker"]["deploy"]["replicas"], 2);
    assert_eq!(services["reconciler"]["profiles"], serde_json::json!(["reconciler"]), "it needs an account at Lean");
    for secret in compose["secrets"].as_object().unwrap().values() {
        assert!(secret["file"].is_string(), "Compose mounts only files into a read-only container");
    }
    for (name, service) in services {
        let limits = &service["deploy"]["resources"]["limits"];
        assert!(limits["memory"].is_string() && limits["cpus"].is_string(), "{name} has no limits");
        let ports = service["ports"].as_array().into_iter().flatten();
        assert!(ports.map(|port| port.as_str().unwrap()).all(|port| port.starts_with("127.0.0.1:")), "{name}");
        if service["image"].as_str().unwrap().starts_with("banklink:") {
            let hardened = [&service["read_only"], &service["cap_drop"][0]];
            assert_eq!(hardened, [&Value::Bool(true), &Value::from("ALL")], "{name}");
            let grace: u32 = service["stop_grace_period"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
            assert!(grace > 25, "{name}: banklink needs up to 25 s to stop");
            let plain = service["environment"].as_object().unwrap().iter().filter(|(name, _)| !name.ends_with("_FILE"));
            for (variable, value) in plain.filter(|(name, _)| !PUBLIC.contains(&name.as_str())) {
                assert_eq!(value.as_str(), Some(format!("${{{variable}:-}}").as_str()), "{name}: a value in the file");
            }
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
