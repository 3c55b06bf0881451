//! Prints the report of a scenario: its faults, what was counted, the findings, and the verdict on the last line.

use std::time::Duration;

use crate::faults::Skipped;
use crate::ledger::{Answer, Post};
use crate::scenario::{Fault, name};
use crate::testbed::Testbed;
use crate::verdict::Verdict;

/// A fault that was injected, or skipped.
pub(crate) struct InjectedFault {
    /// The time since the start of the run.
    pub(crate) at: Duration,
    pub(crate) lasted: Duration,
    pub(crate) fault: Fault,
    /// A description of what the fault has hit.
    pub(crate) effect: Result<String, Skipped>,
}

pub(crate) fn print_report(testbed: &Testbed, verdict: &Verdict, mut faults: Vec<InjectedFault>) {
    faults.sort_by_key(|injected| injected.at);
    println!("\n   at    for  fault");
    for InjectedFault { at, lasted, fault, effect } in &faults {
        let effect = effect.as_ref().map_or_else(ToString::to_string, Clone::clone);
        println!("{:>5.0}s {:>5.1}s  {:<22} {effect}", at.as_secs_f64(), lasted.as_secs_f64(), name(fault));
    }
    let posts = testbed.ledger.posts();
    let count = |matches: fn(&Post) -> bool| posts.iter().filter(|post| matches(post)).count();
    let accepted = count(|post| matches!(post.answer, Answer::Accepted(_)));
    let unknown = count(|post| post.answer == Answer::Unknown);
    let skipped = faults.iter().filter(|injected| injected.effect.is_err()).count();
    println!(
        "\n{} webhooks posted: {accepted} accepted, {unknown} without a clear answer; {} faults, {skipped} skipped",
        posts.len(),
        faults.len() - skipped,
    );
    let Verdict { links, letters, dead_reconnects, events, repeated_events, deferred, .. } = verdict;
    println!(
        "{links} bank links, {letters} dead letters ({dead_reconnects} of them reconnects whose link was accepted too late), \
         {events} events ({repeated_events} arrivals repeated), {deferred} deferrals"
    );
    let seconds = testbed.age().as_secs_f64();
    println!("lost {}, doubled {}, in {seconds:.0} s", verdict.lost, verdict.doubled);
    for finding in &verdict.findings {
        println!("  ! {finding}");
    }
    if verdict.more_findings > 0 {
        println!("  ! and {} more", verdict.more_findings);
    }
    let exception = if skipped > 0 { ", except for the skipped faults" } else { "" };
    println!("{}: {}{exception}", name(&testbed.scenario), if verdict.is_good() { "good" } else { "BAD" });
}
