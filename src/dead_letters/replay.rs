//! Sends dead letters in again by the front door, at a pace that can be borne, and tells what became of them.
//!
//! Claim, publish with a confirm, keep the claim: it may be killed at any point and run again. What it does not get to is
//! dead as before; what was published twice is merged twice, which changes nothing.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::message;
use super::outcomes::{Tally, UnderWay};
use crate::broker::{self, DEADLINE, Outgoing, Publisher};
use crate::store::dead_letters::{Chosen, Claimed, claim, keep, release};
use crate::store::{self, Store};

/// Letters claimed and published at a time.
const MOST_AT_ONCE: usize = 1_000;
/// How long the outcomes of a few letters are waited for before more are taken on, where failures are to stop the replay.
const LET_SHOW: Duration = Duration::from_secs(2);
/// How often outcomes are looked for while nothing else is to be done.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How to go about it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Letters a second, at most.
    pub rate: Option<u32>,
    /// How many go first and have to end well before the others follow.
    pub canary: Option<usize>,
    /// The share of ended letters, in percent, that may be dead again before it stops.
    pub stop_on_failure: Option<f64>,
    /// How long to wait for outcomes once all are published.
    pub wait: Duration,
    /// Who does it.
    pub by: String,
}

/// Why a replay ended.
#[derive(Clone, Debug)]
pub enum End {
    /// All were taken on.
    Finished,
    /// Somebody asked it to stop.
    Interrupted,
    /// Not all of the canaries ended well in time.
    CanaryFailed,
    /// Too many were dead again.
    TooManyFailed,
    /// The broker did not take a letter.
    BrokerAway(broker::Error),
}

/// Replays what is still as it was `chosen`, in that order. `told` sees the tally as it grows.
///
/// # Errors
/// When the database is away; running it again goes on.
pub async fn replay(
    store: &Store,
    publisher: &Publisher,
    chosen: &[Chosen],
    plan: &Plan,
    stop: &CancellationToken,
    mut told: impl FnMut(&Tally),
) -> Result<(Tally, End), store::Error> {
    let mut tally = Tally { selected: chosen.len(), ..Tally::default() };
    let mut under_way = UnderWay::default();
    let canaries = plan.canary.unwrap_or(0).min(chosen.len());
    let (first, rest) = chosen.split_at(canaries);
    for (letters, are_canaries) in [(first, true), (rest, false)] {
        let began = Instant::now();
        let at_once = plan.rate.map_or(MOST_AT_ONCE, |rate| (rate as usize / 4).clamp(1, MOST_AT_ONCE));
        for (turn, letters) in letters.chunks(at_once).enumerate() {
            if let Some(rate) = plan.rate {
                let due = began + Duration::from_secs(1).mul_f64((turn * at_once) as f64 / f64::from(rate));
                stop.run_until_cancelled(tokio::time::sleep_until(due)).await;
            }
            if stop.is_cancelled() {
                return Ok(ended(tally, &under_way, End::Interrupted));
            }
            let away = take_on(store, publisher, letters, plan, &mut tally, &mut under_way).await?;
            // Whoever wants to stop on failures gives them time to show.
            let pause = plan.stop_on_failure.map_or(Duration::ZERO, |_| LET_SHOW);
            wait(store, pause, stop, &mut tally, &mut under_way, &mut told).await?;
            told(&tally);
            if let Some(away) = away {
                return Ok(ended(tally, &under_way, End::BrokerAway(away)));
            }
            if plan.stop_on_failure.is_some_and(|percent| tally.fails_more_than(percent)) {
                return Ok(ended(tally, &under_way, End::TooManyFailed));
            }
        }
        if !are_canaries || canaries > 0 {
            wait(store, plan.wait, stop, &mut tally, &mut under_way, &mut told).await?;
        }
        if stop.is_cancelled() {
            return Ok(ended(tally, &under_way, End::Interrupted));
        }
        // One that somebody else took has proved nothing either.
        if are_canaries && tally.resolved() < canaries {
            return Ok(ended(tally, &under_way, End::CanaryFailed));
        }
    }
    let end = if stop.is_cancelled() { End::Interrupted } else { End::Finished };
    Ok(ended(tally, &under_way, end))
}

/// Claims, publishes and keeps a few letters; why the broker did not take one, if so.
async fn take_on(
    store: &Store,
    publisher: &Publisher,
    letters: &[Chosen],
    plan: &Plan,
    tally: &mut Tally,
    under_way: &mut UnderWay,
) -> Result<Option<broker::Error>, store::Error> {
    let claimed = claim(store, letters, &plan.by).await?;
    let published = join_all(claimed.iter().map(|claimed| publish(publisher, claimed))).await;
    let (mut kept, mut unpublished, mut away) = (Vec::new(), Vec::new(), None);
    for (claimed, verdict) in claimed.iter().zip(published) {
        match verdict {
            Ok(()) => kept.push(claimed),
            Err(cause) => {
                // After a timeout the message may be on the queue all the same: that claim is left to run out.
                if cause.is_refusal() || matches!(cause, broker::Error::Blocked | broker::Error::NoChannel) {
                    unpublished.push(claimed);
                }
                away = Some(cause);
            }
        }
    }
    keep(store, &kept).await?;
    release(store, &unpublished).await?;
    tally.replayed += kept.len();
    tally.skipped += letters.len() - kept.len();
    under_way.add(kept.into_iter());
    Ok(away)
}

async fn publish(publisher: &Publisher, claimed: &Claimed) -> Result<(), broker::Error> {
    let outgoing = Outgoing::webhook(publisher.link().topology(), &message(&claimed.letter));
    publisher.publish(outgoing, DEADLINE).await
}

/// Looks for outcomes once, and goes on while there is patience.
async fn wait(
    store: &Store,
    patience: Duration,
    stop: &CancellationToken,
    tally: &mut Tally,
    under_way: &mut UnderWay,
    told: &mut impl FnMut(&Tally),
) -> Result<(), store::Error> {
    let deadline = Instant::now() + patience;
    loop {
        let ended = under_way.look(store, tally).await?;
        told(tally);
        if under_way.len() == 0 || Instant::now() >= deadline || stop.is_cancelled() {
            return Ok(());
        }
        if ended == 0 {
            stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await;
        }
    }
}

fn ended(mut tally: Tally, under_way: &UnderWay, end: End) -> (Tally, End) {
    tally.under_way = under_way.len();
    (tally, end)
}
