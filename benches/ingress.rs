//! The ingress: signed posts accepted in a second, and how long each takes, beside a bare handler.

use anyhow::{Context, Result};

use crate::args::Database;
use crate::load::{self, Load};
use crate::process::{self, Running};
use crate::report::{Figure, shown};
use crate::{Bench, broker, progress, stats};

/// Connections that post at the same time.
const CONNECTIONS: [usize; 2] = [64, 256];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ingress {
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
        let (mut banklink, mut ceiling) = (Vec::new(), Vec::new());
        for run in 0..bench.settings.repeat {
            let mut order = [Ingress::Banklink, Ingress::Ceiling];
            if run % 2 == 1 {
                order.reverse();
            }
            for ingress in order {
                let what = format!("ingress, {connections} connections, {}", ingress.name());
                let load = post_to(bench, ingress, connections, &what).await.context(what)?;
                match ingress {
                    Ingress::Banklink => banklink.push(load),
                    Ingress::Ceiling => ceiling.push(load),
                }
            }
        }
        let name = format!("ingress, {connections} connections");
        let values = |of: fn(&Load) -> f64| [&banklink, &ceiling].map(|loads| loads.iter().map(of).collect::<Vec<_>>());
        let [ours, theirs] = values(|load| load.rate);
        figures.push(Figure::new(&name, "/s", ours).beside("ceiling", theirs));
        let [ours, theirs] = values(|load| stats::quantile(&load.took, 0.5));
        figures.push(Figure::new(format!("{name}, p50"), "ms", ours).beside("ceiling", theirs));
        let [ours, theirs] = values(|load| stats::quantile(&load.took, 0.99));
        figures.push(Figure::new(format!("{name}, p99"), "ms", ours).beside("ceiling", theirs));
    }
    Ok(figures)
}

async fn post_to(bench: &Bench, ingress: Ingress, connections: usize, what: &str) -> Result<Load> {
    let posts = load::posts(bench.settings.count as usize)?;
    let count = posts.len();
    let place = bench.places.make(bench, Database::Sqlite).await?;
    let command = match ingress {
        Ingress::Banklink => process::banklink(bench, &place, &["run", "ingress"]),
        Ingress::Ceiling => process::ceiling(&place, &["ceiling-ingress", "--namespace", &place.namespace])?,
    };
    let mut process = Running::start(command)?;
    if ingress == Ingress::Banklink {
        process.ready().await?;
    }
    let address = process.ingress().await?;
    let spinner = progress::spinner(what);
    let load = load::send_all(&address, posts, connections).await.with_context(|| process.log())?;
    drop(spinner);
    process.stop().await?;

    let connection = broker::connect(&place.amqp_url).await?;
    let channel = broker::in_time(connection.create_channel()).await?;
    broker::holds(&channel, &place.webhooks(), count).await?;
    broker::in_time(connection.close(200, "counted".into())).await?;
    bench.places.remove(bench, &place).await;
    progress::say(&format!("{what}: {}/s", shown(load.rate)));
    Ok(load)
}
