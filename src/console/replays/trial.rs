//! The dry run before a replay: of all letters if there is time, else of the first ones and a sample of each kind.

use std::collections::{BTreeSet, HashSet};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::console::Console;
use crate::dead_letters::{DryRun, DryRunAction, DryRunResult};
use crate::domain::dead_letter::State;
use crate::domain::failure::FailureClass;
use crate::store::letters::{self, Filter, Selected};
use crate::store::{self, Store};

/// Letters of a dry run that are in memory together. So many are always tried in their order.
const BATCH: usize = 250;
/// A dry run ends when the request has taken this long, and after so many letters at most, so that the page is there at once.
const BUDGET: Duration = Duration::from_millis(150);
const MAX_DRY_RUN: u64 = 2_000;
/// How many kinds a sample is taken of, the largest ones, and of how many letters in all.
const MAX_KINDS: usize = 20;
const SAMPLE: u64 = 200;

/// The first letters that `filter` selects, as many as are tried at most.
pub(super) async fn first(store: &Store, filter: &Filter) -> Result<Vec<Selected>, store::Error> {
    letters::select_dead(store, &Filter { limit: Some(MAX_DRY_RUN), ..filter.clone() }).await
}

/// Tries `first`, the first of `count` letters that `filter` selects, for a request that has begun at `begin`; and, unless these are all,
/// a sample of each kind. The results of letters that would fail come first.
pub(super) async fn run(
    console: &Console,
    filter: &Filter,
    first: &[Selected],
    count: i64,
    begin: Instant,
) -> Result<Vec<DryRunResult>, store::Error> {
    let (store, deadline) = (&console.store, begin + BUDGET);
    // The newest letters of a kind may fail where the oldest do not.
    let may_be_cut = usize::try_from(count).is_ok_and(|count| count > BATCH);
    let sample = if may_be_cut { sample(console, filter).await? } else { Vec::new() };
    let sample = try_in_order(store, &sample, None).await?;
    let mut results = try_in_order(store, first, Some(deadline)).await?;
    let tried: HashSet<Uuid> = results.iter().map(|result| result.message_id).collect();
    results.extend(sample.into_iter().filter(|result| !tried.contains(&result.message_id)));
    results.sort_by_key(|result| result.action != DryRunAction::Fail);
    Ok(results)
}

/// Tries `selected` in that order, until the deadline has passed.
async fn try_in_order(
    store: &Store,
    selected: &[Selected],
    deadline: Option<Instant>,
) -> Result<Vec<DryRunResult>, store::Error> {
    let (mut dry_run, mut results) = (DryRun::default(), Vec::new());
    for batch in letters::batches(selected, BATCH) {
        results.extend(dry_run.run(store, &letters::load_selected(store, batch).await?).await?);
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            break;
        }
    }
    Ok(results)
}

/// The oldest and the newest letters of each kind, in the order of a replay.
async fn sample(console: &Console, filter: &Filter) -> Result<Vec<Selected>, store::Error> {
    let store = &console.store;
    let snapshot = console.facts.snapshot().await;
    let kinds = snapshot.kinds.as_deref().unwrap_or_default().iter();
    let kinds = kinds.filter(|kind| filter.fingerprint.as_ref().is_none_or(|wanted| *wanted == kind.fingerprint));
    let kinds: Vec<_> = kinds.take(MAX_KINDS).collect();
    let at_each_end = SAMPLE / 2 / (kinds.len() as u64).max(1);
    let mut ids = BTreeSet::new();
    for kind in kinds {
        let class = filter.class.or_else(|| FailureClass::parse(&kind.failure_class));
        let fingerprint = Some(kind.fingerprint.clone());
        let of_kind =
            Filter { class, fingerprint, state: Some(State::Dead), limit: Some(at_each_end), ..filter.clone() };
        ids.extend(letters::select(store, &of_kind).await?.into_iter().map(|letter| letter.id));
        ids.extend(letters::page(store, &of_kind, None).await?.into_iter().map(|letter| letter.message_id));
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    letters::select_dead(store, &Filter { ids: ids.into_iter().collect(), ..Filter::default() }).await
}
