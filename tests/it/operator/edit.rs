//! Who edits a letter sees its body: that is on record first, and nothing of the body stays behind.

use std::os::unix::fs::PermissionsExt;

use testkit::waiting::until;
use testkit::{On, TestApp};

use super::dead_letters;

/// An editor that reports its file, leaves a backup beside it, and then waits or ends.
fn editor(directory: &std::path::Path, then: &str) -> String {
    let script = directory.join("editor");
    let report = directory.join("report");
    let text = format!(
        "#!/bin/sh\ncp \"$1\" \"$1~\"\nls -ld \"$(dirname \"$1\")\" > {0}.new\necho \"$1\" >> {0}.new\nmv {0}.new {0}\n{then}\n",
        report.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    script.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_look_at_a_body_is_on_record_even_a_comparison() {
    let app = TestApp::start(On::Sqlite).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    let id = app.until_dead(1).await[0].message_id.to_string();
    let guess = tempfile::NamedTempFile::new().unwrap();
    let revealed = async || app.history().await.iter().filter(|entry| entry.action == "revealed").count();
    for (guessed, text) in ["garbage", "other"].into_iter().enumerate() {
        std::fs::write(guess.path(), text).unwrap();
        let path = guess.path().to_str().unwrap();
        let edit = dead_letters(&app, &["edit", &id, "--body", path, "--by", "eve"]).run().await;
        assert_ne!(edit.code, 0, "the body is equal, or stdin is not a terminal");
        assert_eq!(revealed().await, guessed + 1);
        assert!(edit.stderr.contains("customer data is shown") && edit.stderr.contains("eve"), "{}", edit.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_who_cannot_write_the_history_sees_nothing() {
    let app = TestApp::start(On::Sqlite).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    let id = app.until_dead(1).await[0].message_id.to_string();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON dead_letter_history BEGIN SELECT RAISE(ABORT, 'no'); END";
    app.sql(refuse, refuse).await;
    let other = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(other.path(), "other").unwrap();
    let path = other.path().to_str().unwrap();
    for arguments in [["edit", &id, "--reveal", "--body", path].as_slice(), &["show", &id, "--reveal"], &["export"]] {
        let output = dead_letters(&app, arguments).run().await;
        assert_eq!((output.code, output.stdout.as_str()), (1, ""), "{arguments:?}");
        assert!(!output.stderr.contains("garbage"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_editors_file_is_private_and_removed_also_on_a_signal() {
    let app = TestApp::start(On::Sqlite).await;
    app.post_bytes(b"garbage").await.assert_accepted();
    let id = app.until_dead(1).await[0].message_id.to_string();
    for signal in [None, Some("TERM"), Some("HUP")] {
        let directory = tempfile::tempdir().unwrap();
        let report = directory.path().join("report");
        let editor = editor(directory.path(), signal.map_or("exit 0", |_| "exec sleep 600"));
        let invocation = dead_letters(&app, &["edit", &id]).env("EDITOR", editor).env("PATH", "/usr/bin:/bin");
        let mut editing = invocation.start();
        until("a report of the editor", async || report.exists()).await;
        if let Some(signal) = signal {
            editing.signal(signal).await;
        }
        assert_eq!(editing.ended().await, 1, "unchanged or interrupted: {}", editing.log());
        let report = std::fs::read_to_string(&report).unwrap();
        let (mode, file) = report.split_once('\n').unwrap();
        assert!(mode.starts_with("drwx------"), "{mode}");
        let parent = std::path::Path::new(file.trim()).parent().unwrap();
        assert!(!parent.exists(), "{signal:?}: {} is left behind", parent.display());
    }
}
