//! docs/schemas holds what the program prints, and what the program prints is what it does.

use banklink::domain::event_schema;
use rstest::rstest;
use serde_json::Value;
use testkit::repository;

use super::{document, printed};

#[rstest]
#[tokio::test]
async fn the_files_hold_what_the_command_prints(#[values("events", "asyncapi", "openapi")] name: &str) {
    let path = repository().join(format!("docs/schemas/{name}.json"));
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    let printed = printed(name, &[]).await;
    assert!(stored == printed, "docs/schemas is not current; run: banklink schema {name} > docs/schemas/{name}.json");
}

#[tokio::test]
async fn asyncapi_names_the_exchange_and_the_stream_of_the_namespace() {
    let document = document("asyncapi", &["--namespace", "other"]).await;
    let exchange = &document["channels"]["customer.bank_linked"]["bindings"]["amqp"]["exchange"];
    assert_eq!((exchange["name"].as_str(), exchange["type"].as_str()), (Some("other.events"), Some("topic")));
    assert_eq!(document["channels"]["log"]["address"], "other.events.log");
    let text = document.to_string();
    assert!(!text.contains("banklink.events"), "{text}");
}

/// The read API's document is a file, for it is what the API serves. Its schemas must say what the types say.
#[tokio::test]
async fn openapi_describes_a_link_as_the_types_do() {
    let definitions = event_schema::definitions(&|name| format!("#/components/schemas/{name}"));
    let document = document("openapi", &[]).await;
    let described = |properties: &Value| -> Vec<(String, Value)> {
        let properties = properties.as_object().unwrap().iter();
        properties.map(|(name, schema)| (name.clone(), schema["type"].clone())).collect()
    };
    for name in ["BankLink", "Bank"] {
        let mut in_document = document["components"]["schemas"][name].clone();
        let updated_at = in_document["properties"].as_object_mut().unwrap().remove("updated_at");
        assert_eq!(updated_at.is_some(), name == "BankLink");
        let mut generated = definitions[name].clone();
        if name == "BankLink" {
            // A list and a look-up only know links that have a customer.
            generated["properties"]["customer_id"]["type"] = "string".into();
        }
        assert_eq!(described(&in_document["properties"]), described(&generated["properties"]), "{name}");
    }
}

#[tokio::test]
async fn openapi_has_every_path_of_the_three_addresses() {
    let document = document("openapi", &[]).await;
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let expected = [
        "/livez",
        "/metrics",
        "/readyz",
        "/readyz/{role}",
        "/v1/bank-links/{entity_id}",
        "/v1/customers/{customer_id}/bank-links",
        "/v1/customers/{customer_id}/bank-links/events",
        "/v1/openapi.json",
        "/webhooks/lean",
    ];
    assert_eq!(paths, expected);
    let tokens = |path: &str| document["paths"][path]["get"]["security"].to_string();
    assert_eq!((tokens("/livez").as_str(), tokens("/v1/openapi.json").as_str()), ("[]", r#"[{"token":[]}]"#));
}
