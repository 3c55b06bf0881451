//! The judge of the chaos suite, put to the test itself: it finds an explanation exactly where there is one.

#[path = "../chaos/explain.rs"]
mod explain;

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::Value;
use uuid::Uuid;

use crate::model::{any_webhook, expected};
use explain::unexplained;

const MAX_DOUBTFUL: usize = 6;

/// Webhooks that certainly came through, some that may have, and a row made of the former and any of the latter; now and
/// then of one more, of which nobody knows.
fn cases() -> impl Strategy<Value = (Vec<Value>, Vec<Value>, Vec<Value>)> {
    // Of little, so that the same few values meet again and again.
    let about = || {
        any_webhook(Uuid::from_u128(1)).prop_map(|mut webhook| {
            webhook["payload"]["bank_details"] = Value::Null;
            webhook["event_id"] = Value::Null;
            webhook
        })
    };
    let certain = prop::collection::vec(about(), 0..4);
    let doubtful = prop::collection::vec(about(), 0..=MAX_DOUBTFUL);
    let foreign = prop::option::weighted(0.3, about());
    (certain, doubtful, foreign).prop_flat_map(|(certain, doubtful, foreign)| {
        let among = (0..=doubtful.len()).prop_flat_map({
            let doubtful = doubtful.clone();
            move |length| subsequence(doubtful.clone(), length)
        });
        let made_of = among.prop_map({
            let certain = certain.clone();
            move |among| certain.iter().cloned().chain(among).chain(foreign.clone()).collect()
        });
        (Just(certain), Just(doubtful), made_of)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_explained_if_and_only_if_some_choice_of_the_doubtful_makes_it((certain, doubtful, made_of) in cases()) {
        let Some(row) = expected(&made_of) else { return Ok(()) };
        let choices = 0..1_u32 << doubtful.len();
        let some_choice_makes_it = choices.into_iter().any(|choice| {
            let chosen = doubtful.iter().enumerate().filter(|(place, _)| choice & (1 << place) != 0);
            expected(certain.iter().chain(chosen.map(|(_, webhook)| webhook))).as_ref() == Some(&row)
        });
        let (certain, doubtful): (Vec<&Value>, Vec<&Value>) = (certain.iter().collect(), doubtful.iter().collect());
        let why = unexplained(&certain, &doubtful, Some(&row));
        prop_assert_eq!(why.is_none(), some_choice_makes_it, "{:?}", why);
    }
}
