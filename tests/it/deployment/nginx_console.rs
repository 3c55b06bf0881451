//! The sample reverse proxy for the console, a real nginx: name and groups come from the single sign-on, and from nothing else.

use banklink::console::{Login, Role, Settings};
use banklink::ingress::parse_networks;
use reqwest::{RequestBuilder, Response};
use testkit::app::console::settings;
use testkit::tls::Certificates;
use testkit::waiting::within;
use testkit::{On, TestApp, raw_http};

use super::nginx::{Proxy, free_port};

const SAMPLE: &str = "deploy/nginx/banklink-console.conf";

/// Answers as oauth2-proxy does: anna and ben have sessions, and each is in groups.
fn single_sign_on(port: u16) -> String {
    format!(
        r#"map $http_cookie $email {{ "_oauth2_proxy=anna" anna@example.com; "_oauth2_proxy=ben" ben@example.com; }}
        map $email $groups {{ anna@example.com "staff,ops"; ben@example.com staff; }}
        server {{
            listen 127.0.0.1:{port};
            location = /oauth2/auth {{
                if ($email = "") {{ return 401; }}
                add_header x-auth-request-email $email;
                add_header x-auth-request-groups $groups;
                return 200;
            }}
            location = /oauth2/sign_in {{ return 200 "who are you?"; }}
        }}"#
    )
}

/// A request of a person with that session, who claims another name and another group.
fn request(request: RequestBuilder, session: &str) -> RequestBuilder {
    let request = request.header("x-forwarded-user", "root").header("x-forwarded-groups", "ops");
    request.header("cookie", format!("_oauth2_proxy={session}"))
}

async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn name_and_groups_come_from_the_single_sign_on_alone_and_pages_stay_live_through_the_proxy() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let login = Login::Proxy { roles: vec![("ops".to_owned(), Role::Operator), ("staff".to_owned(), Role::Viewer)] };
    let proxies = parse_networks("127.0.0.1").unwrap();
    let console = app.start_console(Settings { proxies, ..settings(login) }).await;
    let (certificates, port) = (Certificates::new(), free_port().await);
    let (upstream, sign_on) = (raw_http::address(&console.url).to_string(), format!("127.0.0.1:{port}"));
    let changes = [("127.0.0.1:8090", upstream.as_str()), ("127.0.0.1:4180", &sign_on)];
    let Some(proxy) = Proxy::start(SAMPLE, &single_sign_on(port), &certificates, &changes).await else { return };
    let http = &proxy.client;
    let get = async |path: &str, session: &str| request(http.get(proxy.url(path)), session).send().await.unwrap();

    let stranger = get("/letters", "stolen").await;
    assert_eq!(stranger.status(), 302);
    let sign_in = stranger.headers()["location"].to_str().unwrap().to_owned();
    assert!(sign_in.ends_with(&format!("/oauth2/sign_in?rd={}", proxy.url("/letters"))), "{sign_in}");
    assert_eq!(text(get("/oauth2/sign_in", "stolen").await).await, (200, "who are you?".to_owned()));
    assert_eq!(get("/oauth2/auth", "anna").await.status(), 404, "it is for the proxy only");
    for (session, role) in [("anna", "operator"), ("ben", "viewer")] {
        let (status, page) = text(get("/letters", session).await).await;
        let knows = [&format!("{session}@example.com"), &format!(">{role}<")].map(|word| page.contains(word));
        assert!(status == 200 && knows == [true; 2] && !page.contains("root"), "{session}: {page}");
    }

    // A change is taken from a page of this address only, and from those who may.
    let own = proxy.url("");
    for (session, origin, expected) in [
        ("anna", own.as_str(), "Tick at least one letter"),
        ("anna", "https://evil.example", "another origin"),
        ("ben", &own, "viewer"),
    ] {
        let post = request(http.post(proxy.url("/letters/discard")), session).header("origin", origin);
        let (status, page) = text(post.send().await.unwrap()).await;
        assert!(status == 400 || status == 403, "{status}");
        assert!(page.contains(expected), "{session} {origin}: {page}");
    }

    // The first part of a stream, which goes on.
    let mut stream = get("/live/replays", "ben").await;
    let part = within(stream.chunk()).await.unwrap().unwrap();
    assert!(part.starts_with(b"retry:"), "{part:?}");
    drop((stream, console));
}
