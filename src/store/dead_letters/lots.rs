//! Letters by the lot, so that no command ever holds all of them: bounded in number, and in what their bodies take.

use super::Chosen;

/// The bodies of a lot, in bytes, unless it is a single letter.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Divides `chosen`, in its order, into lots of at most `most` letters and 16 MiB of bodies. A larger letter goes alone.
pub fn lots(chosen: &[Chosen], most: usize) -> impl Iterator<Item = &[Chosen]> {
    let (mut letters, mut bytes) = (0, 0);
    chosen.chunk_by(move |one, next| {
        letters += 1;
        bytes += one.body_bytes;
        let together = letters < most && bytes + next.body_bytes <= MOST_BYTES;
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

    fn of_sizes(sizes: &[usize]) -> Vec<Chosen> {
        sizes.iter().map(|size| Chosen { id: Uuid::new_v4(), deaths: 1, body_bytes: *size }).collect()
    }

    fn sizes_of_lots(sizes: &[usize], most: usize) -> Vec<usize> {
        lots(&of_sizes(sizes), most).map(<[Chosen]>::len).collect()
    }

    #[test]
    fn a_lot_is_bounded_in_number() {
        assert_eq!(sizes_of_lots(&[1; 7], 3), [3, 3, 1]);
        assert_eq!(sizes_of_lots(&[1; 3], 1), [1, 1, 1]);
        assert!(sizes_of_lots(&[], 3).is_empty());
    }

    #[test]
    fn a_lot_is_bounded_in_bytes_and_what_is_larger_goes_alone() {
        let half = MOST_BYTES / 2;
        assert_eq!(sizes_of_lots(&[half, half, half, half, 1], 100), [2, 2, 1]);
        assert_eq!(sizes_of_lots(&[1, 2 * MOST_BYTES, 1, 1], 100), [1, 1, 2]);
    }
}
