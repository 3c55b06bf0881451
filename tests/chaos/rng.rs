//! A seeded pseudo-random number generator (SplitMix64). A run with the same seed draws the same load and the same faults.

use uuid::Uuid;

/// The generator. A clone repeats what the original draws from then on.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A second generator. How many numbers are drawn from one does not change what the other draws.
    pub(crate) fn fork(&mut self) -> Self {
        Self(self.next_u64())
    }

    /// A number less than `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// An index into `items`, which must not be empty.
    pub(crate) fn index<T>(&mut self, items: &[T]) -> usize {
        usize::try_from(self.below(items.len() as u64)).expect("less than a length")
    }

    /// One of `items`, which must not be empty.
    pub(crate) fn choose<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.index(items)]
    }

    /// True with a probability of `percent` in 100.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.index(&items[..=end]);
            items.swap(end, other);
        }
    }

    pub(crate) fn uuid(&mut self) -> Uuid {
        Uuid::from_u64_pair(self.next_u64(), self.next_u64())
    }
}
