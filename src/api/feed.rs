//! How the API hears of changes: by the events that the relay publishes or, while RabbitMQ is unavailable, by looking every second.

use std::collections::HashMap;
use std::convert::Infallible;

use serde::Deserialize;
use tracing::{debug, info, warn};
use uuid::Uuid;

use super::watchers::PublishedEvent;
use super::{Api, RETRY_INTERVAL};
use crate::broker::{self, EventSubscription};
use crate::reconnect::retry_until_ok;
use crate::store::link_reads::{self, LinksSum};

/// Follows the events until the API stops.
pub(super) async fn run(api: &Api) {
    let follow_all = async {
        loop {
            let subscription = tokio::select! {
                subscription = subscribe(api) => subscription,
                never = keep_looking(api) => match never {},
            };
            info!("hearing of changes by events");
            // The queue is new: what was published before is not on it.
            api.watchers.wake(|_| true);
            let cause = follow(api, subscription).await;
            warn!(%cause, "no events; looking for changes every second");
        }
    };
    api.stop.run_until_cancelled(follow_all).await;
}

async fn subscribe(api: &Api) -> EventSubscription {
    let on_failure = |cause: &broker::Error, _| debug!(%cause, "still no events");
    retry_until_ok(|| EventSubscription::open(&api.events), on_failure).await
}

/// Passes on events until the subscription ends, and returns why.
async fn follow(api: &Api, mut subscription: EventSubscription) -> broker::Error {
    loop {
        let body = match subscription.next().await {
            Ok(body) => body,
            Err(cause) => return cause,
        };
        // Another program may publish to the exchange, too.
        if let Some((customer, event)) = parse(body) {
            api.watchers.publish(&customer, event);
        }
    }
}

/// The customer of an event, and what is passed on. `None` if it is not one of ours.
fn parse(body: Vec<u8>) -> Option<(String, PublishedEvent)> {
    #[derive(Deserialize)]
    struct Event {
        id: String,
        #[serde(rename = "type")]
        event_type: String,
        data: Data,
    }
    #[derive(Deserialize)]
    struct Data {
        entity_id: Uuid,
        customer_id: String,
    }
    let json = String::from_utf8(body).ok()?;
    let Event { id, event_type, data } = serde_json::from_str(&json).ok()?;
    // Either would end a field of the stream.
    let is_one_line = |text: &str| !text.contains(['\r', '\n', '\0']);
    let event = PublishedEvent { id, event_type, entity_id: data.entity_id, json };
    (is_one_line(&event.id) && is_one_line(&event.event_type)).then_some((data.customer_id, event))
}

async fn keep_looking(api: &Api) -> Infallible {
    let mut last_sums = HashMap::new();
    loop {
        look_for_changes(api, &mut last_sums).await;
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// Wakes the requests of those customers whose links have changed since the last look, or who were not waiting then.
async fn look_for_changes(api: &Api, last_sums: &mut HashMap<String, Option<LinksSum>>) {
    let customers = api.watchers.customers();
    match link_reads::sums(&api.store, &customers).await {
        Ok(sums) => {
            let sums: HashMap<_, _> =
                customers.into_iter().map(|customer| (customer.clone(), sums.get(&customer).copied())).collect();
            api.watchers.wake(|customer| sums.get(customer) != last_sums.get(customer));
            *last_sums = sums;
        }
        Err(cause) => debug!(%cause, "cannot look for changes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_passed_on_as_it_is_and_anything_else_is_left_out() {
        let event = |event_type: &str, data: &str| {
            let id = "f08fb010-878f-407a-9ac2-a7840fb56185";
            format!(r#"{{"id":"1","type":"{event_type}","data":{{"entity_id":"{id}"{data}}}}}"#)
        };
        let json = event("customer.bank_linked", r#","customer_id":"c","version":1602350340059933000"#);
        let (customer, parsed) = parse(json.clone().into()).unwrap();
        assert_eq!((customer.as_str(), parsed.id.as_str(), &parsed.json), ("c", "1", &json));
        let [two_lines, of_no_customer] = [event("a\\nb", r#","customer_id":"c""#), event("x", "")];
        for other in ["", "{}", &two_lines, &of_no_customer] {
            assert!(parse(other.into()).is_none(), "{other}");
        }
    }
}
