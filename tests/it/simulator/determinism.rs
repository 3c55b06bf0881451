//! What the seed determines.

use banklink::simulator::{Odds, Settings};
use serde_json::Value;

use super::receiver::Receiver;
use super::{Simulated, settings};

/// How many links a request creates.
const LINKS: usize = 50;
/// Of those, how many at the end may be held back until their time is up, because too few follow to overtake them.
const MAX_HELD: usize = 20;

/// What a simulator with that seed posts for the same requests, in the order of arrival, without times; and the links in the order of
/// their creation. Each request waits until the webhooks of the one before have come to their end.
async fn posted(seed: u64, odds: Odds) -> (Vec<Value>, Vec<String>) {
    let receiver = Receiver::start().await;
    let lean = Simulated::start(Settings { seed, odds, ..settings(&receiver.url) }).await;
    let mut created = lean.create_links(LINKS).await;
    lean.settled().await;
    lean.connect("a-customer", "LEANMB1", &["accounts"]).await;
    lean.settled().await;
    created.extend(lean.create_links(LINKS).await);
    lean.settled().await;
    let without_time = |mut post: Value| {
        post["timestamp"].take();
        post
    };
    let posts = receiver.posts().into_iter().map(without_time).collect();
    lean.stop().await;
    (posts, created)
}

/// The links of `created` in the order in which each was posted first.
fn first_posts(posts: &[Value], created: &[String]) -> Vec<String> {
    let mut links = Vec::new();
    for link in posts.iter().filter_map(|post| post["payload"]["id"].as_str()) {
        if created.iter().any(|created| created == link) && !links.iter().any(|known| known == link) {
            links.push(link.to_owned());
        }
    }
    links
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_and_requests_lead_to_the_same_posts_in_the_same_order() {
    let odds = Odds { duplicate: 20, reorder: 30, drop: 20 };
    let ((mut posts, created), (mut again, created_again)) = (posted(1, odds).await, posted(1, odds).await);
    assert_eq!(created, created_again);
    let in_order: Vec<String> = created.chunks(LINKS).flat_map(|links| &links[..LINKS - MAX_HELD]).cloned().collect();
    let order = first_posts(&posts, &in_order);
    assert_eq!(order, first_posts(&again, &in_order));
    assert_ne!(order, in_order.into_iter().filter(|link| order.contains(link)).collect::<Vec<_>>(), "reordered");
    for posts in [&mut posts, &mut again] {
        posts.sort_by_key(Value::to_string);
    }
    assert_eq!(posts, again, "the same are dropped and duplicated");
    let (other, _) = posted(2, odds).await;
    assert!(posts.iter().all(|post| !other.contains(post)), "another seed, other ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_arrive_in_the_order_of_their_creation_unless_reordered() {
    let (posts, created) = posted(3, Odds::default()).await;
    assert_eq!(first_posts(&posts, &created), created);
    assert_eq!(posts.len(), created.len() + 1, "each arrives once");

    let (posts, created) = posted(3, Odds { reorder: 30, ..Odds::default() }).await;
    let mut arrived = first_posts(&posts, &created);
    assert_ne!(arrived, created);
    arrived.sort();
    let mut sorted = created.clone();
    sorted.sort();
    assert_eq!(arrived, sorted);
    assert_eq!(posts.len(), created.len() + 1, "each arrives once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_shops_customer_belongs_to_the_seed() {
    let customer = async |seed| {
        let lean = Simulated::start(Settings { seed, ..settings("http://127.0.0.1:9") }).await;
        let customer = lean.get("/shop/config").await.body["default_customer_id"].clone();
        lean.stop().await;
        customer
    };
    assert_eq!(customer(5).await, customer(5).await);
    assert_ne!(customer(5).await, customer(6).await);
}
