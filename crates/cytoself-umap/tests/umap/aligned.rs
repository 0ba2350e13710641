//! Maps of related sets.

use cytoself_umap::{
    AlignedParams, ParamGuard, PointSource, Relation, UmapModel, UmapParams, silent,
};
use ndarray::{Array2, s};

use crate::common::{accuracy, adjusted_rand, iris, k_means, neighbour_overlap};

/// Five slices of 50 irises, each 25 further on (of the flowers in a mixed order), with the species.
fn slices() -> (Vec<Array2<f32>>, Vec<Vec<usize>>, Vec<Relation>) {
    let (points, labels) = iris();
    // Every species in every slice: 7 is prime to 150.
    let order: Vec<usize> = (0..150).map(|i| i * 7 % 150).collect();
    let mixed = points.select(ndarray::Axis(0), &order);
    let starts = [0, 25, 50, 75, 100];
    let rows = starts
        .map(|a| mixed.slice(s![a..a + 50, ..]).to_owned())
        .to_vec();
    let species = starts
        .map(|a| order[a..a + 50].iter().map(|&i| labels[i]).collect())
        .to_vec();
    let relation = || Relation::new((25..50).map(|i| (i, i - 25)));
    (rows, species, (0..4).map(|_| relation()).collect())
}

fn fit(params: AlignedParams, rows: &[Array2<f32>], relations: &[Relation]) -> Vec<UmapModel> {
    let sources: Vec<PointSource<'_>> = rows
        .iter()
        .map(|r| PointSource::dense(r.view()).unwrap())
        .collect();
    params
        .check()
        .unwrap()
        .fit(&sources, relations, &mut silent())
        .unwrap()
}

/// Mean distance between the places of a point in two neighbouring slices, as a share of the map's extent.
fn drift(models: &[UmapModel]) -> f32 {
    let (mut sum, mut count, mut extent) = (0.0, 0.0, 0.0_f32);
    for pair in models.windows(2) {
        for i in 0..25 {
            let (a, b) = (
                pair[0].embedding().row(i + 25).to_owned(),
                pair[1].embedding().row(i).to_owned(),
            );
            sum += (&a - &b).mapv(|v| v * v).sum().sqrt();
            count += 1.0;
        }
        extent = pair[0]
            .embedding()
            .iter()
            .fold(extent, |m, v| m.max(v.abs()));
    }
    sum / count / extent
}

#[test]
fn aligned_irises_keep_their_neighbours_and_stay_in_place() {
    let (rows, species, relations) = slices();
    for compat in [false, true] {
        let models = fit(AlignedParams::default().compat(compat), &rows, &relations);
        for ((model, rows), species) in models.iter().zip(&rows).zip(&species) {
            let overlap = neighbour_overlap(rows.view(), model.embedding(), 10);
            assert!(overlap >= 0.65, "{overlap}");
            assert!(accuracy(model.embedding(), species, 5) >= 0.8);
        }
    }
    let free = fit(
        AlignedParams::default().regularisation(0.0),
        &rows,
        &relations,
    );
    let held = fit(
        AlignedParams::default().regularisation(0.1),
        &rows,
        &relations,
    );
    assert!(
        drift(&held) < 0.8 * drift(&free),
        "{} {}",
        drift(&held),
        drift(&free)
    );
}

#[test]
fn slices_of_the_irises_in_their_order_show_the_species() {
    // Slices 1 and 3 hold two species each, half and half.
    let (points, labels) = iris();
    let starts = [0, 25, 50, 75, 100];
    let rows = starts.map(|a| points.slice(s![a..a + 50, ..]).to_owned());
    let relation = || Relation::new((25..50).map(|i| (i, i - 25)));
    let relations: Vec<Relation> = (0..4).map(|_| relation()).collect();
    let models = fit(AlignedParams::default(), &rows, &relations);
    for (model, rows) in models.iter().zip(&rows) {
        assert!(neighbour_overlap(rows.view(), model.embedding(), 10) >= 0.65);
    }
    for (slice, least) in [(1, 0.75), (3, 0.40)] {
        let found = k_means(models[slice].embedding(), 2);
        let index = adjusted_rand(&found, &labels[starts[slice]..starts[slice] + 50]);
        assert!(index >= least, "slice {slice}: {index}");
    }
}

#[test]
fn aligned_maps_respect_min_dist_and_have_fixed_bits() {
    let (rows, _, relations) = slices();
    let run = |threads: usize, min_dist: f64| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            fit(
                AlignedParams::default().slices(UmapParams::default().min_dist(min_dist)),
                &rows,
                &relations,
            )
        })
    };
    let one = run(1, 0.1);
    for threads in [2, 3, 8] {
        assert!(
            one.iter()
                .zip(&run(threads, 0.1))
                .all(|(a, b)| a.embedding() == b.embedding())
        );
    }
    assert_ne!(one[0].embedding(), run(2, 0.8)[0].embedding());
}

#[test]
fn a_slice_places_new_points() {
    let (rows, _, relations) = slices();
    let models = fit(AlignedParams::default(), &rows, &relations);
    let (old, new) = (
        PointSource::dense(rows[1].view()).unwrap(),
        PointSource::dense(rows[3].view()).unwrap(),
    );
    let placed = models[1].transform(&old, &new, &mut silent()).unwrap();
    assert!(placed.iter().all(|v| v.is_finite()));
}

#[test]
fn relations_have_to_fit() {
    let (rows, _, relations) = slices();
    let sources: Vec<PointSource<'_>> = rows
        .iter()
        .map(|r| PointSource::dense(r.view()).unwrap())
        .collect();
    let params = AlignedParams::default().check().unwrap();
    assert!(
        params
            .fit(&sources, &relations[..3], &mut silent())
            .is_err()
    );
    let mut far = relations.clone();
    far[2] = Relation::new([(50, 0)]);
    let error = params
        .fit(&sources, &far, &mut silent())
        .unwrap_err()
        .to_string();
    assert!(error.starts_with("relation 2, entry 0"), "{error}");
    assert!(AlignedParams::default().window(0).check().is_err());
}
