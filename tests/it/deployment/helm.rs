//! The Helm chart: rendered by Helm, valid for Kubernetes, and right about the program. No cluster is needed.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use testkit::process::banklink;
use testkit::waiting::within;

use super::{run_tool, tool_command, yaml_documents};

const CHART: &str = "deploy/helm";
const ROLES: [&str; 6] = ["api", "console", "ingress", "reconciler", "relay", "worker"];
/// Everything that can be switched on.
const ALL: [&str; 12] = [
    "--set",
    "existingSecret=the-secret",
    "--set",
    "roles.reconciler.enabled=true,roles.console.enabled=true",
    "--set",
    "autoscaling.enabled=true",
    "--set",
    "serviceMonitor.enabled=true,prometheusRule.enabled=true,prometheusRule.runbookUrl=https://git.internal/banklink",
    "--set",
    "ca.secret=the-ca,autoscaling.tls=true,otlpHeaders.secret=the-collector,settings.OTEL_EXPORTER_OTLP_ENDPOINT=https://otel:4317",
    "--set-json",
    r#"networkPolicy={"tracesPorts":[4317],"brokerTo":[{"podSelector":{}}],"metricsFrom":[{"podSelector":{}}]}"#,
];

/// The objects that Helm makes of the chart, and their text.
pub(super) async fn render(options: &[&str]) -> Option<(Vec<Value>, String)> {
    let text = run_tool("helm", &[&["template", "banklink", CHART], options].concat()).await?;
    Some((yaml_documents(&text).await?, text))
}

/// Why Helm refuses the values.
pub(super) async fn refusal(options: &[&str]) -> Option<String> {
    let mut helm = tool_command("helm").await?;
    let output = within(helm.args(["template", "banklink", CHART]).args(options).output()).await.unwrap();
    assert!(!output.status.success(), "{options:?} are accepted");
    Some(String::from_utf8(output.stderr).unwrap())
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |object| object["kind"] == kind)
}

fn component(object: &Value) -> &str {
    object["metadata"]["labels"]["app.kubernetes.io/component"].as_str().unwrap()
}

#[tokio::test]
async fn the_chart_renders_to_valid_objects_and_puts_no_secret_into_them() {
    if run_tool("helm", &["lint", "--strict", CHART, "--set", "existingSecret=s"]).await.is_none() {
        return;
    }
    for options in [&ALL[..], &ALL[..2]] {
        let Some((objects, text)) = render(options).await else { return };
        let rendered = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
        std::fs::write(rendered.path(), &text).unwrap();
        let path = rendered.path().to_str().unwrap();
        let validate = ["-k", "1.35", "--strict", "--no-warn", path];
        let Some(validated) = run_tool("kubernetes-validate", &validate).await else { return };
        // Resources of operators have no schema there.
        let (operators, known): (Vec<&Value>, Vec<&Value>) = objects.iter().partition(|object| {
            let version = object["apiVersion"].as_str().unwrap();
            version.contains("keda.sh") || version.contains("coreos.com")
        });
        assert_eq!(validated.matches("passed for resource").count(), known.len(), "{validated}");
        for operator in operators {
            let object = tempfile::Builder::new().suffix(".json").tempfile().unwrap();
            std::fs::write(object.path(), operator.to_string()).unwrap();
            let path = object.path().to_str().unwrap();
            run_tool("check-jsonschema", &["--schemafile", "tests/schemas/operators.json", path]).await;
        }
        assert_eq!(of_kind(&objects, "Secret").count(), 0);
        assert!(!text.contains("amqp://") && !text.contains("postgres://"), "{text}");
    }
    let missing = refusal(&[]).await.unwrap();
    assert!(missing.contains("existingSecret"), "{missing}");
}

#[tokio::test]
async fn every_role_has_probes_limits_a_grace_period_above_the_drain_and_settings_that_exist() {
    let Some((objects, _)) = render(&ALL).await else { return };
    let deployed: BTreeSet<&str> = of_kind(&objects, "Deployment").map(component).collect();
    assert_eq!(deployed, BTreeSet::from(ROLES));
    for deployment in of_kind(&objects, "Deployment") {
        let (role, pod) = (component(deployment), &deployment["spec"]["template"]["spec"]);
        let container = &pod["containers"][0];
        assert_eq!(container["args"], json!(["run", role]));
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], format!("/readyz/{role}"));
        let pause = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64().unwrap();
        assert!(pod["terminationGracePeriodSeconds"].as_u64().unwrap() > pause + 25, "{role}");
        assert_eq!(pod["enableServiceLinks"], false, "BANKLINK_..._PORT would be set");
        assert_eq!(pod["topologySpreadConstraints"].as_array().unwrap().len(), 2);
        check_container(pod, container, &["run"]).await;
    }
    for job in of_kind(&objects, "Job") {
        assert_eq!(job["metadata"]["annotations"]["helm.sh/hook"], "pre-install,pre-upgrade");
        let pod = &job["spec"]["template"]["spec"];
        // `topology apply` declares all the same.
        let declare = json!({ "name": "BANKLINK_DECLARE", "value": "false" });
        assert!(pod["containers"][0]["env"].as_array().unwrap().contains(&declare), "{job}");
        let arguments: Vec<_> =
            pod["containers"][0]["args"].as_array().unwrap().iter().map(|a| a.as_str().unwrap()).collect();
        check_container(pod, &pod["containers"][0], &arguments).await;
    }
    for kind in ["PodDisruptionBudget", "NetworkPolicy"] {
        let covered: BTreeSet<&str> = of_kind(&objects, kind).map(component).collect();
        assert!(covered.is_superset(&deployed), "{kind}: {covered:?}");
    }
    let test = of_kind(&objects, "Pod").next().unwrap();
    assert_eq!(test["spec"]["containers"].as_array().unwrap().len(), ROLES.len(), "`helm test` asks every role");
}

#[tokio::test]
async fn the_console_is_one_process_with_a_login_that_reaches_every_role_and_is_reached_by_those_who_are_named() {
    let Some((objects, _)) = render(&ALL[..2]).await else { return };
    assert_eq!(objects.iter().filter(|object| component(object) == "console").count(), 0, "it is off by default");
    for (values, expected) in [
        ("replicas=2", "replicas': maximum"),
        ("settings.BANKLINK_CONSOLE_AUTH=loopback", "must be one of"),
        ("settings.BANKLINK_CONSOLE_AUTH=proxy", "missing properties 'BANKLINK_CONSOLE_TRUSTED_PROXIES'"),
    ] {
        let refused =
            refusal(&["--set", "existingSecret=s", "--set", &format!("roles.console.{values}")]).await.unwrap();
        assert!(refused.contains(expected), "{values}: {refused}");
    }

    let named = "networkPolicy.consoleFrom[0].podSelector.matchLabels.app=proxy";
    let (objects, _) = render(&[&ALL[..], &["--set", named]].concat()).await.unwrap();
    let of = |kind| of_kind(&objects, kind).find(|object| component(object) == "console").unwrap();
    let (deployment, policy) = (of("Deployment"), of("NetworkPolicy"));
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate", "two would not know each other's sessions");
    let services: BTreeSet<String> = of_kind(&objects, "Service")
        .filter(|service| service["spec"]["clusterIP"] == "None")
        .map(|service| format!("{}:9464", service["metadata"]["name"].as_str().unwrap()))
        .collect();
    let environment = &deployment["spec"]["template"]["spec"]["containers"][0]["env"];
    let processes =
        environment.as_array().unwrap().iter().find(|it| it["name"] == "BANKLINK_CONSOLE_PROCESSES").unwrap();
    let asked: BTreeSet<String> = processes["value"].as_str().unwrap().split(',').map(str::to_owned).collect();
    assert_eq!(asked, services, "it asks every role");
    for role in ROLES {
        let of_role = of_kind(&objects, "NetworkPolicy").find(|object| component(object) == role).unwrap();
        let from = of_role["spec"]["ingress"][0]["from"].to_string();
        assert!(from.contains(r#""app.kubernetes.io/component":"console""#), "{role} is closed to it: {from}");
    }
    let ports = |direction: &str| policy["spec"][direction].as_array().unwrap().clone();
    let to_roles = ports("egress").into_iter().find(|rule| rule["ports"][0]["port"] == 9464).unwrap();
    assert_eq!(to_roles["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"], "banklink");
    let pages = ports("ingress").into_iter().find(|rule| rule["ports"][0]["port"] == "console").unwrap();
    assert_eq!(pages["from"], json!([{ "podSelector": { "matchLabels": { "app": "proxy" } } }]));
    let (closed, _) = render(&ALL).await.unwrap();
    let closed = of_kind(&closed, "NetworkPolicy").find(|object| component(object) == "console").unwrap();
    assert!(!closed["spec"]["ingress"].to_string().contains(r#""port":"console""#), "closed unless peers are named");

    let single_sign_on = "roles.console.settings.BANKLINK_CONSOLE_AUTH=proxy,\
                          roles.console.settings.BANKLINK_CONSOLE_TRUSTED_PROXIES=10.0.0.1,\
                          roles.console.settings.BANKLINK_CONSOLE_ROLES=ops=operator";
    let (_, text) = render(&[&ALL[..], &["--set", single_sign_on]].concat()).await.unwrap();
    assert!(!text.to_lowercase().contains("console-tokens"), "no tokens are mounted then");
}

/// Checks what a container may do, that its secrets are files that are mounted, and that `command` knows its variables.
async fn check_container(pod: &Value, container: &Value, command: &[&str]) {
    let security = &container["securityContext"];
    assert_eq!(security["readOnlyRootFilesystem"], true);
    assert_eq!(
        (&security["capabilities"]["drop"][0], &pod["securityContext"]["runAsNonRoot"]),
        (&json!("ALL"), &json!(true))
    );
    assert!(
        container["resources"]["limits"]["memory"].is_string() && container["resources"]["requests"]["cpu"].is_string()
    );
    let help = banklink(&[command, &["--help"]].concat()).run().await.stdout;
    let mounted: BTreeSet<&str> = pod["volumes"][0]["secret"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["key"].as_str().unwrap())
        .collect();
    let (mut used, mut names) = (BTreeSet::new(), BTreeSet::new());
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        // OpenTelemetry reads it itself; it comes from a Secret.
        let Some(value) = variable["value"].as_str() else {
            assert_eq!(
                (name, &variable["valueFrom"]["secretKeyRef"]["name"]),
                ("OTEL_EXPORTER_OTLP_HEADERS", &json!("the-collector"))
            );
            continue;
        };
        assert!(names.insert(name), "{name} is set twice");
        // The jobs get every setting, and ignore what is not theirs.
        let is_known = help.contains(&format!("[env: {name}]")) || command[0] != "run";
        assert!(is_known || name.starts_with("SSL_CERT_"), "{command:?} has no setting {name}: {help}");
        if name.ends_with("_FILE") && name != "SSL_CERT_FILE" {
            used.insert(value.strip_prefix("/run/secrets/banklink/").unwrap());
        }
    }
    assert_eq!(used, mounted, "a role mounts the secrets that it uses, and no others");
}

#[tokio::test]
async fn workers_are_scaled_by_ready_messages_and_taken_away_slowly() {
    let Some((objects, _)) = render(&ALL).await else { return };
    let scaled = of_kind(&objects, "ScaledObject").next().unwrap();
    let trigger = &scaled["spec"]["triggers"][0]["metadata"];
    // Over AMQP the length has no unacknowledged messages in it.
    assert_eq!((&trigger["protocol"], &trigger["queueName"]), (&json!("amqp"), &json!("banklink.webhooks")));
    assert!(scaled["spec"]["minReplicaCount"].as_u64().unwrap() > 0, "workers also retry and record dead letters");
    let behavior = &scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"];
    assert_eq!(behavior["scaleDown"]["stabilizationWindowSeconds"], 300);
    let worker = of_kind(&objects, "Deployment").find(|deployment| component(deployment) == "worker").unwrap();
    assert!(worker["spec"]["replicas"].is_null(), "an upgrade would undo what the autoscaler has done");
    let authentication = &of_kind(&objects, "TriggerAuthentication").next().unwrap()["spec"];
    let ca = json!({ "parameter": "ca", "name": "the-ca", "key": "ca.pem" });
    assert!(authentication["secretTargetRef"].as_array().unwrap().contains(&ca), "{authentication}");
    let tls = of_kind(&objects, "ConfigMap").next().unwrap();
    assert_eq!(authentication["configMapTargetRef"][0]["name"], tls["metadata"]["name"]);
    assert_eq!(tls["data"][authentication["configMapTargetRef"][0]["key"].as_str().unwrap()], "enable");
}

#[tokio::test]
async fn every_role_is_scraped_as_one_job_and_the_rules_are_those_of_prometheus() {
    let Some((objects, _)) = render(&ALL).await else { return };
    let monitor = of_kind(&objects, "ServiceMonitor").next().unwrap();
    let selected = monitor["spec"]["selector"]["matchLabels"].as_object().unwrap();
    let services = of_kind(&objects, "Service").filter(|service| {
        selected.iter().all(|(label, value)| service["metadata"]["labels"].get(label) == Some(value))
    });
    assert_eq!(services.count(), ROLES.len(), "every role is scraped");
    let job = &monitor["spec"]["endpoints"][0]["relabelings"][0];
    assert_eq!((&job["targetLabel"], &job["replacement"]), (&json!("job"), &json!("banklink")), "as the rules expect");
    let rules = &of_kind(&objects, "PrometheusRule").next().unwrap()["spec"];
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    std::fs::write(file.path(), rules.to_string()).unwrap();
    run_tool("promtool", &["check", "rules", file.path().to_str().unwrap()]).await;
    let text = rules.to_string();
    assert!(
        !text.contains("example.com") && text.contains("https://git.internal/banklink/deploy/RUNBOOK.md#"),
        "{text}"
    );
}
