//! Publishes and says whether RabbitMQ has the message: confirmed, and routed to a queue.
//!
//! One task owns the channel, because lapin mixes up confirms when tasks share one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapin::Channel;
use lapin::options::ConfirmSelectOptions;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::confirms::{Request, Served, serve};
use super::{Connection, Error, Outgoing, with_deadline};
use crate::reconnect::Backoff;

/// Publishes that wait for the task, beside those in flight.
const WAITING: usize = 1024;

/// A handle to the task that owns a publishing channel. Clones share it; the task ends with the last of them.
#[derive(Clone)]
pub struct Publisher {
    connection: Connection,
    requests: mpsc::Sender<Request>,
    /// Whether the channel is open.
    open: Arc<AtomicBool>,
}

/// Whether a publisher can publish.
#[derive(Clone)]
pub struct Readiness {
    connection: Connection,
    open: Arc<AtomicBool>,
}

impl Readiness {
    /// Whether there is a connection that takes messages, with a channel open on it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), Error> {
        self.connection.ready()?;
        if self.open.load(Ordering::Relaxed) { Ok(()) } else { Err(Error::NoChannel) }
    }
}

impl Publisher {
    /// Starts the task on `tasks`, over a supervised connection.
    #[must_use]
    pub fn start(connection: Connection, tasks: &TaskTracker) -> Self {
        let (requests, waiting) = mpsc::channel(WAITING);
        let open = Arc::new(AtomicBool::new(false));
        tasks.spawn(own_channel(connection.clone(), waiting, Arc::clone(&open)));
        Self { connection, requests, open }
    }

    /// Whether it can publish, to be asked again and again by somebody who does not publish: the task ends without them.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness { connection: self.connection.clone(), open: Arc::clone(&self.open) }
    }

    /// Whether it can publish just now.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn ready(&self) -> Result<(), Error> {
        self.readiness().check()
    }

    /// The connection it publishes on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Publishes one message, mandatory, and waits for the confirm no longer than `within`.
    ///
    /// # Errors
    /// Anything but a confirm of a routed message. After [`Error::TimedOut`] or a lost connection the message may be on its
    /// queue all the same, so publishing it again may double it.
    pub async fn publish(&self, outgoing: Outgoing, within: Duration) -> Result<(), Error> {
        self.connection.ready()?;
        let deadline = Instant::now() + within;
        let (verdict, told) = oneshot::channel();
        let request = Request::new(outgoing, within, verdict);
        let asked = timeout_at(deadline, self.requests.send(request)).await.map_err(|_| Error::TimedOut)?;
        asked.map_err(|_| Error::Disconnected)?;
        timeout_at(deadline, told).await.map_err(|_| Error::TimedOut)?.map_err(|_| Error::Disconnected)?
    }
}

/// Opens a channel whenever there is none, and serves requests on it until it fails.
async fn own_channel(connection: Connection, mut requests: mpsc::Receiver<Request>, is_open: Arc<AtomicBool>) {
    let mut pauses = Backoff::default();
    loop {
        tokio::select! {
            // First, or whoever asks while a channel is thrown away would be refused at random.
            biased;
            () = connection.until_ready() => {}
            () = refuse(&mut requests) => return,
        }
        // There is a connection, so a channel is a moment away: whoever asks now waits for it, within its own deadline.
        match open(&connection).await {
            Ok((channel, lost)) => {
                is_open.store(true, Ordering::Relaxed);
                let served = serve(&channel, lost, &mut requests).await;
                is_open.store(false, Ordering::Relaxed);
                match served {
                    Served::Done => return,
                    Served::Failed { after_success: true } => pauses = Backoff::default(),
                    Served::Failed { after_success: false } => {}
                }
                debug!("the publishing channel is thrown away and opened again");
            }
            Err(error) => warn!(%error, "cannot open a publishing channel"),
        }
        sleep(pauses.next_delay()).await;
    }
}

async fn open(connection: &Connection) -> Result<(Channel, impl Future<Output = ()> + use<>), Error> {
    let (channel, lost) = connection.channel_and_loss().await?;
    with_deadline(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok((channel, lost))
}

/// Answers whoever asks while there is no connection; ends when nobody can ask any more.
async fn refuse(requests: &mut mpsc::Receiver<Request>) {
    while let Some(request) = requests.recv().await {
        request.refuse(Error::Disconnected);
    }
}
