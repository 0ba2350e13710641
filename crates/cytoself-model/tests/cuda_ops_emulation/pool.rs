//! pool.cu.

use cytoself_model::ops::{max_pool2_backward, max_pool2_forward};

use crate::data::{SHAPES, SHIFTS, close_to, noise, same};
use crate::device::{Device, args, each, harness};

#[test]
fn the_largest_of_windows() {
    if harness().is_none() {
        return;
    }
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let [n, c, h, w] = shape;
        let (planes, total, halved) = (n * c, n * c * h * w, n * c * (h / 2) * (w / 2));
        if halved == 0 {
            continue;
        }
        // Few different values, so that windows have ties.
        let x: Vec<f32> = noise(total, 1).iter().map(|v| v.round()).collect();
        let dy = noise(halved, 2);
        let (mut y, mut dx) = (vec![0.0; halved], vec![0.0; total]);
        max_pool2_forward(&x, [h, w], &mut y);
        max_pool2_backward(&x, &dy, [h, w], &mut dx);
        let mut d = Device::new("pool", SHIFTS[number % 2]);
        let (x, dy) = (d.upload(&x), d.upload(&dy));
        let (y_there, dx_there) = (d.reserve::<f32>(halved), d.reserve::<f32>(total));
        d.launch("max_pool2", each(halved), args![x, planes, h, w, y_there]);
        let arguments = args![x, dy, planes, h, w, dx_there];
        d.launch("max_pool2_backward", each(total), arguments);
        let memory = d.run();
        same(&format!("y of {shape:?}"), &memory.read(y_there), &y);
        same(&format!("dx of {shape:?}"), &memory.read(dx_there), &dx);
    }
}

#[test]
fn a_nan_is_found() {
    if harness().is_none() {
        return;
    }
    let nan = f32::NAN;
    let x = [1., 2., nan, 3., 4., nan, 5., 6.];
    let dy = [7f32, 8.];
    let mut dx = [0.0; 8];
    max_pool2_backward(&x, &dy, [2, 4], &mut dx);
    let mut d = Device::new("nan", 0);
    let (x, dy) = (d.upload(&x), d.upload(&dy));
    let out = d.reserve::<f32>(8);
    let arguments = args![x, dy, 1usize, 2usize, 4usize, out];
    d.launch("max_pool2_backward", 1, arguments);
    same("dx", &d.run().read(out), &dx);
}

#[test]
fn whole_maps() {
    if harness().is_none() {
        return;
    }
    for (number, shape) in SHAPES.into_iter().enumerate() {
        let [n, c, h, w] = shape;
        let (planes, plane) = (n * c, h * w);
        let x = noise(planes * plane, 1);
        let maps = || x.chunks(plane);
        let means: Vec<f32> = maps()
            .map(|m| (m.iter().map(|v| f64::from(*v)).sum::<f64>() / plane as f64) as f32)
            .collect();
        let most: Vec<f32> = maps()
            .map(|m| m.iter().copied().fold(f32::NEG_INFINITY, f32::max))
            .collect();
        let mut d = Device::new("maps", SHIFTS[number % 2]);
        let there = d.upload(&x);
        let [mean, largest] = [(); 2].map(|()| d.reserve::<f32>(planes));
        let blocks = planes.div_ceil(8);
        d.launch("global_mean", blocks, args![there, planes, plane, mean]);
        d.launch("global_max", blocks, args![there, planes, plane, largest]);
        let memory = d.run();
        let what = |kind: &str| format!("{kind} of {shape:?}");
        close_to(&what("means"), &memory.read(mean), &means, 0.1);
        same(&what("largest"), &memory.read(largest), &most);
    }
}
