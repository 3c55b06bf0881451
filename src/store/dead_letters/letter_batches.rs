//! Splits selected letters into batches, so that no command holds all their bodies in memory.

use super::Selected;

/// Maximum total size of the bodies in a batch of several letters.
const MAX_BYTES: i64 = 16 * 1024 * 1024;

/// Splits `selected`, in its order, into batches of at most `max_letters` letters and 16 MiB of bodies. A larger letter makes a
/// batch of its own.
pub fn batches(selected: &[Selected], max_letters: usize) -> impl Iterator<Item = &[Selected]> {
    let (mut letters, mut bytes) = (0, 0);
    selected.chunk_by(move |letter, next| {
        letters += 1;
        bytes += i64::from(letter.body_bytes);
        let fits = letters < max_letters && bytes + i64::from(next.body_bytes) <= MAX_BYTES;
        if !fits {
            (letters, bytes) = (0, 0);
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes_and_a_larger_letter_goes_alone() {
        let half = i32::try_from(MAX_BYTES).unwrap() / 2;
        for (sizes, max_letters, expected) in [
            (vec![1; 7], 3, vec![3, 3, 1]),
            (vec![1; 3], 1, vec![1, 1, 1]),
            (Vec::new(), 3, Vec::new()),
            (vec![half, half, half, half, 1], 100, vec![2, 2, 1]),
            (vec![1, 4 * half, 1, 1], 100, vec![1, 1, 2]),
        ] {
            let letter = |body_bytes: i32| Selected { id: uuid::Uuid::nil(), deaths: 1, body_bytes };
            let selected: Vec<Selected> = sizes.into_iter().map(letter).collect();
            assert_eq!(batches(&selected, max_letters).map(<[Selected]>::len).collect::<Vec<_>>(), expected);
        }
    }
}
