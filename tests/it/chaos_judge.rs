//! Tests the judge of the chaos suite: it finds an explanation for a row if and only if there is one.

use explain::unexplained;
use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::Value;
use testkit::model::{any_webhook, expected};
use uuid::Uuid;

#[path = "../chaos/explain.rs"]
mod explain;

const MAX_DOUBTFUL: usize = 6;

/// Webhooks that were certainly applied, webhooks that may have been, and those that make the row: all of the former, any of
/// the latter, and sometimes an unknown one.
fn cases() -> impl Strategy<Value = (Vec<Value>, Vec<Value>, Vec<Value>)> {
    // Few fields and few values, so that many webhooks are equal in part.
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
        let some = (0..=doubtful.len()).prop_flat_map({
            let doubtful = doubtful.clone();
            move |length| subsequence(doubtful.clone(), length)
        });
        let made_of = some.prop_map({
            let certain = certain.clone();
            move |some| certain.iter().cloned().chain(some).chain(foreign.clone()).collect()
        });
        (Just(certain), Just(doubtful), made_of)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_row_is_explained_if_and_only_if_some_choice_of_doubtful_webhooks_makes_it((certain, doubtful, made_of) in cases()) {
        let Some(row) = expected(&made_of) else { return Ok(()) };
        let choices = 0..1_u32 << doubtful.len();
        let some_choice_makes_it = choices.into_iter().any(|choice| {
            let chosen = doubtful.iter().enumerate().filter(|(index, _)| choice & (1 << index) != 0);
            expected(certain.iter().chain(chosen.map(|(_, webhook)| webhook))).as_ref() == Some(&row)
        });
        let (certain, doubtful): (Vec<&Value>, Vec<&Value>) = (certain.iter().collect(), doubtful.iter().collect());
        let why = unexplained(&certain, &doubtful, Some(&row));
        prop_assert_eq!(why.is_none(), some_choice_makes_it, "{:?}", why);
    }
}
