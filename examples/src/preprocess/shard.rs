//! A part of the fields, chosen by a stable hash of their names.

use std::fmt;
use std::str::FromStr;

/// Shard `index` of `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Default for Shard {
    fn default() -> Self {
        Self { index: 0, count: 1 }
    }
}

impl Shard {
    /// Whether the field of this name belongs to the shard.
    #[must_use]
    pub fn holds(&self, fov: &str) -> bool {
        mixed(hash(fov.as_bytes())) % self.count == self.index
    }
}

impl Shard {
    /// Whether other shards hold the rest of the fields.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.count > 1
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fault = || format!("{text}: expected i/N with i from 0 to N, e.g. 0/4");
        let (index, count) = text.split_once('/').ok_or_else(fault)?;
        let (index, count) = (
            index.parse::<u64>().map_err(|_| fault())?,
            count.parse::<u64>().map_err(|_| fault())?,
        );
        if count == 0 || index > count {
            return Err(fault());
        }
        // So that counting from 1 gives a complete set of shards too.
        Ok(Self {
            index: index % count,
            count,
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

/// FNV-1a, the same on every machine and in every version.
pub(super) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |h, &b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Spreads the hash over all bits, as the low ones alone decide the shard.
fn mixed(hash: u64) -> u64 {
    let h = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^ (h >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_in_one_shard_whichever_way_they_are_counted() {
        for first in [0, 1] {
            let shards: Vec<Shard> = (first..first + 7)
                .map(|i| format!("{i}/7").parse().unwrap())
                .collect();
            let mut sizes = [0; 7];
            for field in 0..700 {
                let name = format!("plate1/A{field}");
                let holders: Vec<usize> = (0..7).filter(|&i| shards[i].holds(&name)).collect();
                assert_eq!(holders.len(), 1);
                sizes[holders[0]] += 1;
            }
            assert!(sizes.iter().all(|&n| n > 60), "{sizes:?}");
        }
        for bad in ["", "3", "1/0", "3/2", "-1/2", "a/b"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }
}
