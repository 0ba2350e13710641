//! Which channel of a field is which.

use crate::cli::Failure;

const NUCLEUS: [&str; 9] = [
    "nuc", "dna", "dapi", "hoechst", "nucleus", "nuclei", "blue", "405", "ch405",
];
const PROTEIN: [&str; 7] = ["pro", "protein", "gfp", "mng", "green", "488", "ch488"];

/// Indices of the protein and of the DNA channel.
///
/// By name; a field of two channels without known names is taken as DNA, protein, the order of acquisition.
pub(super) fn protein_and_nucleus(channels: &[String]) -> Result<[usize; 2], Failure> {
    let find = |names: &[&str]| {
        // The first name in the list wins, not the first channel.
        names.iter().find_map(|n| {
            channels
                .iter()
                .position(|c| c.trim().eq_ignore_ascii_case(n))
        })
    };
    match (find(&PROTEIN), find(&NUCLEUS)) {
        (Some(protein), Some(nucleus)) => Ok([protein, nucleus]),
        (None, None) if channels.len() == 2 => Ok([1, 0]),
        (protein, _) => {
            let (missing, examples) = if protein.is_none() {
                ("protein", "pro")
            } else {
                ("DNA", "nuc")
            };
            Err(Failure::input(format!(
                "expected a {missing} channel, found {} channel{} ({}); name the channels in the manifest's column channels, e.g. nuc;{examples}",
                channels.len(),
                if channels.len() == 1 { "" } else { "s" },
                channels.join(", ")
            )))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Option<[usize; 2]> {
        protein_and_nucleus(&names.iter().map(ToString::to_string).collect::<Vec<_>>()).ok()
    }

    #[test]
    fn by_name_or_by_order() {
        assert_eq!(of(&["nuc", "pro"]), Some([1, 0]));
        assert_eq!(of(&["tubulin", "GFP", "DAPI"]), Some([1, 2]));
        assert_eq!(of(&["channel0", "channel1"]), Some([1, 0]));
        assert_eq!(of(&["green", "pro", "nuc"]), Some([1, 2]));
        assert_eq!(of(&["nuc"]), None);
        assert_eq!(of(&["a", "b", "c"]), None);
        assert_eq!(of(&["nuc", "other"]), None);
    }
}
