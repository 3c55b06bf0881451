//! Reads the lists of customers, those that are asked for at the same time in one query.
//!
//! After an outage every request that waits looks again. Ten thousand queries would take seconds, and a connection of the pool each.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::problem::Problem;
use crate::store::link_reads::{self, StoredLink};
use crate::store::{self, Store};

/// Maximum number of customers in one query.
const MAX_CUSTOMERS: usize = 256;
/// Maximum number of queries at the same time.
const MAX_QUERIES: usize = 4;
/// Maximum time from asking to the answer.
const DEADLINE: Duration = Duration::from_secs(10);

type Links = Result<Vec<StoredLink>, &'static str>;

/// What is asked for: a customer, and where the answer goes.
struct Question {
    customer: String,
    answer: oneshot::Sender<Links>,
}

/// Answers questions while [`Reader::run`] runs.
pub(super) struct Reader {
    store: Store,
    sender: mpsc::Sender<Question>,
    questions: Mutex<mpsc::Receiver<Question>>,
    queries: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(store: Store) -> Self {
        let (sender, questions) = mpsc::channel(MAX_CUSTOMERS);
        Self { store, sender, questions: Mutex::new(questions), queries: Arc::new(Semaphore::new(MAX_QUERIES)) }
    }

    /// The links of `customer`, the oldest first.
    ///
    /// # Errors
    /// [`Problem::Database`].
    pub(super) async fn links(&self, customer: &str) -> Result<Vec<StoredLink>, Problem> {
        let (answer, answered) = oneshot::channel();
        let question = Question { customer: customer.to_owned(), answer };
        let read = async {
            self.sender.send(question).await.ok()?;
            answered.await.ok()
        };
        let links = timeout(DEADLINE, read).await.ok().flatten();
        links.unwrap_or(Err(store::Error::TimedOut.class())).map_err(Problem::Database)
    }

    /// Answers questions without end. Each query takes all that wait, so that there are few while the database is slow.
    pub(super) async fn run(&self) {
        let mut waiting = self.questions.lock().await;
        loop {
            let Ok(permit) = Arc::clone(&self.queries).acquire_owned().await else { return };
            let mut questions = Vec::new();
            waiting.recv_many(&mut questions, MAX_CUSTOMERS).await;
            let store = self.store.clone();
            tokio::spawn(async move {
                answer(&store, questions).await;
                drop(permit);
            });
        }
    }
}

async fn answer(store: &Store, questions: Vec<Question>) {
    let mut customers: Vec<String> = questions.iter().map(|question| question.customer.clone()).collect();
    customers.sort_unstable();
    customers.dedup();
    let result = link_reads::of_customers(store, &customers).await;
    for Question { customer, answer } in questions {
        let links = match &result {
            Ok(links) => Ok(links.get(&customer).cloned().unwrap_or_default()),
            Err(error) => Err(error.class()),
        };
        // Fails if the requester has gone.
        let _ = answer.send(links);
    }
}
