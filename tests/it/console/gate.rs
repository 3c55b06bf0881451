//! Who comes in: a table of rights in plain words, other origins, proxies, cookies, and texts that outlive a session.

use banklink::console::{Login, ROUTES, Role, Settings};
use banklink::domain::failure::FailureClass;
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;
use testkit::app::console::{ConsoleAnswer, Person, accounts, loopback, settings, token};
use testkit::app::insert_dead_letters;
use testkit::waiting::until;
use testkit::{On, TestApp, fixtures};
use uuid::Uuid;

use super::letter;

const EVERYONE: &str = "viewer operator auditor admin";
const CHANGERS: &str = "operator admin";
const AUDITORS: &str = "auditor admin";

/// Who may use which address, as docs/CONTRACT.md#12-the-console says.
const RIGHTS: &[(&str, &str, &str)] = &[
    ("post", "/logout", EVERYONE),
    ("get", "/", EVERYONE),
    ("get", "/live/overview", EVERYONE),
    ("get", "/letters", EVERYONE),
    ("get", "/letters/{id}", EVERYONE),
    ("get", "/live/letters/{id}", EVERYONE),
    ("post", "/letters/{id}/reveal", AUDITORS),
    ("post", "/letters/{id}/edit", CHANGERS),
    ("post", "/letters/{id}/edit/preview", CHANGERS),
    ("post", "/letters/{id}/edit/send", CHANGERS),
    ("post", "/letters/discard", CHANGERS),
    ("post", "/letters/discard/confirmed", CHANGERS),
    ("post", "/letters/export", AUDITORS),
    ("get", "/replays", EVERYONE),
    ("get", "/live/replays", EVERYONE),
    ("post", "/replays/new", CHANGERS),
    ("post", "/replays", CHANGERS),
    ("get", "/replays/{id}", EVERYONE),
    ("get", "/live/replays/{id}", EVERYONE),
    ("post", "/replays/{id}/pause", CHANGERS),
    ("post", "/replays/{id}/resume", CHANGERS),
    ("post", "/replays/{id}/cancel", CHANGERS),
    ("get", "/links", EVERYONE),
    ("get", "/links/{id}", EVERYONE),
    ("post", "/links/{id}/reveal", AUDITORS),
    ("get", "/reconciliation", EVERYONE),
    ("get", "/live/reconciliation", EVERYONE),
    ("get", "/audit", EVERYONE),
    ("get", "/audit/export", AUDITORS),
];
/// What is there without a login.
const PUBLIC: [(&str, &str); 3] = [("get", "/assets/{fingerprint}/{name}"), ("get", "/login"), ("post", "/login")];

/// The status of the answer; the head of a stream says enough.
async fn status(person: &Person, method: &str, path: &str) -> u16 {
    let path = path.replace("{id}", &Uuid::nil().to_string());
    match method {
        "get" => person.request(Method::GET, &path).send().await.unwrap().status().as_u16(),
        _ => person.post(&path, &[]).await.status,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_in_the_table_of_rights_and_keeps_to_it() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let mut known: Vec<_> = RIGHTS.iter().map(|(method, path, _)| (*method, *path)).chain(PUBLIC).collect();
    let mut routes: Vec<_> = ROUTES.iter().map(|route| (route.method, route.path)).collect();
    known.sort_unstable();
    routes.sort_unstable();
    assert_eq!(known, routes);
    for role in Role::ALL {
        // The logout is the last one.
        let person = console.log_in(role).await;
        for (method, path, who) in RIGHTS.iter().rev() {
            let may = who.split(' ').any(|name| name == role.as_str());
            assert_eq!(status(&person, method, path).await != 403, may, "{role:?}: {method} {path}");
        }
    }
    let foreign = console.visitor().with_header("sec-fetch-site", "cross-site");
    let admin = console.log_in(Role::Admin).await.with_header("sec-fetch-site", "cross-site");
    for (method, path) in known.iter().filter(|(method, _)| *method == "post") {
        assert_eq!(status(&foreign, method, path).await, 403, "{path} from another origin, without a login");
        assert_eq!(status(&admin, method, path).await, 403, "{path} from another origin");
    }
    assert_eq!(admin.get("/").await.status, 200, "it is still logged in");
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn assets_are_kept_for_good_and_every_page_with_data_stays_below_the_prefix() {
    let app = TestApp::builder(On::Postgres).unsubscribed().build().await;
    let console = app.start_console(Settings { path_prefix: "/ops".to_owned(), ..accounts() }).await;
    let linked = Uuid::new_v4();
    app.post(&fixtures::created(linked)).await.assert_accepted();
    app.until_link(linked).await;
    insert_dead_letters(&app.store.connection(), (0..60).map(|number| json!({ "number": number }))).await;
    let admin = console.log_in(Role::Admin).await;
    let id = app.dead_letters().await[0].message_id;
    let letter = format!("/letters/{id}");
    assert_eq!(admin.post(&format!("{letter}/reveal"), &[("reason", "a look")]).await.status, 200);
    let plan = admin.post("/replays/new", &[("scope", "all")]).await;
    let form = ["key", "shown", "until"].map(|name| (name, plan.hidden(name)));
    let form: Vec<_> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let started = admin.post("/replays", &[&form[..], &[("scope", "all"), ("reason", "of a test")]].concat()).await;
    let replay = started.header("location").strip_prefix("/ops").expect("a replay below the prefix").to_owned();
    until("the end of the replay", async || app.replays().await[0].state == "done").await;
    let ticked = [("id", id.to_string())];
    let ticked = ticked.each_ref().map(|(name, value)| (*name, value.as_str()));
    let mut pages: Vec<ConsoleAnswer> = vec![plan];
    for path in ["/", "/letters", &letter, "/replays", &replay, "/links", &format!("/links/{linked}"), "/audit"] {
        pages.push(admin.get(path).await);
    }
    pages.push(admin.post("/letters/discard", &ticked).await);
    pages.push(admin.post(&format!("{letter}/edit"), &[("reason", "a look")]).await);
    for page in &pages {
        assert_eq!(page.status, 200, "{}", page.text);
        for attribute in ["href=\"", "src=\"", "action=\"", "data-live=\""] {
            for address in page.text.split(attribute).skip(1) {
                assert!(address.starts_with("/ops/") || address.starts_with('#'), "{attribute}{address:.60}");
            }
        }
    }
    let assets = pages[1].text.split("\"/ops/assets/").skip(1).map(|rest| rest.split('"').next().unwrap());
    let assets: Vec<_> = assets.collect();
    assert_eq!(assets.len(), 3);
    for asset in assets {
        let answer = console.visitor().get(&format!("/assets/{asset}")).await;
        let kept = answer.header("cache-control");
        assert_eq!((answer.status, kept), (200, "public, max-age=31536000, immutable"), "{asset}");
    }
    drop(console);
    app.until_outbox_is_empty().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_nothing_comes_through_a_proxy_or_from_another_site() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    for (name, value) in [
        ("x-forwarded-for", "203.0.113.7"),
        ("x-forwarded-proto", "https"),
        ("x-real-ip", "203.0.113.7"),
        ("forwarded", "for=203.0.113.7"),
        ("via", "1.1 proxy"),
    ] {
        let answer = console.visitor().with_header(name, value).get("/letters").await;
        assert!(answer.status == 403 && answer.text.contains("BANKLINK_CONSOLE_AUTH"), "{name}: {}", answer.text);
    }
    let foreign = || console.visitor().with_header("sec-fetch-site", "cross-site");
    assert_eq!(foreign().with_header("sec-fetch-mode", "no-cors").get("/letters").await.status, 403, "an image");
    assert_eq!(foreign().get("/letters").await.status, 403);
    assert_eq!(foreign().with_header("sec-fetch-mode", "navigate").get("/letters").await.status, 200, "a link");
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_that_are_named_twice_count_for_nothing() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let login = Login::Proxy { roles: vec![("all".to_owned(), Role::Viewer), ("ops".to_owned(), Role::Admin)] };
    let proxies = banklink::ingress::parse_networks("127.0.0.1").unwrap();
    let console = app.start_console(Settings { proxies, ..settings(login) }).await;
    let person = console.visitor().with_header("x-forwarded-user", "anna").with_header("x-forwarded-groups", "all");
    assert_eq!(person.get("/letters").await.status, 200);
    // The client's own line, which the proxy has passed on.
    let twice = person.request(Method::GET, "/letters").header("x-forwarded-groups", "ops");
    assert_eq!(person.send(twice).await.status, 403);
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_cookies_the_one_with_a_session_counts_and_only_under_the_name_for_its_transport() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let proxies = banklink::ingress::parse_networks("127.0.0.1").unwrap();
    let console = app.start_console(Settings { proxies, ..accounts() }).await;
    let log_in = async |proto: &str, role: Role| {
        let person = console.visitor().with_header("x-forwarded-proto", proto);
        let answer = person.post("/login", &[("token", &token(role))]).await;
        answer.header("set-cookie").split(';').next().unwrap().to_owned()
    };
    let (viewer, admin) = (log_in("https", Role::Viewer).await, log_in("http", Role::Admin).await);
    assert!(viewer.starts_with("__Host-banklink-console=") && admin.starts_with("banklink-console="));
    let get = async |proto: &str, cookies: &str| {
        let person = console.visitor().with_header("x-forwarded-proto", proto).with_header("cookie", cookies);
        person.get("/letters").await
    };
    let page = get("https", &format!("{admin}; __Host-banklink-console=old; {viewer}")).await.page();
    assert!(page.contains(">viewer<") && !page.contains(">admin<"), "a plain cookie is no one's over TLS: {page}");
    assert_eq!(get("https", &admin).await.status, 303);
    assert_eq!(get("http", &viewer).await.status, 303);
    assert_eq!(get("http", &admin).await.status, 200);
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_from_everywhere_do_not_keep_out_who_has_a_token() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let proxies = banklink::ingress::parse_networks("127.0.0.1").unwrap();
    let console = app.start_console(Settings { proxies, ..accounts() }).await;
    let guess = async |address: usize| {
        let guesser = console.visitor().with_header("x-forwarded-for", &format!("203.0.113.{address}"));
        for _ in 0..10 {
            assert_eq!(guesser.post("/login", &[("token", "a-guess-of-a-token")]).await.status, 401);
        }
    };
    for address in 0..50 {
        guess(address).await;
    }
    let other = console.visitor().with_header("x-forwarded-for", "203.0.113.200");
    assert_eq!(other.post("/login", &[("token", "a-guess-of-a-token")]).await.status, 429);
    assert_eq!(other.post("/login", &[("token", &token(Role::Operator))]).await.status, 303);
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_was_typed_while_the_session_ended_is_not_lost() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let webhook = json!({ "type": "entity.created", "payload": { "id": Uuid::new_v4(), "permissions": 7 } });
    let dead = letter(&webhook, FailureClass::InvalidWebhook, "payload.permissions: wrong", TimeDelta::hours(1));
    let path = format!("/letters/{}", dead.message_id);
    app.insert_letters(vec![dead]).await;
    let operator = console.log_in(Role::Operator).await;
    let form = operator.post(&format!("{path}/edit"), &[("reason", "ticket 12")]).await;
    let opened = form.hidden("opened");
    operator.post("/logout", &[]).await;

    let typed = [("opened", opened.as_str()), ("body", "{\"typed\": \"</textarea><b>\"}")];
    let answer = operator.post(&format!("{path}/edit/preview"), &typed).await;
    assert_eq!((answer.status, answer.header("cache-control")), (403, "no-store"));
    let shown = "{&quot;typed&quot;: &quot;&lt;/textarea&gt;&lt;b&gt;&quot;}</textarea>";
    let link = format!("/login?next={}", path.replace('/', "%2F"));
    for expected in [shown, &opened, &link, &format!("action=\"{path}/edit/preview\"")] {
        assert!(answer.text.contains(expected), "{expected}: {}", answer.text);
    }
    // Logged in again elsewhere, the form goes on.
    assert_eq!(operator.post("/login", &[("token", &token(Role::Operator))]).await.status, 303);
    let preview = operator.post(&format!("{path}/edit/preview"), &typed).await.page();
    assert!(preview.contains("Send the edited body?"), "{preview}");

    let answer = console.visitor().post("/letters/discard", &[]).await;
    assert!(answer.status == 403 && answer.text.contains("href=\"/login\""), "{}", answer.text);
    let large = "x".repeat(2_000_000);
    let answer = console.visitor().post(&format!("{path}/edit/preview"), &[("body", &large)]).await;
    assert!(answer.status == 403 && answer.text.len() < 10_000, "{}", answer.text.len());
    drop(console);
}
