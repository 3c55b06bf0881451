//! Letters by the lot, so that no command ever holds all of them: bounded in number, and in what their bodies take.

use super::Selected;

/// The bodies of a lot, in bytes, unless it is a single letter.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Divides `chosen`, in its order, into lots of at most `most` letters and 16 MiB of bodies. A larger letter goes alone.
pub fn batches(chosen: &[Selected], most: usize) -> impl Iterator<Item = &[Selected]> {
    let (mut letters, mut bytes) = (0, 0);
    chosen.chunk_by(move |one, next| {
        letters += 1;
        bytes += one.body_bytes;
        let together = letters < most && bytes + next.body_bytes <= MAX_BYTES;
        if !together {
            (letters, bytes) = (0, 0);
        }
        together
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn of_sizes(sizes: &[usize]) -> Vec<Selected> {
        sizes.iter().map(|size| Selected { id: Uuid::new_v4(), deaths: 1, body_bytes: *size }).collect()
    }

    fn batch_sizes(sizes: &[usize], most: usize) -> Vec<usize> {
        batches(&of_sizes(sizes), most).map(<[Selected]>::len).collect()
    }

    #[test]
    fn a_lot_is_bounded_in_number() {
        assert_eq!(batch_sizes(&[1; 7], 3), [3, 3, 1]);
        assert_eq!(batch_sizes(&[1; 3], 1), [1, 1, 1]);
        assert!(batch_sizes(&[], 3).is_empty());
    }

    #[test]
    fn a_lot_is_bounded_in_bytes_and_what_is_larger_goes_alone() {
        let half = MAX_BYTES / 2;
        assert_eq!(batch_sizes(&[half, half, half, half, 1], 100), [2, 2, 1]);
        assert_eq!(batch_sizes(&[1, 2 * MAX_BYTES, 1, 1], 100), [1, 1, 2]);
    }
}
