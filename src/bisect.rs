//! Finds the items that an operation on many fails for: whatever fails as a whole is halved until the one at fault stands
//! alone, and all others go through.
//!
//! The worker writes batches this way, the recorder dead messages, and the relay publishes events. Pure: the caller makes the
//! attempts.

/// Items of which some may be at fault, each for a reason of type `F`.
pub struct Bisection<T, F> {
    /// The parts to attempt, the next one last.
    parts: Vec<Vec<T>>,
    faulty: Vec<(T, F)>,
}

impl<T, F> Bisection<T, F> {
    /// All of `items` are one part at first.
    #[must_use]
    pub fn new(items: Vec<T>) -> Self {
        Self { parts: vec![items], faulty: Vec::new() }
    }

    /// The next part to attempt, never empty; parts are in the order of the items. `None` once every item is done or known to be
    /// faulty.
    pub fn next_part(&mut self) -> Option<Vec<T>> {
        std::iter::from_fn(|| self.parts.pop()).find(|part| !part.is_empty())
    }

    /// An attempt at `part` failed because of at least one of its items: the part is halved or, if the item stands alone, it is
    /// faulty for this reason.
    pub fn failed(&mut self, mut part: Vec<T>, reason: F) {
        let second = part.split_off(part.len() / 2);
        if part.is_empty() {
            self.faulty.extend(second.into_iter().zip([reason]));
        } else {
            self.parts.extend([second, part]);
        }
    }

    /// An attempt at some items failed because of those in `faulty`, which are known; `others` are attempted again.
    pub fn separated(&mut self, faulty: impl IntoIterator<Item = (T, F)>, others: Vec<T>) {
        self.faulty.extend(faulty);
        self.parts.push(others);
    }

    /// The faulty items, each with its reason.
    #[must_use]
    pub fn into_faulty(self) -> Vec<(T, F)> {
        self.faulty
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Attempts numbers of which some are faulty; returns what was done, in order, what was found faulty, and the attempts.
    fn run(count: usize, is_faulty: impl Fn(usize) -> bool) -> (Vec<usize>, Vec<usize>, usize) {
        let (mut done, mut attempts) = (Vec::new(), 0);
        let mut bisection = Bisection::new((0..count).collect());
        while let Some(part) = bisection.next_part() {
            attempts += 1;
            if part.iter().any(|number| is_faulty(*number)) {
                bisection.failed(part, ());
            } else {
                done.extend(part);
            }
        }
        (done, bisection.into_faulty().into_iter().map(|(number, ())| number).collect(), attempts)
    }

    #[test]
    fn one_faulty_item_of_many_costs_few_attempts() {
        let (done, faulty, attempts) = run(256, |number| number == 77);
        assert_eq!((done.len(), faulty), (255, vec![77]));
        assert!(attempts <= 2 * 8 + 1, "{attempts}");
        assert_eq!(run(256, |_| false).2, 1);
        assert_eq!(run(0, |_| true), (Vec::new(), Vec::new(), 0));
    }

    #[test]
    fn known_faulty_items_cost_one_attempt_more() {
        let mut bisection = Bisection::new(vec![1, 2, 3, 4]);
        assert_eq!(bisection.next_part(), Some(vec![1, 2, 3, 4]));
        bisection.separated([(2, "locked"), (4, "locked")], vec![1, 3]);
        assert_eq!(bisection.next_part(), Some(vec![1, 3]));
        assert_eq!(bisection.next_part(), None);
        assert_eq!(bisection.into_faulty(), [(2, "locked"), (4, "locked")]);
    }

    proptest! {
        #[test]
        fn exactly_the_faulty_items_are_found_and_the_others_done_in_order(
            faults in prop::collection::vec(any::<bool>(), 0..40),
        ) {
            let (done, faulty, _) = run(faults.len(), |number| faults[number]);
            let (bad, good): (Vec<usize>, Vec<usize>) = (0..faults.len()).partition(|number| faults[*number]);
            prop_assert_eq!((done, faulty), (good, bad));
        }
    }
}
