//! squeeze_excite.cu.

use candle_core::{Device as Candle, Tensor, Var};
use cytoself_model::ops;

use crate::data::{SHIFTS, close, noise};
use crate::device::{Device, args, each, harness, one};

#[test]
fn forward_and_gradients() {
    if harness().is_none() {
        return;
    }
    for (number, [n, c, r, h, w]) in [
        [1, 1, 1, 1, 1],
        [3, 7, 2, 4, 4],
        [1, 64, 4, 25, 25],
        [3, 300, 40, 5, 3],
        [2, 33, 70, 8, 6],
    ]
    .into_iter()
    .enumerate()
    {
        let (plane, planes, total) = (h * w, n * c, n * c * h * w);
        let (x, dy) = (noise(total, 1), noise(total, 2));
        let weights = [
            (vec![r, c, 1, 1], noise(r * c, 3)),
            (vec![r], noise(r, 4)),
            (vec![c, r, 1, 1], noise(r * c, 5)),
            (vec![c], noise(c, 6)),
        ];
        let var = |shape: &[usize], v: &[f32]| Var::from_slice(v, shape, &Candle::Cpu).unwrap();
        let x_var = var(&[n, c, h, w], &x);
        let vars = weights.clone().map(|(shape, v)| var(&shape, &v));
        let y = ops::squeeze_excite(&x_var, &vars[0], &vars[1], &vars[2], &vars[3]).unwrap();
        let direction = Tensor::from_slice(&dy, (n, c, h, w), &Candle::Cpu).unwrap();
        let store = (&y * direction)
            .unwrap()
            .sum_all()
            .unwrap()
            .backward()
            .unwrap();
        let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();

        let mut d = Device::new("squeeze_excite", SHIFTS[number % 2]);
        let (x, dy) = (d.upload(&x), d.upload(&dy));
        let [w1, b1, w2, b2] = weights.map(|(_, v)| d.upload(&v));
        let [means, gates, dlogits, dmeans] = [(); 4].map(|()| d.reserve::<f32>(planes));
        let [hidden, active, dhidden] = [(); 3].map(|()| d.reserve::<f32>(n * r));
        let [y_there, dx] = [(); 2].map(|()| d.reserve::<f32>(total));
        let [dw1, db1, dw2, db2] = [r * c, r, r * c, c].map(|k| d.reserve::<f32>(k));
        let maps = planes.div_ceil(8);
        d.launch("global_mean", maps, args![x, planes, plane, means]);
        let arguments = args![means, w1, b1, w2, b2, n, c, r, hidden, active, gates];
        d.launch("se_gates", n, arguments);
        let arguments = args![x, gates, plane, planes, y_there];
        d.launch("se_scale", each(total), arguments);
        let arguments = args![x, dy, gates, planes, plane, dlogits];
        d.launch("se_dlogits", maps, arguments);
        let arguments = args![dlogits, hidden, w1, w2, n, c, r, dhidden, dmeans];
        d.launch("se_gates_backward", n, arguments);
        let arguments = args![dhidden, means, n, r, c, dw1, db1];
        d.launch("outer_sums", one(r * c), arguments);
        let arguments = args![dlogits, active, n, c, r, dw2, db2];
        d.launch("outer_sums", one(r * c), arguments);
        let arguments = args![dy, gates, dmeans, plane, planes, dx];
        d.launch("se_dx", each(total), arguments);
        let memory = d.run();

        let what = |part: &str| format!("{part} of {:?}", [n, c, r, h, w]);
        close(&what("y"), &memory.read(y_there), &values(&y));
        let gradient = |v: &Var| values(store.get(v).unwrap());
        close(&what("dx"), &memory.read(dx), &gradient(&x_var));
        for ((part, found), var) in [("dw1", dw1), ("db1", db1), ("dw2", dw2), ("db2", db2)]
            .into_iter()
            .zip(&vars)
        {
            close(&what(part), &memory.read(found), &gradient(var));
        }
    }
}
