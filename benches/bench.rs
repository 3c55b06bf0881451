//! What every section works with: the settings, and a sandbox for each run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::args::Database;
use crate::endpoints::Endpoints;
use crate::progress;
use crate::sandbox::Sandbox;
use crate::settings::Settings;

pub(crate) struct Bench {
    pub(crate) settings: Settings,
    pub(crate) endpoints: Endpoints,
    sandboxes: Arc<Sandboxes>,
}

#[derive(Default)]
struct Sandboxes {
    created: AtomicU32,
    /// Those of current runs, and of runs that failed.
    existing: Mutex<Vec<Sandbox>>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { endpoints: Endpoints::from_settings(&settings), settings, sandboxes: Arc::default() }
    }

    /// The same bench with other services.
    pub(crate) fn under(&self, endpoints: Endpoints) -> Self {
        Self { settings: self.settings.clone(), endpoints, sandboxes: Arc::clone(&self.sandboxes) }
    }

    /// Creates a sandbox with the schema and the topology that banklink needs.
    pub(crate) async fn sandbox(&self, database: Database) -> Result<Sandbox> {
        let number = self.sandboxes.created.fetch_add(1, Ordering::Relaxed);
        let sandbox = Sandbox::new(&self.settings, &self.endpoints, number, database);
        self.existing().push(sandbox.clone());
        sandbox.create().await?;
        Ok(sandbox)
    }

    /// Deletes a sandbox. A failure is only reported: the figures that were measured in it are valid.
    pub(crate) async fn remove(&self, sandbox: &Sandbox) {
        match sandbox.delete().await {
            Ok(()) => self.existing().retain(|other| other.namespace != sandbox.namespace),
            Err(error) => progress::print(&format!("cannot delete {}: {error:#}", sandbox.namespace)),
        }
    }

    /// Deletes every sandbox that is left.
    pub(crate) async fn remove_all(&self) {
        let sandboxes = self.existing().clone();
        for sandbox in sandboxes {
            self.remove(&sandbox).await;
        }
    }

    fn existing(&self) -> MutexGuard<'_, Vec<Sandbox>> {
        self.sandboxes.existing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
