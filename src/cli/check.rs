//! `banklink check`: is everything reachable, declared and migrated as it should be? Makes nothing that is missing.

use super::flags::{Asks, Flags};
use super::{Failure, migrate, output, settings};
use crate::broker::Inspection;
use crate::config::Setting;
use crate::store::{Missing, Store};

#[derive(clap::Args)]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Check>,
}

pub(super) struct Check;

impl Asks for Check {
    const FOR: &'static [&'static Setting] = &settings::BROKER_AND_DATABASE;
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let broker = settings::broker(&mut resolver);
    let url = settings::database_url(&mut resolver);
    let ((address, topology), url) = resolver.finish(broker.zip(url))?;

    let mut findings = Vec::new();
    match Inspection::begin(&address).await {
        Ok(inspection) => {
            findings.push(("broker", Ok("reachable".to_owned())));
            let declared = inspection.compare(&topology).await;
            findings.push(("topology", declared.map(|()| "declared".to_owned()).map_err(|error| error.to_string())));
        }
        Err(error) => findings.push(("broker", Err(error.to_string()))),
    }
    match Store::reach(&url, Missing::Refuse).await {
        Ok(store) => {
            findings.push(("database", Ok("reachable".to_owned())));
            findings.push(("schema", schema(&store).await));
            store.close().await;
        }
        Err(error) => findings.push(("database", Err(error.to_string()))),
    }
    report(findings, args.json)
}

async fn schema(store: &Store) -> Result<String, String> {
    let steps = migrate::status(store).await.map_err(|error| error.to_string())?;
    match steps.iter().find(|step| !step.applied) {
        Some(step) => Err(format!("{} is missing: run `banklink migrate up`", step.name)),
        None => Ok("migrated".to_owned()),
    }
}

fn report(findings: Vec<(&str, Result<String, String>)>, json: bool) -> Result<(), Failure> {
    let all_well = findings.iter().all(|(_, found)| found.is_ok());
    for (what, found) in findings {
        let (state, detail) = match found {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("failed", detail),
        };
        output::line(&if json {
            serde_json::json!({ "check": what, "state": state, "detail": detail }).to_string()
        } else {
            format!("{what:<10} {state:<8} {detail}")
        })?;
    }
    if all_well { Ok(()) } else { Err(Failure::Told) }
}
