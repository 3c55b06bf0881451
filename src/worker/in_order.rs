//! Tasks that run side by side, and whose results are taken in the order in which they were started.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use futures_util::future::select_all;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

/// The tasks, each with a note about it. Dropping them aborts them.
pub(super) struct InOrder<N, T> {
    /// How long after its start a task may hold up the results of those behind it.
    deadline: Duration,
    /// In the order in which they were started.
    tasks: VecDeque<Task<N, T>>,
}

struct Task<N, T> {
    started: Instant,
    note: N,
    handle: AbortOnDropHandle<T>,
}

impl<N, T: Send + 'static> InOrder<N, T> {
    pub(super) fn new(deadline: Duration) -> Self {
        Self { deadline, tasks: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    pub(super) fn notes(&self) -> impl Iterator<Item = &N> {
        self.tasks.iter().map(|task| &task.note)
    }

    pub(super) fn start(&mut self, note: N, task: impl Future<Output = T> + Send + 'static) {
        let handle = AbortOnDropHandle::new(tokio::spawn(task));
        self.tasks.push_back(Task { started: Instant::now(), note, handle });
    }

    /// Waits for the result of the oldest task, or of any once that has lasted longer than the deadline. Never returns without a task.
    /// Loses nothing when cancelled.
    pub(super) async fn next(&mut self) -> Result<T, JoinError> {
        let Some(oldest) = self.tasks.front() else { return pending().await };
        let until = oldest.started + self.deadline;
        let results = self.tasks.iter_mut().enumerate().map(async |(position, task)| {
            if position > 0 {
                sleep_until(until).await;
            }
            (position, (&mut task.handle).await)
        });
        let ((position, result), ..) = select_all(results.map(Box::pin)).await;
        self.tasks.remove(position);
        result
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    /// A task that waits for the message returned, and one that is done.
    async fn one_waits_and_one_is_done(deadline: Duration) -> (InOrder<char, &'static str>, oneshot::Sender<()>) {
        let mut tasks = InOrder::new(deadline);
        let (finish, finished) = oneshot::channel();
        tasks.start('a', async {
            finished.await.unwrap();
            "the first"
        });
        tasks.start('b', std::future::ready("the second"));
        while !tasks.tasks[1].handle.is_finished() {
            tokio::task::yield_now().await;
        }
        (tasks, finish)
    }

    #[tokio::test]
    async fn a_result_waits_for_the_one_before() {
        let (mut tasks, finish) = one_waits_and_one_is_done(Duration::from_secs(3600)).await;
        assert!(tasks.next().now_or_never().is_none());
        finish.send(()).unwrap();
        assert_eq!(tasks.next().await.unwrap(), "the first");
        assert_eq!(tasks.notes().collect::<Vec<_>>(), [&'b']);
        assert_eq!(tasks.next().await.unwrap(), "the second");
        assert!(tasks.is_empty() && tasks.next().now_or_never().is_none());
    }

    #[tokio::test]
    async fn a_task_that_takes_long_holds_up_no_other() {
        let (mut tasks, finish) = one_waits_and_one_is_done(Duration::ZERO).await;
        assert_eq!(tasks.next().await.unwrap(), "the second");
        assert!(tasks.next().now_or_never().is_none());
        finish.send(()).unwrap();
        assert_eq!(tasks.next().await.unwrap(), "the first");
    }
}
