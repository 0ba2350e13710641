//! Every search gives the answer of the double-precision definition, at every magnitude, shape and number of threads.

use cytoself_vq::{
    Codebook, CpuSearch, NearestCode, ScalarSearch, SearchOutput, Simd, Vectors, VqError,
};
use proptest::prelude::*;

/// Indices, squared distances and quantised values.
type Found = (Vec<u32>, Vec<f32>, Vec<f32>);

fn search(
    engine: &dyn NearestCode,
    vectors: &Vectors<'_>,
    values: usize,
) -> Result<Found, VqError> {
    let mut found = (
        vec![0; vectors.len()],
        vec![0.0; vectors.len()],
        vec![0.0; values],
    );
    let output = SearchOutput {
        indices: &mut found.0,
        squared_distances: &mut found.1,
        quantized: Some(&mut found.2),
    };
    engine.search(vectors, output)?;
    Ok(found)
}

/// Compares every instruction set, on 1 and on 3 threads, with the scalar search.
fn agree(codebook: &Codebook, data: &[f32], vectors: &Vectors<'_>) {
    let expected = search(&ScalarSearch::new(codebook.clone()), vectors, data.len()).unwrap();
    let engines = Simd::available().into_iter().flat_map(|simd| {
        let engine = CpuSearch::with_simd(codebook.clone(), simd).unwrap();
        [engine.clone(), engine.without_screening()]
    });
    for engine in engines {
        let simd = engine.simd();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            let found = pool
                .install(|| search(&engine, vectors, data.len()))
                .unwrap();
            assert_eq!(found, expected, "{simd:?} on {threads} threads");
        }
    }
}

fn noise(count: usize, seed: u64, scale: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| scale * next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn every_shape(
        (images, split, positions) in (0usize..4, 1usize..4, 1usize..40),
        (codes, dim) in (1usize..170, 1usize..40),
        seed: u64,
        last: bool,
    ) {
        let codebook = Codebook::new(noise(codes * dim, seed, 1.0), codes, dim).unwrap();
        let data = noise(images * split * dim * positions, !seed, 1.0);
        let vectors = if last {
            Vectors::channels_last(&data, images, split, dim, positions).unwrap()
        } else {
            Vectors::planes(&data, images, split, dim, positions).unwrap()
        };
        agree(&codebook, &data, &vectors);
    }

    #[test]
    fn every_magnitude(exponents in (-45i32..38, -45i32..38), (codes, dim) in (1usize..130, 1usize..20), seed: u64) {
        let scale = |e: i32| 10f64.powi(e) as f32;
        let codebook = Codebook::new(noise(codes * dim, seed, scale(exponents.0)), codes, dim).unwrap();
        let data = noise(50 * dim, !seed, scale(exponents.1));
        agree(&codebook, &data, &Vectors::rows(&data, 50, 1, dim).unwrap());
    }

    /// Values on a coarse grid: exact ties and duplicated codes everywhere.
    #[test]
    fn ties_and_duplicates((codes, dim) in (1usize..120, 1usize..6), levels in 1u8..4, seed: u64) {
        let grid = |v: Vec<f32>| v.into_iter().map(|x| (x * f32::from(levels)).round()).collect::<Vec<f32>>();
        let codebook = Codebook::new(grid(noise(codes * dim, seed, 1.0)), codes, dim).unwrap();
        let data = grid(noise(70 * dim, !seed, 1.5)).into_iter().map(|x| x * 0.5).collect::<Vec<f32>>();
        agree(&codebook, &data, &Vectors::rows(&data, 70, 1, dim).unwrap());
    }

    /// Far from the origin the products cancel; the answer must not.
    #[test]
    fn far_from_the_origin(offset in 1f32..1e6, seed: u64) {
        let shift = |v: Vec<f32>| v.into_iter().map(|x| x + offset).collect::<Vec<f32>>();
        let codebook = Codebook::new(shift(noise(100 * 8, seed, 1.0)), 100, 8).unwrap();
        let data = shift(noise(40 * 8, !seed, 1.0));
        agree(&codebook, &data, &Vectors::rows(&data, 40, 1, 8).unwrap());
    }
}

/// So far away, codes differ by less than double precision shows: of the equals the lowest index must win.
#[test]
fn a_vector_far_from_all_codes() {
    for scale in [1e9, 1e14] {
        let codebook = Codebook::new(noise(200, 5, 0.1), 200, 1).unwrap();
        let data = noise(90, 6, scale);
        agree(&codebook, &data, &Vectors::rows(&data, 90, 1, 1).unwrap());
    }
}

/// One code far away makes small integers too coarse to tell the others apart.
#[test]
fn crowded_codes() {
    for spread in [1.0, 1e-2, 1e-5] {
        let mut weights = noise(300 * 10, 5, spread);
        weights[2990..].fill(100.0);
        let codebook = Codebook::new(weights, 300, 10).unwrap();
        let data = noise(90 * 10, 6, spread);
        agree(&codebook, &data, &Vectors::rows(&data, 90, 1, 10).unwrap());
    }
}

#[test]
fn the_paper_sizes() {
    for (images, split, positions) in [(2, 1, 625), (3, 9, 16)] {
        let codebook = Codebook::uniform(2048, 64, 7).unwrap();
        let data = noise(images * split * 64 * positions, 11, 0.05);
        agree(
            &codebook,
            &data,
            &Vectors::planes(&data, images, split, 64, positions).unwrap(),
        );
    }
}

#[test]
fn wide_vectors_pass_the_cache_block() {
    let codebook = Codebook::new(noise(9 * 3000, 1, 1.0), 9, 3000).unwrap();
    let data = noise(18 * 3000, 2, 1.0);
    agree(
        &codebook,
        &data,
        &Vectors::rows(&data, 18, 1, 3000).unwrap(),
    );
}

#[test]
fn a_nan_is_named_by_its_row() {
    let codebook = Codebook::new(noise(20 * 4, 1, 1.0), 20, 4).unwrap();
    let mut data = noise(2 * 3 * 4 * 30, 2, 1.0);
    let at = |n: usize, s: usize, i: usize, p: usize| ((n * 3 + s) * 4 + i) * 30 + p;
    data[at(1, 2, 0, 5)] = f32::INFINITY;
    data[at(1, 0, 3, 29)] = f32::NAN;
    let vectors = Vectors::planes(&data, 2, 3, 4, 30).unwrap();
    let scalar = ScalarSearch::new(codebook.clone());
    let fast = CpuSearch::new(codebook);
    let engines: [&dyn NearestCode; 2] = [&scalar, &fast];
    for engine in engines {
        let error = engine.nearest(&vectors).unwrap_err();
        let expected = VqError::NonFiniteVector {
            row: 1,
            chunk: 0,
            position: 29,
            component: 3,
            value: f32::NAN,
        };
        assert_eq!(error.to_string(), expected.to_string());
    }
}

#[test]
fn dimensions_must_agree() {
    let search = CpuSearch::new(Codebook::new(vec![0.0; 6], 2, 3).unwrap());
    let vectors = Vectors::rows(&[0.0; 8], 2, 1, 4).unwrap();
    assert!(matches!(
        search.nearest(&vectors),
        Err(VqError::Dimension {
            expected: 3,
            found: 4
        })
    ));
}
