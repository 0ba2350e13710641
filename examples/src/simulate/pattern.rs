//! How a tagged protein spreads over a cell: one file per localisation, each with a style that proteins differ in.

mod chromatin;
mod diffuse;
mod envelope;
mod golgi;
mod mitochondria;
mod nucleolus;
mod reticulum;
mod site;
mod vesicles;

use super::rng::Rng;
use super::scene::Scene;
use super::volume::{Texture, Volume};

pub use chromatin::dna_density;
pub use diffuse::Diffuse;

/// Where a protein is found: the localisation classes of the paper that the simulator draws.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Localization {
    /// Tubes throughout the cytoplasm.
    Mitochondria,
    /// Endosomes, lysosomes, peroxisomes: small bodies in the cytoplasm.
    Vesicles,
    /// The nucleus without its nucleoli.
    Nucleoplasm,
    /// The cell without its nucleus.
    Cytoplasm,
    /// The nuclear envelope.
    NuclearMembrane,
    /// The endoplasmic reticulum.
    Er,
    /// Nucleoli.
    Nucleolus,
    /// A ribbon beside the nucleus.
    Golgi,
    /// With the DNA, also in mitosis.
    Chromatin,
}

impl Localization {
    /// All classes, in the order in which proteins are dealt to them.
    pub const ALL: [Self; 9] = [
        Self::Mitochondria,
        Self::Vesicles,
        Self::Nucleoplasm,
        Self::Cytoplasm,
        Self::NuclearMembrane,
        Self::Er,
        Self::Nucleolus,
        Self::Golgi,
        Self::Chromatin,
    ];

    /// The name in tables, e.g. `nuclear_membrane`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Mitochondria => "mitochondria",
            Self::Vesicles => "vesicles",
            Self::Nucleoplasm => "nucleoplasm",
            Self::Cytoplasm => "cytoplasm",
            Self::NuclearMembrane => "nuclear_membrane",
            Self::Er => "er",
            Self::Nucleolus => "nucleolus",
            Self::Golgi => "golgi",
            Self::Chromatin => "chromatin",
        }
    }

    /// The first letters of the names of its proteins, e.g. `NMEM`.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Mitochondria => "MITO",
            Self::Vesicles => "VESI",
            Self::Nucleoplasm => "NUCP",
            Self::Cytoplasm => "CYTO",
            Self::NuclearMembrane => "NMEM",
            Self::Er => "ERET",
            Self::Nucleolus => "NUCL",
            Self::Golgi => "GOLG",
            Self::Chromatin => "CHRO",
        }
    }
}

/// A localisation with the style that tells a protein from the others of its class.
#[derive(Debug, Clone)]
pub struct Pattern {
    localization: Localization,
    style: Style,
}

#[derive(Debug, Clone)]
enum Style {
    Mitochondria(mitochondria::Mitochondria),
    Vesicles(vesicles::Vesicles),
    Diffuse(Diffuse),
    Envelope(envelope::Envelope),
    Reticulum(reticulum::Reticulum),
    Nucleolus(nucleolus::NucleolarStyle),
    Golgi(golgi::Golgi),
    Chromatin(chromatin::Chromatin),
}

impl Pattern {
    /// A style of the class, drawn at random.
    #[must_use]
    pub fn draw(localization: Localization, rng: &mut Rng) -> Self {
        let style = match localization {
            Localization::Mitochondria => {
                Style::Mitochondria(mitochondria::Mitochondria::draw(rng))
            }
            Localization::Vesicles => Style::Vesicles(vesicles::Vesicles::draw(rng)),
            Localization::Nucleoplasm => Style::Diffuse(Diffuse::nucleoplasm(rng)),
            Localization::Cytoplasm => Style::Diffuse(Diffuse::cytoplasm(rng)),
            Localization::NuclearMembrane => Style::Envelope(envelope::Envelope::draw(rng)),
            Localization::Er => Style::Reticulum(reticulum::Reticulum::draw(rng)),
            Localization::Nucleolus => Style::Nucleolus(nucleolus::NucleolarStyle::draw(rng)),
            Localization::Golgi => Style::Golgi(golgi::Golgi::draw(rng)),
            Localization::Chromatin => Style::Chromatin(chromatin::Chromatin::draw(rng)),
        };
        Self {
            localization,
            style,
        }
    }

    /// The class.
    #[must_use]
    pub fn localization(&self) -> Localization {
        self.localization
    }

    /// Adds the pattern to a specimen, at a brightness of about 1.
    pub fn paint(&self, scene: &Scene, dna: &[Texture; 2], into: &mut Volume, rng: &mut Rng) {
        match &self.style {
            Style::Mitochondria(style) => style.paint(scene, into, rng),
            Style::Vesicles(style) => style.paint(scene, into, rng),
            Style::Diffuse(style) => style.paint(scene, into, rng),
            Style::Envelope(style) => style.paint(scene, into, rng),
            Style::Reticulum(style) => style.paint(scene, into, rng),
            Style::Nucleolus(style) => style.paint(scene, into, rng),
            Style::Golgi(style) => style.paint(scene, into, rng),
            Style::Chromatin(style) => style.paint(scene, dna, into),
        }
    }
}
