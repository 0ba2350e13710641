//! resize.cu.

use cytoself_model::ops::{
    resize_bilinear_backward, resize_bilinear_forward, resize_nearest_backward,
    resize_nearest_forward,
};

use crate::data::{SHIFTS, close, noise, same};
use crate::device::{Device, args, each, harness};

#[test]
fn forward_and_backward() {
    if harness().is_none() {
        return;
    }
    let sizes = [
        ([1, 1], [4, 4]),
        ([4, 4], [25, 25]),
        ([4, 4], [7, 7]),
        ([7, 7], [13, 13]),
        ([13, 13], [25, 25]),
        ([25, 25], [50, 50]),
        ([49, 51], [17, 23]), // smaller
        ([5, 3], [5, 40]),
        ([9, 2], [1, 1]),
    ];
    for (number, (from, to)) in sizes.into_iter().enumerate() {
        for planes in [1, 6] {
            let ([h, w], [h2, w2]) = (from, to);
            let (small, big) = (planes * h * w, planes * h2 * w2);
            let (x, dy) = (noise(small, 1), noise(big, 2));
            let [mut y, mut near] = [(); 2].map(|()| vec![0.0; big]);
            let [mut dx, mut dnear] = [(); 2].map(|()| vec![0.0; small]);
            resize_bilinear_forward(&x, from, to, &mut y);
            resize_bilinear_backward(&dy, from, to, &mut dx);
            resize_nearest_forward(&x, from, to, &mut near);
            resize_nearest_backward(&dy, from, to, &mut dnear);

            let mut d = Device::new("resize", SHIFTS[number % 2]);
            let (x, dy) = (d.upload(&x), d.upload(&dy));
            let found = [
                ("resize_bilinear", x, big),
                ("resize_bilinear_backward", dy, small),
                ("resize_nearest", x, big),
                ("resize_nearest_backward", dy, small),
            ]
            .map(|(kernel, input, count)| {
                let out = d.reserve::<f32>(count);
                let arguments = args![input, out, planes, h, w, h2, w2];
                d.launch(kernel, each(count), arguments);
                out
            });
            let memory = d.run();
            let what = |kind: &str| format!("{kind} of {planes} maps {from:?} to {to:?}");
            same(&what("bilinear"), &memory.read(found[0]), &y);
            close(&what("bilinear dx"), &memory.read(found[1]), &dx);
            same(&what("nearest"), &memory.read(found[2]), &near);
            same(&what("nearest dx"), &memory.read(found[3]), &dnear);
        }
    }
}
