//! Settings of the console that are wrong, alone or together, stop the start.

use rstest::rstest;
use testkit::process::banklink;

#[rstest]
#[case::open_to_others(&[("LISTEN", "0.0.0.0:0")], "BANKLINK_CONSOLE_LISTEN: 0.0.0.0:0 is not a loopback address")]
#[case::unused_tokens(&[("TOKENS", "anna:admin:a-token-of-16-byte")], "BANKLINK_CONSOLE_AUTH: loopback asks for no login")]
#[case::no_tokens(&[("AUTH", "tokens")], "BANKLINK_CONSOLE_TOKENS is not set")]
#[case::short(&[("AUTH", "tokens"), ("TOKENS", "anna:admin:fifteen-letters")], "BANKLINK_CONSOLE_TOKENS: expected name:role:token")]
#[case::twice(
    &[("AUTH", "tokens"), ("TOKENS", "anna:admin:a-token-of-16-byte,anna:viewer:another-of-16-byte")],
    "BANKLINK_CONSOLE_TOKENS: expected name:role:token"
)]
#[case::no_proxies(&[("AUTH", "proxy"), ("ROLES", "ops=admin")], "BANKLINK_CONSOLE_TRUSTED_PROXIES is not set")]
#[case::no_groups(&[("AUTH", "proxy"), ("TRUSTED_PROXIES", "10.0.0.1")], "BANKLINK_CONSOLE_ROLES is not set")]
#[case::unknown_role(&[("ROLES", "ops=owner")], "BANKLINK_CONSOLE_ROLES: expected")]
#[case::unknown_auth(&[("AUTH", "ldap")], "BANKLINK_CONSOLE_AUTH: expected loopback, tokens or proxy")]
#[case::prefix(&[("PATH_PREFIX", "ops")], "BANKLINK_CONSOLE_PATH_PREFIX: expected a path")]
#[tokio::test]
async fn a_wrong_setting_is_wrong_usage(#[case] variables: &[(&str, &str)], #[case] expected: &str) {
    let command = banklink(&["run", "console"]);
    let run = variables
        .iter()
        .fold(command, |command, (name, value)| command.env(&format!("BANKLINK_CONSOLE_{name}"), *value));
    let run = run.run().await;
    assert_eq!(run.code, 2, "{run:?}");
    assert!(run.stderr.contains(expected) && run.stderr.lines().count() == 1, "{run:?}");
    assert!(!run.stderr.contains("fifteen-letters") && !run.stderr.contains("another-of-16-byte"), "{run:?}");
}
