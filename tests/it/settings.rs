//! Settings from flags, variables and files, and the messages about wrong ones.

use testkit::process::banklink;

#[tokio::test]
async fn the_ingress_does_not_start_without_a_secret() {
    let run = banklink(&["run", "ingress"]).run().await;
    assert_eq!((run.code, run.stdout.as_str()), (2, ""));
    assert!(run.stderr.contains("LEAN_WEBHOOK_SECRETS is not set"), "{}", run.stderr);
}

#[tokio::test]
async fn every_wrong_setting_is_reported_in_one_line() {
    let run = banklink(&["run", "--batch-size", "0"])
        .env("BANKLINK_RETRY_SCHEDULE", "soon")
        .env("DATABASE_URL", "mysql://user:hunter2@host/x")
        .env("AMQP_URL", "hunter2")
        .env("LEAN_WEBHOOK_SECRETS", "")
        .run()
        .await;
    assert_eq!(run.code, 2);
    for name in ["BANKLINK_BATCH_SIZE", "BANKLINK_RETRY_SCHEDULE", "DATABASE_URL", "AMQP_URL", "LEAN_WEBHOOK_SECRETS"] {
        assert!(run.stderr.contains(name), "{name}: {}", run.stderr);
    }
    assert!(!run.stderr.contains("hunter2") && run.stderr.lines().count() == 1, "{}", run.stderr);
}

#[tokio::test]
async fn a_role_validates_only_the_settings_that_it_uses() {
    let run = banklink(&["run", "relay"]).env("LEAN_WEBHOOK_SECRETS", "").env("DATABASE_URL", "nonsense").run().await;
    assert!(run.stderr.contains("DATABASE_URL") && !run.stderr.contains("SECRETS"), "{}", run.stderr);
    let run = banklink(&["run", "ingress"]).env("DATABASE_URL", "nonsense").run().await;
    assert!(!run.stderr.contains("DATABASE_URL"), "{}", run.stderr);
}

#[tokio::test]
async fn a_secret_and_its_file_must_not_both_be_set() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    let run = banklink(&["run", "ingress"])
        .env("LEAN_WEBHOOK_SECRETS", "a-secret-of-a-test")
        .env("LEAN_WEBHOOK_SECRETS_FILE", path)
        .run()
        .await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("LEAN_WEBHOOK_SECRETS_FILE are both set"), "{}", run.stderr);
    let run = banklink(&["check", "--database-url-file", "/does/not/exist"]).run().await;
    assert_eq!(run.code, 2);
    assert!(run.stderr.contains("DATABASE_URL_FILE: cannot read"), "{}", run.stderr);
}

#[tokio::test]
async fn secrets_that_could_be_guessed_or_that_no_one_signs_with_are_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for secrets in [
        "§",
        "fifteen-chars-x",
        "a-secret-of-a-test,short",
        "a-secret-of-a-test,",
        "one-secret-per-line\ntwo-secrets-in-all",
    ] {
        for invocation in [
            banklink(&["run", "ingress"]).env("LEAN_WEBHOOK_SECRETS", secrets),
            banklink(&["run", "ingress", "--lean-webhook-secrets-file", path]),
        ] {
            std::fs::write(file.path(), format!("{secrets}\n")).unwrap();
            let run = invocation.run().await;
            assert_eq!(run.code, 2, "{secrets:?}: {run:?}");
            assert!(run.stderr.contains("LEAN_WEBHOOK_SECRETS: expected") && !run.stderr.contains(secrets), "{run:?}");
        }
    }
    let help = banklink(&["run", "--help"]).run().await;
    assert!(help.stdout.contains("Preferred: a file with the value"), "{}", help.stdout);
}

#[tokio::test]
async fn the_event_source_must_be_a_uri_reference() {
    for source in ["bank link", "/bänklink", "a:b:c d", "%zz"] {
        let run = banklink(&["run", "worker", "--event-source", source]).run().await;
        assert!(run.code == 2 && run.stderr.contains("BANKLINK_EVENT_SOURCE: expected"), "{source}: {run:?}");
    }
    for source in ["/banklink", "https://example.com/banklink", "urn:example:banklink", "banklink"] {
        let run = banklink(&["run", "worker", "--event-source", source, "--batch-size", "0"]).run().await;
        assert!(run.code == 2 && !run.stderr.contains("EVENT_SOURCE"), "{source}: {run:?}");
    }
}

#[tokio::test]
async fn a_flag_wins_over_a_variable_and_an_empty_variable_is_unset() {
    let show = |flags: &[&str]| banklink(&[&["topology", "show"], flags].concat());
    let flag = show(&["--namespace", "flag"]).env("BANKLINK_NAMESPACE", "variable").run().await;
    assert!(flag.stdout.contains("flag.webhooks") && !flag.stdout.contains("variable"), "{flag:?}");
    let variable = show(&[]).env("BANKLINK_NAMESPACE", "variable").run().await;
    assert!(variable.stdout.contains("variable.webhooks"), "{variable:?}");
    let empty = show(&[]).env("BANKLINK_NAMESPACE", "").run().await;
    assert!(empty.stdout.contains("banklink.webhooks"), "{empty:?}");
}

#[tokio::test]
async fn help_lists_every_setting_and_no_secret() {
    let run =
        banklink(&["run", "--help"]).env("LEAN_WEBHOOK_SECRETS", "hunter2").env("AMQP_URL", "hunter2").run().await;
    assert_eq!(run.code, 0);
    assert!(!run.stdout.contains("hunter2"), "{}", run.stdout);
    insta::assert_snapshot!("run_help", run.stdout);
    for command in [
        ["--help"].as_slice(),
        &["send", "--help"],
        &["migrate", "--help"],
        &["events", "tail", "--help"],
        &["--version"],
    ] {
        assert_eq!(banklink(command).run().await.code, 0, "{command:?}");
    }
    for wrong in [[].as_slice(), &["nonsense"], &["migrate"], &["run", "painter"], &["send", "--count", "0"]] {
        assert_eq!(banklink(wrong).run().await.code, 2, "{wrong:?}");
    }
}

#[test]
fn the_documents_list_every_setting_with_its_default() {
    let table = include_str!("../../docs/SETTINGS.md");
    for setting in banklink::cli::SETTINGS {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{}`", setting.variable)));
        let row = row.unwrap_or_else(|| panic!("{} is not in docs/SETTINGS.md", setting.variable));
        let default = if setting.required { "" } else { setting.default };
        assert!(row.contains(default), "{row} lacks {default}");
    }
}
