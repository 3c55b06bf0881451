//! `banklink check`: is everything reachable, declared and migrated as it should be? Makes no exchange, queue or table that is
//! missing.

use super::flags::{Flags, SettingsGroup};
use super::{Failure, migrate, output, settings};
use crate::broker::{Address, Inspection, Topology};
use crate::config::Setting;
use crate::store::{IfMissing, Store};

#[derive(clap::Args)]
pub(super) struct Args {
    /// One JSON object a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags<Check>,
}

pub(super) struct Check;

impl SettingsGroup for Check {
    const FOR: &'static [&'static Setting] = &settings::BROKER_AND_DATABASE;
}

pub(super) async fn run(args: Args) -> Result<(), Failure> {
    let mut resolver = args.flags.resolver();
    let broker = settings::broker(&mut resolver);
    let url = settings::database_url(&mut resolver);
    let ((address, topology), url) = resolver.finish(broker.zip(url))?;

    let (broker, topology) = look_at_the_broker(&address, &topology).await;
    let (database, schema) = look_at_the_database(&url).await;
    report([("broker", broker), ("topology", topology), ("database", database), ("schema", schema)], args.json)
}

/// How something is, or what is wrong with it.
type Finding = Result<String, String>;

async fn look_at_the_broker(address: &Address, topology: &Topology) -> (Finding, Finding) {
    match Inspection::begin(address).await {
        Ok(inspection) => {
            let declared = inspection.compare(topology).await;
            let declared = declared.map(|()| "declared".to_owned()).map_err(|error| error.to_string());
            (Ok("reachable".to_owned()), declared)
        }
        Err(error) => (Err(error.to_string()), Err("nobody there to ask".to_owned())),
    }
}

async fn look_at_the_database(url: &str) -> (Finding, Finding) {
    let store = match Store::connect(url, IfMissing::Refuse).await {
        Ok(store) => store,
        Err(error) => return (Err(error.to_string()), Err("nobody there to ask".to_owned())),
    };
    let schema = schema(&store).await;
    let database = match &schema {
        Ok(_) => store.probe().await.map(|()| "reachable, and can be written".to_owned()),
        // What is missing cannot be written.
        Err(_) => Ok("reachable".to_owned()),
    };
    store.close().await;
    (database.map_err(|error| error.to_string()), schema)
}

async fn schema(store: &Store) -> Finding {
    let steps = migrate::status(store).await.map_err(|error| error.to_string())?;
    match migrate::missing(&steps) {
        Some(step) => Err(format!("{step} is missing: run `banklink migrate up`")),
        None => Ok("migrated".to_owned()),
    }
}

fn report(findings: [(&str, Finding); 4], json: bool) -> Result<(), Failure> {
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
    if all_well { Ok(()) } else { Err(Failure::AlreadyReported) }
}
