//! Every address: who may use it, from where, and which headers its answers have.

use banklink::console::{Changes, Login, ROUTES, Right, Role, Route, Settings};
use testkit::app::console::{ConsoleAnswer, Person, accounts, loopback, settings};
use testkit::{On, TestApp};
use uuid::Uuid;

/// A path that the route matches. What it names does not exist.
fn path(route: &Route) -> String {
    route.path.replace("{id}", &Uuid::nil().to_string()).replace("{fingerprint}/{name}", "0/none.css")
}

async fn ask(person: &Person, route: &Route) -> ConsoleAnswer {
    match route.method {
        // The head of a stream says enough.
        "get" => {
            let request = person.request(reqwest::Method::GET, &path(route));
            let response = request.send().await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            let is_stream = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
            let text = if is_stream { String::new() } else { response.text().await.unwrap() };
            ConsoleAnswer { status, headers, text }
        }
        _ => person.post(&path(route), &[]).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_address_checks_the_role_on_the_server_and_answers_with_the_headers_that_confine_it() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let visitor = console.visitor();
    for route in ROUTES {
        let anonymous = ask(&visitor, route).await;
        match (route.right, route.method) {
            (Right::Public, _) => assert!(![303, 403].contains(&anonymous.status), "{route:?}: {anonymous:?}"),
            (_, "get") => {
                assert_eq!((anonymous.status, &anonymous.header("location")[..6]), (303, "/login"), "{route:?}");
            }
            _ => assert_eq!(anonymous.status, 403, "{route:?}"),
        }
        for role in Role::ALL {
            let person = console.log_in(role).await;
            let answer = ask(&person, route).await;
            let is_refused = answer.status == 403;
            assert_eq!(is_refused, !role.has(route.right), "{role:?} {route:?}: {} {}", answer.status, answer.text);
            assert!(
                answer.header("content-security-policy").starts_with("default-src 'none'; "),
                "{route:?}: {answer:?}"
            );
            assert!(!answer.header("content-security-policy").contains("unsafe"), "{answer:?}");
            assert_eq!(answer.header("x-content-type-options"), "nosniff", "{route:?}");
            assert_eq!(answer.header("referrer-policy"), "same-origin", "{route:?}");
            assert_eq!(answer.header("cache-control"), "no-store", "{route:?}");
            assert!(!answer.text.contains("style=\"") && !answer.text.contains("<style"), "{route:?}");
        }
    }
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_another_origin_is_refused_and_one_from_no_page_is_not() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(accounts()).await;
    let host = console.url.trim_start_matches("http://").to_owned();
    for (name, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 401),
        ("sec-fetch-site", "none", 401),
        ("origin", "https://elsewhere.example", 403),
        ("origin", "null", 403),
        ("origin", &format!("http://{host}"), 401),
        ("origin", &format!("http://{host}.elsewhere.example"), 403),
        ("x-requested-with", "curl", 401),
    ] {
        let person = console.visitor().with_header(name, value);
        let answer = person.post("/login", &[("token", "wrong")]).await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    // A page that is looked at changes nothing, so links may come from anywhere.
    let person = console.visitor().with_header("sec-fetch-site", "cross-site");
    assert_eq!(person.get("/login").await.status, 200);
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_login_only_names_of_this_machine_lead_to_the_console() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(loopback()).await;
    for (host, status) in [
        ("localhost:8090", 200),
        ("localhost", 200),
        ("[::1]:8090", 200),
        ("127.0.0.1", 200),
        ("elsewhere.example", 403),
        ("elsewhere.example:8090", 403),
        ("localhost.elsewhere.example:8090", 403),
    ] {
        let answer = console.visitor().with_header("host", host).get("/letters").await;
        assert_eq!(answer.status, status, "{host}");
    }
    let page = console.visitor().get("/").await.page();
    assert!(page.contains("tester") && page.contains("admin") && !page.contains("Log out"), "{page}");
    drop(console);
}

fn behind_proxy(proxies: &str) -> Settings {
    let roles = [("cn=ops", Role::Operator), ("audit", Role::Auditor), ("all", Role::Viewer)];
    let login = Login::Proxy { roles: roles.map(|(group, role)| (group.to_owned(), role)).to_vec() };
    Settings { proxies: banklink::ingress::parse_networks(proxies).unwrap(), ..settings(login) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_names_the_user_and_the_groups_and_no_one_else_does() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(behind_proxy("127.0.0.0/8")).await;
    let person = |groups: &str| {
        console.visitor().with_header("x-forwarded-user", "anna@example.com").with_header("x-forwarded-groups", groups)
    };
    for (groups, role) in
        [("all", "viewer"), ("other, cn=ops", "operator"), ("audit,all", "auditor"), ("audit,cn=ops", "admin")]
    {
        let page = person(groups).get("/letters").await.page();
        assert!(page.contains("anna@example.com") && page.contains(&format!(">{role}<")), "{groups}: {page}");
    }
    assert_eq!(person("CN=OPS").get("/letters").await.status, 403);
    assert_eq!(person("").get("/letters").await.status, 403);
    let nameless = console.visitor().with_header("x-forwarded-groups", "all");
    assert_eq!(nameless.get("/letters").await.status, 403);
    let twice = person("all").request(reqwest::Method::GET, "/letters").header("x-forwarded-user", "root");
    assert_eq!(twice.send().await.unwrap().status(), 403);

    let elsewhere = app.start_console(behind_proxy("192.0.2.0/24")).await;
    let direct =
        elsewhere.visitor().with_header("x-forwarded-user", "anna").with_header("x-forwarded-groups", "cn=ops");
    assert_eq!(direct.get("/letters").await.status, 403);
    drop((console, elsewhere));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_console_refuses_changes_of_everyone() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(Settings { changes: Changes::ReadOnly, ..accounts() }).await;
    let admin = console.log_in(Role::Admin).await;
    assert!(admin.get("/").await.page().contains("read-only"));
    for route in ROUTES.iter().filter(|route| route.right == Right::Change) {
        assert_eq!(ask(&admin, route).await.status, 403, "{route:?}");
    }
    drop(console);
}

#[tokio::test(flavor = "multi_thread")]
async fn below_a_path_prefix_every_address_of_a_page_begins_with_it() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let console = app.start_console(Settings { path_prefix: "/ops/banklink".to_owned(), ..accounts() }).await;
    let person = console.log_in(Role::Admin).await;
    for path in ["", "/", "/letters?state=any"] {
        let page = person.get(path).await.page();
        for attribute in ["href=\"", "src=\"", "action=\"", "data-live=\""] {
            for address in page.split(attribute).skip(1) {
                assert!(address.starts_with("/ops/banklink") || address.starts_with('#'), "{path}: {}", &address[..40]);
            }
        }
    }
    let answer = console.visitor().get("/letters?state=dead").await;
    assert_eq!(answer.header("location"), "/ops/banklink/login?next=%2Fletters%3Fstate%3Ddead");
    let origin = console.url.trim_end_matches("/ops/banklink");
    let outside = app.http.get(format!("{origin}/letters")).send().await.unwrap();
    assert_eq!(outside.status(), 404);
    drop(console);
}
