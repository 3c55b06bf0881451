//! The shell blocks of the documents do what they say. The runbook's have a test of their own; every other block is run here, or the
//! document says above it that no test runs it.

use std::net::TcpListener;
use std::process::Command;

use chrono::{TimeDelta, Utc};
use serde_json::{Value, json};
use testkit::app::API_TOKEN;
use testkit::lean_api::LeanApi;
use testkit::process::{Invocation, program};
use testkit::waiting::eventually;
use testkit::{On, TestApp, fixtures, http};
use uuid::Uuid;

const README: &str = include_str!("../../README.md");
const SUBSCRIBERS: &str = include_str!("../../docs/SUBSCRIBERS.md");
/// The comment above a block that no test runs as it stands, which goes on with the reason.
const NOT_RUN: &str = "<!-- not run by a test: ";
/// The documents with blocks that are run, and how many of them have a test below; none: another test runs each line of all of them.
const RUN: [(&str, Option<usize>); 3] =
    [("README.md", Some(3)), ("docs/SUBSCRIBERS.md", Some(1)), ("deploy/RUNBOOK.md", None)];
/// What a command begins with.
const PROGRAMS: [&str; 22] = [
    "banklink",
    "bash",
    "cargo",
    "cosign",
    "curl",
    "docker",
    "export",
    "git",
    "helm",
    "install",
    "kubectl",
    "make",
    "pg_dump",
    "pg_restore",
    "psql",
    "rabbitmqctl",
    "sed",
    "set-permissions",
    "sigstore",
    "sqlite3",
    "sudo",
    "systemctl",
];

/// The shell block of `document` that contains `part`.
fn block(document: &str, part: &str) -> String {
    let mut blocks = document.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    blocks.find(|block| block.contains(part)).unwrap_or_else(|| panic!("no block with {part}")).to_owned()
}

/// A script for a shell that finds the program by its name, with the environment of `invocation`.
fn shell(invocation: Invocation) -> Invocation {
    let directory = program().parent().expect("a directory").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    invocation.of("bash".into()).env("PATH", format!("{directory}:{path}"))
}

/// The documents of the repository, by path.
fn documents() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "*.md"]).output().expect("git");
    let paths = String::from_utf8(listed.stdout).expect("UTF-8");
    let read = |path: &str| (path.to_owned(), std::fs::read_to_string(path).expect("a document"));
    let documents: Vec<_> = paths.lines().map(read).collect();
    assert!(documents.iter().any(|(path, _)| path == "README.md"), "{paths}");
    documents
}

/// Each block of `language` in `text`: the line above it, and its content.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<(&'a str, &'a str)> {
    let fence = format!("```{language}\n");
    let starts = text.match_indices(&fence).map(|(at, fence)| (at, at + fence.len()));
    starts
        .map(|(at, start)| {
            let above = text[..at].trim_end().lines().next_back().unwrap_or_default();
            (above, text[start..].split("```").next().unwrap_or_default())
        })
        .collect()
}

#[test]
fn every_shell_block_is_run_or_says_that_it_is_not() {
    for (path, text) in documents() {
        let unmarked = blocks(&text, "sh").iter().filter(|(above, _)| !above.starts_with(NOT_RUN)).count();
        match RUN.iter().find(|(run, _)| *run == path) {
            // The runbook's test runs every line of it.
            Some((_, None)) => {}
            Some((_, Some(tests))) => assert_eq!(unmarked, *tests, "{path}: a block without a test"),
            None => assert_eq!(unmarked, 0, "{path}: a block that is neither run nor marked"),
        }
    }
}

#[test]
fn a_command_is_in_a_shell_block() {
    for (path, text) in documents() {
        for (above, block) in blocks(&text, "text").into_iter().filter(|(above, _)| !above.starts_with(NOT_RUN)) {
            let first = block.split_whitespace().next().unwrap_or_default();
            let program = first.rsplit('/').next().unwrap_or_default();
            // `VARIABLE=value program`
            let assigns =
                first.split_once('=').is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
                    && block.split_whitespace().count() > 1;
            assert!(
                !PROGRAMS.contains(&program) && !assigns,
                "{path}: a command in a block of text, after {above:?}: {block}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_asks_for_the_links_of_a_customer() {
    let app = TestApp::start(On::Sqlite).await;
    let entity = Uuid::new_v4();
    app.post(&fixtures::created(entity)).await.assert_accepted();
    app.until_link(entity).await;
    let api = app.start_api(|settings| settings).await;
    let script = block(README, "curl").replace("http://127.0.0.1:8081", &api.origin).replace("?wait=30s", "");
    let asked = shell(app.command(&["-euc", &script])).env("TOKEN", API_TOKEN);
    let asked = asked.env("CUSTOMER_ID", "6bc2336a-6d74-4e59-a492-65313423a8f8").run().await;
    let answer: Value = serde_json::from_str(&asked.stdout).unwrap_or_else(|_| panic!("{asked:?}"));
    assert_eq!(answer["bank_links"][0]["entity_id"], entity.to_string(), "{asked:?}");
    app.finish_with_leftovers().await;
}

/// The block's ports may be taken here, so free ones are put in their place.
#[tokio::test(flavor = "multi_thread")]
async fn the_readme_runs_every_role_beside_a_simulated_lean() {
    let app = TestApp::builder(On::Sqlite).ingress_only().build().await;
    let listeners = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    let [ingress, api, admin, page] = listeners.each_ref().map(|l| l.local_addr().expect("an address").to_string());
    drop(listeners);
    let (roles, simulator) = ("banklink run ingress worker relay api", "banklink simulate");
    let block = block(README, simulator);
    assert!(block.contains(roles) && block.contains("http://127.0.0.1:8081"), "{block}");
    let flags = format!("{simulator} --listen {page} --webhook-url http://{ingress}");
    let block = block.replace(simulator, &flags).replace("http://127.0.0.1:8081", &format!("http://{api}"));
    // Both in the background, so that a signal to the shell ends both.
    let block = block.split(" # then open").next().unwrap_or_default().to_owned();
    let script = format!("trap 'kill $(jobs -p); wait; exit' TERM\n{block} &\nwait");
    let started = shell(app.command(&["-euc", &script])).env("BANKLINK_ADMIN_LISTEN", admin);
    let started = started.env("BANKLINK_LISTEN", ingress).env("BANKLINK_API_LISTEN", api);
    let mut started = started.start();
    let create = http::client().post(format!("http://{page}/simulate/links"));
    eventually("a created link", async || {
        let answer = create.try_clone()?.body(r#"{"count":1}"#).send().await.ok()?;
        answer.status().is_success().then_some(())
    })
    .await;
    app.until_links(1).await;
    assert_eq!(started.terminate().await, 0, "{}", started.log());
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readme_reconciles() {
    let app = TestApp::start(On::Sqlite).await;
    let mut webhook = fixtures::created(Uuid::new_v4());
    webhook["timestamp"] = json!(Utc::now() - TimeDelta::hours(5));
    let lean = LeanApi::start([webhook]).await;
    // A dry run that finds something exits with 1, so the shell must go on.
    let script = block(README, "banklink reconcile");
    let run = shell(app.lean_command(&lean, &["-uc", &script])).run().await;
    assert_eq!(run.code, 0, "{run:?}");
    app.until_links(1).await;
    app.finish_with_leftovers().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_rehearses() {
    let app = TestApp::start(On::Sqlite).await;
    app.subscribe("rehearsed", &app.topology.events(), "never").await;
    let queue = app.queue("rehearsed");
    let directory = tempfile::tempdir().unwrap();
    let script = block(SUBSCRIBERS, "rehearse").replace("accounts.bank-links", &queue);
    let script = format!("cd {}\n{script}", directory.path().display());
    let run = shell(app.command(&["-euc", &script])).run().await;
    assert_eq!(run.code, 0, "{run:?}");
    let expected = std::fs::read_to_string(directory.path().join("expected.jsonl")).unwrap();
    assert_eq!(expected.lines().count(), 4, "{expected}");
    app.finish_with_leftovers().await;
}
