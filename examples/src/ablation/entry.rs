use std::fmt;
use std::str::FromStr;

use cytoself_model::{FEATURES, Variant};

/// The baseline's name.
const INPAINTING: &str = "inpainting";

/// What is trained: a variant of the network, or the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A variant of the network.
    Variant(Variant),
    /// Paired cell inpainting, trained for as long as the full model.
    Inpainting,
}

/// A line of the table: a representation of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The entry.
    pub entry: Entry,
    /// The representation in its embeddings.
    pub representation: &'static str,
    /// The name in tables and pictures.
    pub name: String,
}

impl Entry {
    /// The full model.
    pub const FULL: Self = Self::Variant(Variant::Full);

    /// All of them: the full model first, the baseline last.
    pub const ALL: [Self; 8] = [
        Self::FULL,
        Self::Variant(Variant::NoNucleus),
        Self::Variant(Variant::NucleusImage),
        Self::Variant(Variant::NoSplit),
        Self::Variant(Variant::NoIdentification),
        Self::Variant(Variant::NoDecoder),
        Self::Variant(Variant::NoQuantization),
        Self::Inpainting,
    ];

    /// The name in files and flags.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Variant(variant) => variant.name(),
            Self::Inpainting => INPAINTING,
        }
    }

    /// What is mapped and scored.
    #[must_use]
    pub fn lines(self) -> Vec<Line> {
        let line = |representation: &'static str, name: String| Line {
            entry: self,
            representation,
            name,
        };
        match self {
            Self::Variant(variant) => vec![line("vqvec2", variant.name().to_string())],
            Self::Inpainting => FEATURES
                .map(|layer| line(layer, format!("{INPAINTING}_{layer}")))
                .to_vec(),
        }
    }
}

/// The entries in the order of [`Entry::ALL`], each once.
pub(super) fn ordered(wanted: &[Entry]) -> Vec<Entry> {
    Entry::ALL
        .into_iter()
        .filter(|entry| wanted.contains(entry))
        .collect()
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == INPAINTING {
            return Ok(Self::Inpainting);
        }
        let known = Self::ALL.map(Self::name).join(", ");
        text.parse()
            .map(Self::Variant)
            .map_err(|_| format!("expected one of {known}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_in_one_order() {
        for entry in Entry::ALL {
            assert_eq!(entry.name().parse::<Entry>().unwrap(), entry);
        }
        let wanted = [Entry::ALL[3], Entry::ALL[0], Entry::ALL[3]];
        assert_eq!(ordered(&wanted), [Entry::ALL[0], Entry::ALL[3]]);
        let variants = Variant::ALL.map(Entry::Variant);
        assert_eq!(Entry::ALL[..7], variants);
        assert_eq!(Entry::Inpainting.lines()[1].name, "inpainting_conv4");
    }
}
