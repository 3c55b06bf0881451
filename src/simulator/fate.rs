//! What happens to a webhook on its way, drawn from the seed: dropped, duplicated, or overtaken by later ones.

use fastrand::Rng;

/// How many later webhooks may overtake one, at most.
const MAX_OVERTAKING: u64 = 5;

/// How many webhooks in a hundred are dropped, duplicated and reordered, each independently of the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Odds {
    /// Posted a second time.
    pub duplicate: u8,
    /// Held back behind later ones.
    pub reorder: u8,
    /// Never posted.
    pub drop: u8,
}

/// What happens to one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fate {
    pub(super) is_dropped: bool,
    pub(super) is_duplicated: bool,
    /// How many later webhooks overtake it; 0: it is sent in order.
    pub(super) overtaken_by: u64,
}

impl Odds {
    /// Draws the fate of the next webhook. Always draws the same number of values, so the fates of one kind do not depend on the
    /// odds of another.
    pub(super) fn draw(self, rng: &mut Rng) -> Fate {
        let mut happens = |percent: u8| rng.u8(..100) < percent;
        let (is_dropped, is_duplicated, is_reordered) =
            (happens(self.drop), happens(self.duplicate), happens(self.reorder));
        let overtaken_by = rng.u64(1..=MAX_OVERTAKING);
        Fate { is_dropped, is_duplicated, overtaken_by: if is_reordered { overtaken_by } else { 0 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64, odds: Odds) -> Vec<Fate> {
        let mut rng = Rng::with_seed(seed);
        (0..1_000).map(|_| odds.draw(&mut rng)).collect()
    }

    #[test]
    fn fates_repeat_with_the_seed_and_keep_to_the_odds() {
        let odds = Odds { duplicate: 20, reorder: 30, drop: 10 };
        let drawn = fates(7, odds);
        assert_eq!(drawn, fates(7, odds));
        assert_ne!(drawn, fates(8, odds));
        let share = |is: fn(&Fate) -> bool| drawn.iter().filter(|fate| is(fate)).count();
        assert!((60..140).contains(&share(|fate| fate.is_dropped)));
        assert!((150..250).contains(&share(|fate| fate.is_duplicated)));
        assert!((240..360).contains(&share(|fate| fate.overtaken_by > 0)));
    }

    #[test]
    fn more_duplicates_do_not_change_which_webhooks_are_dropped() {
        let dropped = |odds| fates(7, odds).into_iter().map(|fate| fate.is_dropped).collect::<Vec<_>>();
        let odds = Odds { duplicate: 0, reorder: 0, drop: 50 };
        assert_eq!(dropped(odds), dropped(Odds { duplicate: 100, reorder: 100, ..odds }));
    }

    #[test]
    fn none_and_all_mean_what_they_say() {
        let none = Fate { is_dropped: false, is_duplicated: false, overtaken_by: 0 };
        assert!(fates(1, Odds::default()).iter().all(|fate| *fate == none));
        let all = Odds { duplicate: 100, reorder: 100, drop: 100 };
        assert!(fates(1, all).iter().all(|fate| fate.is_dropped && fate.is_duplicated && fate.overtaken_by > 0));
    }
}
