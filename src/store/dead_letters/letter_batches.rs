//! Splits selected letters into batches, so that no command holds all their bodies in memory.

use super::Selected;

/// Maximum total size of the bodies in a batch of several letters.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Splits `selected`, in its order, into batches of at most `max_letters` letters and 16 MiB of bodies. A larger letter makes a
/// batch of its own.
pub fn batches(selected: &[Selected], max_letters: usize) -> impl Iterator<Item = &[Selected]> {
    let (mut letters, mut bytes) = (0, 0);
    selected.chunk_by(move |letter, next| {
        letters += 1;
        bytes += letter.body_bytes;
        let fits = letters < max_letters && bytes + next.body_bytes <= MAX_BYTES;
        if !fits {
            (letters, bytes) = (0, 0);
        }
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn batch_sizes(body_bytes: &[usize], max_letters: usize) -> Vec<usize> {
        let selected: Vec<Selected> = body_bytes
            .iter()
            .map(|body_bytes| Selected { id: Uuid::new_v4(), deaths: 1, body_bytes: *body_bytes })
            .collect();
        batches(&selected, max_letters).map(<[Selected]>::len).collect()
    }

    #[test]
    fn a_batch_is_bounded_in_number() {
        assert_eq!(batch_sizes(&[1; 7], 3), [3, 3, 1]);
        assert_eq!(batch_sizes(&[1; 3], 1), [1, 1, 1]);
        assert!(batch_sizes(&[], 3).is_empty());
    }

    #[test]
    fn a_batch_is_bounded_in_bytes_and_a_larger_letter_goes_alone() {
        let half = MAX_BYTES / 2;
        assert_eq!(batch_sizes(&[half, half, half, half, 1], 100), [2, 2, 1]);
        assert_eq!(batch_sizes(&[1, 2 * MAX_BYTES, 1, 1], 100), [1, 1, 2]);
    }
}
