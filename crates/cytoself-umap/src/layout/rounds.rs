//! The order in which pairs of blocks are worked on: a round-robin tournament.

/// All unordered pairs of `0..blocks` (a block with itself too) in rounds; within a round no block appears twice.
///
/// The first round holds the diagonal, the others follow the circle method.
pub(crate) fn tournament(blocks: usize) -> Vec<Vec<(usize, usize)>> {
    let mut rounds = vec![(0..blocks).map(|i| (i, i)).collect::<Vec<_>>()];
    // With an odd number of blocks one seat is empty.
    let seats = blocks + blocks % 2;
    if seats < 2 {
        return rounds;
    }
    let wheel = seats - 1;
    for r in 0..wheel {
        let pairs = (0..seats / 2).map(|i| match i {
            0 => (r, wheel),
            _ => ((r + i) % wheel, (r + wheel - i) % wheel),
        });
        rounds.push(
            pairs
                .map(|(a, b)| (a.min(b), a.max(b)))
                .filter(|p| p.1 < blocks)
                .collect(),
        );
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_pair_meets_once_and_no_block_twice_in_a_round() {
        for blocks in 1..20 {
            let rounds = tournament(blocks);
            let mut seen = BTreeSet::new();
            for round in &rounds {
                let mut busy = BTreeSet::new();
                for &(a, b) in round {
                    assert!(a <= b && b < blocks && seen.insert((a, b)));
                    assert!(busy.insert(a) && (a == b || busy.insert(b)));
                }
            }
            assert_eq!(seen.len(), blocks * (blocks + 1) / 2);
        }
    }
}
