//! Which values the Helm chart takes.

use std::collections::BTreeSet;

use banklink::cli::SETTINGS;
use serde_json::Value;

use super::helm::{refusal, render};
use super::read;

#[tokio::test]
async fn values_that_would_do_something_else_than_they_say_are_refused() {
    for (values, message) in [
        ("preStopSeconds=40,terminationGracePeriodSeconds=65", "terminationGracePeriodSeconds: 65 is too short"),
        ("terminationGracePeriodSeconds=30", "terminationGracePeriodSeconds"),
        ("ca.secret=a,ca.configMap=b", "ca.secret and ca.configMap"),
        ("autoscaling.minReplicas=9", "autoscaling.minReplicas"),
        ("serviceMonitor.enabled=true", "networkPolicy.metricsFrom"),
        ("settings.OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317", "networkPolicy.tracesPorts"),
        ("roles.worker.settings.OTEL_EXPORTER_OTLP_ENDPOINT=http://otel:4317", "no trace of worker"),
        ("networkPolicy.brokerPorts={}", "brokerPorts"),
        ("settings.BANKLINK_ADMIN_LISTEN=:1", "invalid propertyName"),
        ("settings.BANKLINK_BATCH_SIZ=1", "invalid propertyName"),
        ("settings.OTEL_EXPORTER_OTLP_HEADERS=s", "invalid propertyName"),
    ] {
        let Some(refused) = refusal(&["--set", &format!("existingSecret=s,{values}")]).await else { return };
        assert!(refused.contains(message), "{values}: {refused}");
    }
    let fits = ["--set", "existingSecret=s,preStopSeconds=40,terminationGracePeriodSeconds=66"];
    assert!(render(&fits).await.is_some());
}

#[tokio::test]
async fn settings_are_those_of_the_program_without_secrets_and_addresses() {
    let schema: Value = serde_json::from_str(&read("deploy/helm/values.schema.json")).unwrap();
    let known: BTreeSet<&str> = schema["$defs"]["settings"]["propertyNames"]["anyOf"][0]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    let is_ours = |name: &str| name.ends_with("_LISTEN") || name == "BANKLINK_CONSOLE_PROCESSES";
    let plain = SETTINGS.iter().filter(|setting| !setting.secret && !is_ours(setting.variable));
    assert_eq!(known, plain.map(|setting| setting.variable).collect());
    for secret in SETTINGS.iter().filter(|setting| setting.secret) {
        let values = format!("existingSecret=s,settings.{}=s", secret.variable);
        let Some(refused) = refusal(&["--set", &values]).await else { return };
        assert!(refused.contains("invalid propertyName"), "{values}: {refused}");
    }
}
