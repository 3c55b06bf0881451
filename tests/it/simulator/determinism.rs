//! What the seed determines.

use banklink::simulator::{Odds, Settings};
use serde_json::Value;

use super::receiver::Receiver;
use super::{Simulated, settings};

/// What a simulator with that seed posts for the same requests, in the order of arrival, without times.
async fn posted(seed: u64, odds: Odds) -> (Vec<Value>, Vec<String>) {
    let receiver = Receiver::start().await;
    let lean = Simulated::start(Settings { seed, odds, ..settings(&receiver.url) }).await;
    let mut created = lean.create_links(50).await;
    lean.connect("a-customer", "LEANMB1", &["accounts"]).await;
    created.extend(lean.create_links(50).await);
    lean.settled().await;
    let without_time = |mut post: Value| {
        post["timestamp"].take();
        post
    };
    let posts = receiver.posts().into_iter().map(without_time).collect();
    lean.stop().await;
    (posts, created)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_and_requests_lead_to_the_same_posts_in_the_same_order() {
    let odds = Odds { duplicate: 20, reorder: 30, drop: 20 };
    let (first, second) = (posted(1, odds).await, posted(1, odds).await);
    assert_eq!(first, second);
    let (other, _) = posted(2, odds).await;
    assert!(first.0.iter().all(|post| !other.contains(post)), "another seed, other ids");
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_arrive_in_the_order_of_their_creation_unless_reordered() {
    let entities = |posts: Vec<Value>, created: &[String]| {
        let entities = posts.into_iter().map(|post| post["payload"]["id"].as_str().unwrap().to_owned());
        entities.filter(|entity| created.contains(entity)).collect::<Vec<_>>()
    };
    let (posts, created) = posted(3, Odds::default()).await;
    assert_eq!(entities(posts, &created), created);

    let (posts, created) = posted(3, Odds { reorder: 30, ..Odds::default() }).await;
    let mut arrived = entities(posts, &created);
    assert_ne!(arrived, created);
    arrived.sort();
    let mut created = created;
    created.sort();
    assert_eq!(arrived, created, "each arrives once");
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
