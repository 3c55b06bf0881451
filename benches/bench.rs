//! What every section works with: the settings, and a sandbox for each run.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use crate::args::Database;
use crate::progress;
use crate::sandbox::Sandbox;
use crate::settings::Settings;

pub(crate) struct Bench {
    pub(crate) settings: Settings,
    created: AtomicU32,
    /// The sandboxes of current runs, and of those that failed.
    sandboxes: Mutex<Vec<Sandbox>>,
}

impl Bench {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, created: AtomicU32::new(0), sandboxes: Mutex::default() }
    }

    /// Creates a sandbox with the schema and the topology that banklink needs.
    pub(crate) async fn sandbox(&self, database: Database) -> Result<Sandbox> {
        let sandbox = Sandbox::new(&self.settings, self.created.fetch_add(1, Ordering::Relaxed), database);
        self.sandboxes().push(sandbox.clone());
        sandbox.create().await?;
        Ok(sandbox)
    }

    /// Deletes a sandbox. A failure is only reported: the figures that were measured in it are valid.
    pub(crate) async fn remove(&self, sandbox: &Sandbox) {
        match sandbox.delete().await {
            Ok(()) => self.sandboxes().retain(|other| other.namespace != sandbox.namespace),
            Err(error) => progress::print(&format!("cannot delete {}: {error:#}", sandbox.namespace)),
        }
    }

    /// Deletes every sandbox that is left.
    pub(crate) async fn remove_all(&self) {
        let sandboxes = self.sandboxes().clone();
        for sandbox in sandboxes {
            self.remove(&sandbox).await;
        }
    }

    fn sandboxes(&self) -> MutexGuard<'_, Vec<Sandbox>> {
        self.sandboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
