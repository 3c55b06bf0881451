//! Commands while a server is silent or refuses connections.

use futures_util::future::join_all;
use testkit::process::Output;
use testkit::proxy::{Mode, Proxy};
use testkit::{On, TestApp, amqp_url};

#[tokio::test(flavor = "multi_thread")]
async fn commands_fail_with_the_reason_when_a_server_is_silent_or_refuses_and_work_when_it_is_healthy() {
    let app = TestApp::builder(On::Postgres).ingress_only().build().await;
    let (broker, database) = (Proxy::before(&amqp_url()).await, Proxy::before(&app.database_url()).await);
    let closed_port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = format!("postgres://postgres:postgres@{closed_port}/banklink");
    let (silent, healthy) = ((&broker.url, &database.url), (&amqp_url(), &app.database_url()));
    let call = async |arguments: &'static str, (amqp, database): (&String, &String)| {
        let arguments: Vec<&str> = arguments.split(' ').collect();
        app.command(&arguments).env("AMQP_URL", amqp).env("DATABASE_URL", database).short_deadlines().run().await
    };
    let assert_reason = |output: &Output, reason: &str| {
        assert_eq!(output.code, 1, "{output:?}");
        assert!(output.stdout.contains(reason) || output.stderr.contains(reason), "{reason}: {output:?}");
        assert!(output.stderr.lines().count() <= 2, "{output:?}");
    };
    broker.set(Mode::Silent);
    database.set(Mode::Silent);
    let (no_broker, no_database) = ("RabbitMQ did not answer in time", "the database did not answer in time");
    let broker_commands = ["topology apply", "events tail", "check"];
    let database_commands = ["migrate status", "migrate up", "check", "dead-letters list", "dead-letters stats"];
    tokio::join!(
        join_all(broker_commands.map(async |command| assert_reason(&call(command, silent).await, no_broker))),
        join_all(database_commands.map(async |command| assert_reason(&call(command, silent).await, no_database))),
        join_all(
            database_commands.map(async |c| assert_reason(&call(c, (healthy.0, &refused)).await, "onnection refused"))
        ),
        async {
            let replayed = call("dead-letters replay --class panicked --yes", (silent.0, healthy.1)).await;
            assert_reason(&replayed, "cannot publish");
        },
    );
    broker.set(Mode::Forward);
    database.set(Mode::Forward);
    for command in
        ["topology apply", "migrate status", "check", "dead-letters list", "dead-letters replay --class panicked --yes"]
    {
        let output = call(command, silent).await;
        assert_eq!(output.code, 0, "{command}: {output:?}");
    }
}
