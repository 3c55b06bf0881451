//! The end of an app: it drains, checks that nothing is left, and deletes what it created.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use tokio::runtime::Handle;

use super::TestApp;
use crate::waiting::within;

impl TestApp {
    /// Stops every role as a signal does, and waits until they have drained.
    pub async fn stop(&mut self) {
        self.stop_ingress.cancel();
        self.stop.cancel();
        self.roles.close();
        within(self.roles.wait()).await;
    }

    /// Stops the ingress and does not wait for it.
    pub fn stop_ingress(&self) {
        self.stop_ingress.cancel();
    }

    /// Ends the app as dropping it does, for a test that awaits several apps at the same time: a drop blocks all of them.
    pub async fn finish(mut self) {
        self.stop().await;
        let leftovers = self.leftovers().await;
        self.clean_up().await;
        assert_no_leftovers(&leftovers);
    }

    /// Ends the app as [`TestApp::finish`] does, once every event is published. First it drops `held`, which uses the connections of
    /// the app: a worker, a console.
    pub async fn finish_dropping<T>(self, held: T) {
        drop(held);
        self.until_outbox_is_empty().await;
        self.finish().await;
    }

    /// Ends the app without the check for leftovers, for a test that leaves messages or events on purpose.
    pub async fn finish_with_leftovers(mut self) {
        self.stop().await;
        self.clean_up().await;
    }

    /// Messages that are ready on its queues, and events in its outbox.
    async fn leftovers(&self) -> Vec<String> {
        let mut leftovers = Vec::new();
        for queue in self.queues() {
            match self.ready_messages(&queue).await {
                0 => {}
                messages => leftovers.push(format!("{messages} messages on {queue}")),
            }
        }
        match self.outbox().await.len() {
            0 => {}
            events => leftovers.push(format!("{events} events in the outbox")),
        }
        leftovers
    }

    async fn clean_up(&mut self) {
        self.finished = true;
        if let Some(banklink) = self.banklink.take() {
            within(banklink.close()).await;
        }
        let subscriptions = std::mem::take(&mut *self.subscriptions.lock().expect("not poisoned"));
        for queue in self.queues().into_iter().chain(subscriptions).chain([self.queue("events.log")]) {
            let _ = self.channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in [self.topology.webhooks(), self.topology.retry(), self.topology.dead(), self.topology.events()]
        {
            let _ = self.channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
        self.store.close().await;
        self.database.drop().await;
    }

    /// Runs on a thread of its own: a nested `block_on` on the test's thread would consume the wake-ups of other futures that the
    /// test awaits at the same time.
    fn finish_blocking(&mut self, check: bool) -> Vec<String> {
        let runtime = Handle::current();
        let finish = async {
            self.stop().await;
            let leftovers = if check { self.leftovers().await } else { Vec::new() };
            self.clean_up().await;
            leftovers
        };
        tokio::task::block_in_place(|| {
            std::thread::scope(|scope| match scope.spawn(|| runtime.block_on(finish)).join() {
                Ok(leftovers) => leftovers,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if std::thread::panicking() {
            // A second panic would abort the process and hide the first.
            let _ = catch_unwind(AssertUnwindSafe(|| self.finish_blocking(false)));
            return;
        }
        assert_no_leftovers(&self.finish_blocking(true));
    }
}

fn assert_no_leftovers(leftovers: &[String]) {
    assert!(leftovers.is_empty(), "left behind: {}", leftovers.join(", "));
}
