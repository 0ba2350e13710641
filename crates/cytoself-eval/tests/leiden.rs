//! Leiden against leidenalg 0.12.0 (`RBConfigurationVertexPartition`, 20 seeds, until nothing changes) on Zachary's club.

use cytoself_eval::{Graph, LeidenParams, leiden};

/// Neighbours with a larger number, node by node (Zachary 1977, doi:10.1086/jar.33.4.3629752; 0-based).
const CLUB: [&[usize]; 33] = [
    &[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 17, 19, 21, 31],
    &[2, 3, 7, 13, 17, 19, 21, 30],
    &[3, 7, 8, 9, 13, 27, 28, 32],
    &[7, 12, 13],
    &[6, 10],
    &[6, 10, 16],
    &[16],
    &[],
    &[30, 32, 33],
    &[33],
    &[],
    &[],
    &[],
    &[33],
    &[32, 33],
    &[32, 33],
    &[],
    &[],
    &[32, 33],
    &[33],
    &[32, 33],
    &[],
    &[32, 33],
    &[25, 27, 29, 32, 33],
    &[25, 27, 31],
    &[31],
    &[29, 33],
    &[33],
    &[31, 33],
    &[32, 33],
    &[32, 33],
    &[32, 33],
    &[33],
];

#[test]
fn as_good_as_leidenalg() {
    let edges: Vec<(usize, usize, f64)> = CLUB
        .iter()
        .enumerate()
        .flat_map(|(i, others)| others.iter().map(move |&j| (i, j, 1.0)))
        .collect();
    assert_eq!(edges.len(), 78);
    let graph = Graph::new(34, &edges).expect("graph");
    // Worst and best of leidenalg's seeds.
    for (resolution, worst, best) in [
        (0.5, 0.621_794_871_794_871_8, 0.621_794_871_794_871_8),
        (1.0, 0.419_789_612_097_304_4, 0.419_789_612_097_304_4),
        (2.0, 0.159_598_948_060_486_5, 0.164_529_914_529_914_5),
    ] {
        let quality = |seed| {
            let params = LeidenParams {
                resolution,
                seed,
                rounds: 50,
            };
            graph.modularity(&leiden(&graph, &params).expect("communities"), resolution)
        };
        let found: Vec<f64> = (0..20).map(quality).collect();
        let highest = found.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = found.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(highest >= best - 1e-9, "{resolution}: {highest} {best}");
        assert!(lowest >= worst - 0.01, "{resolution}: {lowest} {worst}");
    }
}
