//! Who waits for changes of which customer. A change reaches those who wait for that customer, and wakes no other request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};
use uuid::Uuid;

/// How many changes a request may be behind before it has to look at the list again.
const MAX_BEHIND: usize = 16;

/// An event as it was published.
#[derive(Debug)]
pub(super) struct PublishedEvent {
    pub(super) id: String,
    pub(super) event_type: String,
    /// The bank link that it is about.
    pub(super) entity_id: Uuid,
    /// The whole event as JSON.
    pub(super) json: String,
}

/// What a request that waits learns.
#[derive(Clone, Debug)]
pub(super) enum Change {
    /// An event about the customer was published.
    Event(Arc<PublishedEvent>),
    /// Events may have been missed: only the list itself says what has changed.
    Unknown,
}

/// The requests that wait, by customer. A customer is listed while at least one request waits for it.
#[derive(Default)]
pub(super) struct Watchers(Mutex<State>);

#[derive(Default)]
struct State {
    customers: HashMap<Arc<str>, Customer>,
    /// In whose list each bank link was last seen, of those who wait.
    owners: HashMap<Uuid, Arc<str>>,
}

struct Customer {
    changes: Sender<Change>,
    /// How many requests wait. Counted here, because a receiver is dropped only after the lock is released.
    watches: usize,
    /// The bank links in the last list.
    links: Vec<Uuid>,
}

impl Watchers {
    /// Begins to wait for changes of `customer`. Those that happen from now on are not missed.
    pub(super) fn watch(self: &Arc<Self>, customer: &str) -> Watch {
        let mut state = self.lock();
        let customer: Arc<str> = Arc::from(customer);
        let entry = state.customers.entry(Arc::clone(&customer));
        let new = || Customer { changes: broadcast::channel(MAX_BEHIND).0, watches: 0, links: Vec::new() };
        let listed = entry.or_insert_with(new);
        listed.watches += 1;
        let changes = listed.changes.subscribe();
        Watch { watchers: Arc::clone(self), customer, changes }
    }

    /// Passes an event on to those who wait for `customer`, and wakes those of the customer who had its bank link until now.
    pub(super) fn publish(&self, customer: &str, event: PublishedEvent) {
        let state = self.lock();
        let former = state.owners.get(&event.entity_id).filter(|former| ***former != *customer);
        // Sending fails only without receivers, of which there is one as long as the customer is listed.
        if let Some(former) = former.and_then(|former| state.customers.get(former)) {
            let _ = former.changes.send(Change::Unknown);
        }
        if let Some(customer) = state.customers.get(customer) {
            let _ = customer.changes.send(Change::Event(Arc::new(event)));
        }
    }

    /// Wakes those who wait for any of the customers that `is_concerned` names.
    pub(super) fn wake(&self, is_concerned: impl Fn(&str) -> bool) {
        for (_, customer) in self.lock().customers.iter().filter(|(id, _)| is_concerned(id)) {
            let _ = customer.changes.send(Change::Unknown);
        }
    }

    /// The customers for whom requests wait.
    pub(super) fn customers(&self) -> Vec<String> {
        self.lock().customers.keys().map(ToString::to_string).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets what the customer's last list had.
    fn forget_links(&mut self, customer: &Arc<str>) {
        let links = self.customers.get_mut(customer).map(|listed| std::mem::take(&mut listed.links));
        for link in links.unwrap_or_default() {
            if self.owners.get(&link) == Some(customer) {
                self.owners.remove(&link);
            }
        }
    }
}

/// One request that waits for changes of one customer.
pub(super) struct Watch {
    watchers: Arc<Watchers>,
    customer: Arc<str>,
    changes: Receiver<Change>,
}

impl Watch {
    /// Waits for the next change.
    pub(super) async fn next(&mut self) -> Change {
        match self.changes.recv().await {
            Ok(change) => change,
            Err(RecvError::Lagged(_)) => Change::Unknown,
            // The sender is dropped after the last receiver.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }

    /// Forgets the changes so far, for a request that is about to look at the list.
    pub(super) fn forget(&mut self) {
        self.changes = self.changes.resubscribe();
    }

    /// The customer has these bank links now. If one of them moves to another customer, the request is woken.
    pub(super) fn set_links(&self, links: Vec<Uuid>) {
        let mut state = self.watchers.lock();
        state.forget_links(&self.customer);
        state.owners.extend(links.iter().map(|link| (*link, Arc::clone(&self.customer))));
        if let Some(customer) = state.customers.get_mut(&self.customer) {
            customer.links = links;
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut state = self.watchers.lock();
        let Some(customer) = state.customers.get_mut(&self.customer) else { return };
        customer.watches -= 1;
        if customer.watches == 0 {
            state.forget_links(&self.customer);
            state.customers.remove(&self.customer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn event(id: &str) -> PublishedEvent {
        let (event_type, entity_id) = ("customer.bank_linked".to_owned(), Uuid::nil());
        PublishedEvent { id: id.to_owned(), event_type, entity_id, json: "{}".to_owned() }
    }

    #[test]
    fn an_event_reaches_everyone_who_waits_for_its_customer_and_no_one_else() {
        let watchers = Arc::new(Watchers::default());
        let (mut one, mut two, mut other) = (watchers.watch("a"), watchers.watch("a"), watchers.watch("b"));
        watchers.publish("a", event("1"));
        watchers.publish("c", event("2"));
        for watch in [&mut one, &mut two] {
            assert!(matches!(watch.next().now_or_never(), Some(Change::Event(event)) if event.id == "1"));
            assert!(watch.next().now_or_never().is_none());
        }
        assert!(other.next().now_or_never().is_none());
    }

    #[test]
    fn a_request_that_is_too_far_behind_looks_again() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch("a");
        (0..=MAX_BEHIND).for_each(|n| watchers.publish("a", event(&n.to_string())));
        assert!(matches!(watch.next().now_or_never(), Some(Change::Unknown)));
    }

    #[test]
    fn who_had_a_link_that_moves_to_another_customer_looks_again() {
        let watchers = Arc::new(Watchers::default());
        let mut watch = watchers.watch("a");
        watch.set_links(vec![Uuid::nil()]);
        watchers.publish("b", event("1"));
        assert!(matches!(watch.next().now_or_never(), Some(Change::Unknown)));
        watch.set_links(Vec::new());
        watchers.publish("b", event("2"));
        assert!(watch.next().now_or_never().is_none());
        watch.set_links(vec![Uuid::nil()]);
        drop(watch);
        assert!(watchers.lock().owners.is_empty());
    }

    #[test]
    fn a_customer_is_forgotten_with_the_last_request() {
        let watchers = Arc::new(Watchers::default());
        let (one, two) = (watchers.watch("a"), watchers.watch("a"));
        drop(one);
        assert_eq!(watchers.customers(), ["a"]);
        drop(two);
        assert!(watchers.customers().is_empty());
    }
}
