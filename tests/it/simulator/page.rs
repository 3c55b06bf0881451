//! The shop's page and its files, as a browser receives them.

use rstest::rstest;

use super::Simulated;

#[rstest]
#[case("/", "text/html")]
#[case("/page.js", "text/javascript")]
#[case("/style.css", "text/css")]
#[case("/sdk.js", "text/javascript")]
#[case("/sdk.css", "text/css")]
#[case("/icon.svg", "image/svg+xml")]
#[tokio::test(flavor = "multi_thread")]
async fn every_file_has_its_type_and_names_no_other_server(#[case] path: &str, #[case] content_type: &str) {
    let lean = Simulated::without_receiver().await;
    let response = lean.http.get(format!("{}{path}", lean.url)).send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["x-content-type-options"]),
        (200, &"nosniff".parse().unwrap())
    );
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with(content_type));
    let text = response.text().await.unwrap().replace("http://www.w3.org/2000/svg", "");
    assert!(!text.contains("http:") && !text.contains("https:") && !text.contains("url("), "{path}");
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_runs_only_its_own_scripts_and_styles() {
    let lean = Simulated::without_receiver().await;
    let page = lean.http.get(&lean.url).send().await.unwrap();
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    let html = page.text().await.unwrap();
    // The policy would block any of these.
    for inline in ["<style", " style=", " onclick=", "<script>", "javascript:"] {
        assert!(!html.contains(inline), "{inline}");
    }
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_has_names_and_roles_that_assistive_technology_and_tests_rely_on() {
    let lean = Simulated::without_receiver().await;
    let [html, sdk] = ["/", "/sdk.js"].map(|path| lean.http.get(format!("{}{path}", lean.url)).send());
    let (html, sdk) = (html.await.unwrap().text().await.unwrap(), sdk.await.unwrap().text().await.unwrap());
    for part in [
        r#"<html lang="en">"#,
        ">Connect account</button>",
        r#"role="status""#,
        r#"<label for="customer">"#,
        "<noscript>",
    ] {
        assert!(html.contains(part), "{part}");
    }
    for part in [r#"button("Success""#, r#"button("Cancel""#, r#"button("Error""#, "showModal()", "aria-labelledby"] {
        assert!(sdk.contains(part), "{part}");
    }
    lean.stop().await;
}

#[rstest]
#[case("/nothing", 404)]
#[case("/customers/v1", 404)]
#[case("/simulate/links", 405)]
#[case("/oauth2/token", 405)]
#[tokio::test(flavor = "multi_thread")]
async fn other_paths_and_methods_are_problems(#[case] path: &str, #[case] status: u16) {
    let lean = Simulated::without_receiver().await;
    let refused = lean.get(path).await;
    refused.assert_refused(status);
    assert_eq!(refused.headers["x-content-type-options"], "nosniff");
    lean.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_is_refused() {
    let lean = Simulated::without_receiver().await;
    let body = serde_json::json!({ "count": 1, "customer_id": "x".repeat(70_000) });
    assert_eq!(lean.post("/simulate/links", &body).await.status, 413);
    lean.stop().await;
}
