use ndarray::ArrayView2;

use crate::SpectrumError;

/// The crops that show a feature cluster best: those with the largest share of their codes in it.
///
/// At most `per_protein` crops of one protein are taken, so that the pictures show the cluster and not one protein.
/// Equal shares go to the lower row.
///
/// # Shapes
/// `histograms: [crops, codes]`; `clusters[code]` from 1 on, as [`crate::Biclustering::clusters`]; `protein[row]`. Returns
/// up to `count` rows, best first.
///
/// Differs from the paper, which names its four crops per cluster without saying how they were chosen.
///
/// # Errors
/// - `clusters` or `protein` do not match `histograms`.
///
/// # Example
/// ```
/// let histograms = ndarray::array![[9u32, 1], [5, 5], [8, 2], [1, 9]];
/// let rows = cytoself_spectrum::representatives(histograms.view(), &[1, 2], 1, &[0, 1, 0, 1], 2, 1)?;
/// assert_eq!(rows, [0, 1]);
/// # Ok::<(), cytoself_spectrum::SpectrumError>(())
/// ```
pub fn representatives(
    histograms: ArrayView2<'_, u32>,
    clusters: &[usize],
    cluster: usize,
    protein: &[usize],
    count: usize,
    per_protein: usize,
) -> Result<Vec<usize>, SpectrumError> {
    let lengths = [
        ("one cluster per code", histograms.ncols(), clusters.len()),
        (
            "one protein per histogram",
            histograms.nrows(),
            protein.len(),
        ),
    ];
    for (what, expected, found) in lengths {
        if expected != found {
            return Err(SpectrumError::Shape {
                what,
                expected,
                found,
            });
        }
    }
    let mut shares: Vec<(f64, usize)> = histograms
        .outer_iter()
        .map(|h| share(h.iter().copied(), clusters, cluster))
        .zip(0..)
        .collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut taken = std::collections::HashMap::new();
    let fits = |&(_, row): &(f64, usize)| {
        let taken = taken.entry(protein[row]).or_insert(0);
        *taken += 1;
        *taken <= per_protein
    };
    Ok(shares
        .into_iter()
        .filter(fits)
        .take(count)
        .map(|(_, row)| row)
        .collect())
}

fn share(histogram: impl Iterator<Item = u32>, clusters: &[usize], cluster: usize) -> f64 {
    let (mut inside, mut total) = (0u64, 0u64);
    for (count, &of) in histogram.zip(clusters) {
        total += u64::from(count);
        inside += u64::from(count) * u64::from(of == cluster);
    }
    inside as f64 / total.max(1) as f64
}
