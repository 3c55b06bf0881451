//! The ingress: throughput and latency of signed posts, compared with a minimal handler.

use anyhow::{Context, Result};

use crate::args::Database;
use crate::bench::Bench;
use crate::load::{self, Load};
use crate::proc::{self, Cpu, Meter};
use crate::process::Running;
use crate::report::{Figure, format_value};
use crate::{broker, progress, stats, webhook};

/// Numbers of concurrent connections.
const CONNECTIONS: [usize; 2] = [64, 256];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ingress {
    Banklink,
    Ceiling,
}

impl Ingress {
    fn name(self) -> &'static str {
        match self {
            Self::Banklink => "banklink",
            Self::Ceiling => "ceiling",
        }
    }
}

pub(crate) async fn measure(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for connections in CONNECTIONS {
        let (mut banklink_loads, mut ceiling_loads): (Vec<Measured>, Vec<Measured>) = (Vec::new(), Vec::new());
        for run in 0..bench.settings.repeat {
            let mut order = [Ingress::Banklink, Ingress::Ceiling];
            if run % 2 == 1 {
                order.reverse();
            }
            for ingress in order {
                let what = format!("ingress, {connections} connections, {}", ingress.name());
                let load = post_to(bench, ingress, connections, &what).await.context(what)?;
                match ingress {
                    Ingress::Banklink => banklink_loads.push(load),
                    Ingress::Ceiling => ceiling_loads.push(load),
                }
            }
        }
        let name = format!("ingress, {connections} connections");
        let values = |of: fn(&Load) -> f64| {
            [&banklink_loads, &ceiling_loads].map(|loads| loads.iter().map(|(load, _)| of(load)).collect::<Vec<_>>())
        };
        let [banklink, ceiling] = values(|load| load.rate);
        figures.push(Figure::new(&name, "/s", banklink).compared_to("ceiling", ceiling));
        let [banklink, ceiling] = values(|load| stats::quantile(&load.latencies, 0.5));
        figures.push(Figure::new(format!("{name}, p50"), "ms", banklink).compared_to("ceiling", ceiling));
        let [banklink, ceiling] = values(|load| stats::quantile(&load.latencies, 0.99));
        figures.push(Figure::new(format!("{name}, p99"), "ms", banklink).compared_to("ceiling", ceiling));
        let [banklink, ceiling] =
            [&banklink_loads, &ceiling_loads].map(|loads| loads.iter().map(|(_, cpu)| *cpu).collect::<Vec<_>>());
        figures.extend(proc::figures(&name, &banklink, &ceiling));
    }
    Ok(figures)
}

/// A load, and the processor time of each post.
type Measured = (Load, Cpu);

/// Posts to an ingress of its own until every post is accepted.
pub(crate) async fn post_to(bench: &Bench, ingress: Ingress, connections: usize, what: &str) -> Result<Measured> {
    let posts = load::posts(bench.settings.count as usize, webhook::created)?;
    let count = posts.len();
    let sandbox = bench.sandbox(Database::Sqlite).await?;
    let command = match ingress {
        Ingress::Banklink => sandbox.banklink(&["run", "ingress"]),
        Ingress::Ceiling => sandbox.ceiling(&["ceiling-ingress", "--namespace", &sandbox.namespace])?,
    };
    let mut process = Running::start(command)?;
    if ingress == Ingress::Banklink {
        process.ready().await?;
    }
    let address = process.ingress().await?;
    let spinner = progress::spinner(what);
    let meter = Meter::start(process.pid(), &bench.endpoints);
    let load = load::send_all(&address, posts, connections).await.with_context(|| process.log())?;
    let cpu = meter.per_webhook(count);
    drop(spinner);
    process.stop().await?;

    let connection = broker::connect(&sandbox.amqp_url).await?;
    let channel = broker::with_deadline(connection.create_channel()).await?;
    broker::until_ready(&channel, &sandbox.webhooks(), count).await?;
    broker::with_deadline(connection.close(200, "done".into())).await?;
    bench.remove(&sandbox).await;
    progress::print(&format!("{what}: {}/s", format_value(load.rate)));
    Ok((load, cpu))
}
