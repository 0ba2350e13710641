//! The candle operation: gradients against finite differences, values against the PyTorch fixtures.
#![cfg(feature = "candle")]

mod npz;

use std::path::PathBuf;

use candle_core::{DType, Device, IndexOp, Result, Tensor, Var};
use cytoself_vq::candle::{QuantizeOptions, Quantized, SettledCodebook, split_quantize};

use crate::npz::Npz;

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

fn scalar(tensor: &Tensor) -> f64 {
    f64::from(tensor.to_scalar::<f32>().unwrap())
}

/// Numeric derivative of `f` at every value of `at`.
fn numeric_gradient(at: &Tensor, f: impl Fn(&Tensor) -> f64) -> Vec<f64> {
    const STEP: f32 = 1e-2;
    let values = at.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (0..values.len())
        .map(|i| {
            let moved = |by: f32| {
                let mut v = values.clone();
                v[i] += by;
                f(&Tensor::from_vec(v, at.shape(), &Device::Cpu).unwrap())
            };
            (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP)
        })
        .collect()
}

fn assert_close(found: &Tensor, expected: &[f64], tolerance: f64) {
    let found = found.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!(
            (f64::from(*f) - e).abs() <= tolerance * largest,
            "value {i}: {f} instead of {e}"
        );
    }
}

/// Two images of 3 x 2 pixels, three chunks of two components, well apart from the borders between codes.
fn example() -> (Var, Var, QuantizeOptions) {
    let codes = [-2.0f32, -2., 0., 2., 2., 0., 3., 3.];
    let codebook = Var::from_slice(&codes, (4, 2), &Device::Cpu).unwrap();
    let mut values = noise(2 * 6 * 6, 5, 0.3);
    for image in 0..2 {
        for position in 0..6 {
            for chunk in 0..3 {
                let code = (image + position + 2 * chunk) % 3;
                for i in 0..2 {
                    values[(image * 6 + chunk * 2 + i) * 6 + position] += codes[code * 2 + i];
                }
            }
        }
    }
    let z = Var::from_vec(values, (2, 6, 3, 2), &Device::Cpu).unwrap();
    (z, codebook, QuantizeOptions::default().split(3))
}

#[test]
fn losses_have_the_gradients_of_their_definition() -> Result<()> {
    let (z, codebook, options) = example();
    let found = split_quantize(&z, &codebook, &options)?;
    let run = |z: &Tensor, c: &Tensor| split_quantize(z, c, &options).unwrap();

    let gradients = found.commitment_loss.backward()?;
    let expected = numeric_gradient(&z, |z| scalar(&run(z, &codebook).commitment_loss));
    assert_close(gradients.get(&z).unwrap(), &expected, 1e-3);
    assert!(gradients.get(&codebook).is_none());

    let gradients = found.quantization_loss.backward()?;
    let expected = numeric_gradient(&codebook, |c| scalar(&run(&z, c).quantization_loss));
    assert_close(gradients.get(&codebook).unwrap(), &expected, 1e-3);
    assert_close(gradients.get(&z).unwrap(), &[0.0; 72], 1e-9);
    assert_eq!(&expected[6..], &[0.0, 0.0], "the last code is not used");

    // The total weighs the commitment by 0.25.
    let total = found.loss.backward()?;
    let parts = found.commitment_loss.backward()?;
    let quarter = (parts.get(&z).unwrap() * 0.25)?
        .flatten_all()?
        .to_vec1::<f32>()?;
    assert_eq!(
        total.get(&z).unwrap().flatten_all()?.to_vec1::<f32>()?,
        quarter
    );
    assert!((scalar(&found.loss) - 1.25 * scalar(&found.commitment_loss)).abs() < 1e-7);
    Ok(())
}

#[test]
fn a_codebook_left_to_averages_gets_no_gradient() -> Result<()> {
    let (z, codebook, options) = example();
    let options = options.quantization_cost(0.0);
    let found = split_quantize(&z, &codebook, &options)?;
    let expected = 0.25 * scalar(&found.commitment_loss);
    assert!((scalar(&found.loss) - expected).abs() < 1e-7);
    assert!(scalar(&found.quantization_loss) > 0.0);
    let gradients = found.loss.backward()?;
    assert!(gradients.get(&codebook).is_none());
    assert!(gradients.get(&z).is_some());
    Ok(())
}

#[test]
fn the_softmax_loss_reaches_vectors_and_codes() -> Result<()> {
    let (z, codebook, options) = example();
    // Nearer to each other, so that the softmax is not all or nothing.
    let (z, codebook) = (
        Var::from_tensor(&(z.as_tensor() * 0.3)?)?,
        Var::from_tensor(&(codebook.as_tensor() * 0.3)?)?,
    );
    let options = options.softmax_cost(2.0);
    let run = |z: &Tensor, c: &Tensor| split_quantize(z, c, &options).unwrap();
    let loss = run(&z, &codebook).softmax_loss.unwrap();
    let gradients = loss.backward()?;
    let expected = numeric_gradient(&z, |z| scalar(&run(z, &codebook).softmax_loss.unwrap()));
    assert_close(gradients.get(&z).unwrap(), &expected, 2e-2);
    let expected = numeric_gradient(&codebook, |c| scalar(&run(&z, c).softmax_loss.unwrap()));
    assert_close(gradients.get(&codebook).unwrap(), &expected, 2e-2);
    let found = run(&z, &codebook);
    let parts = 1.25 * scalar(&found.commitment_loss) + 2.0 * scalar(&loss);
    assert!((scalar(&found.loss) - parts).abs() < 1e-6);
    Ok(())
}

#[test]
fn settled_codes_give_the_same_values_and_gradients_into_the_vectors() -> Result<()> {
    let (z, codebook, options) = example();
    let options = options.softmax_cost(0.5);
    let settled = SettledCodebook::new(&codebook, 3).unwrap();
    let values = |t: &Tensor| t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let expected = split_quantize(&z, &codebook, &options).unwrap();
    codebook.set(&(codebook.as_tensor() + 5.0)?)?;
    let found = settled.split_quantize(&z, &options).unwrap();
    assert_eq!(values(&found.quantized), values(&expected.quantized));
    assert_eq!(values(&found.histogram), values(&expected.histogram));
    let losses = |q: &Quantized| {
        let softmax = q.softmax_loss.clone().unwrap();
        [&q.loss, &q.commitment_loss, &q.quantization_loss, &softmax].map(Tensor::clone)
    };
    for (found, expected) in losses(&found).iter().zip(&losses(&expected)) {
        assert_eq!(scalar(found), scalar(expected));
    }
    for (found, expected) in losses(&found).iter().zip(&losses(&expected)) {
        let (found, expected) = (found.backward()?, expected.backward()?);
        let (found, expected) = (found.get(&z).unwrap(), expected.get(&z).unwrap());
        assert_eq!(values(found), values(expected));
    }
    Ok(())
}

#[test]
fn gradients_pass_straight_through() -> Result<()> {
    let (z, codebook, options) = example();
    let found = split_quantize(&z, &codebook, &options)?;
    let weights = Tensor::from_vec(noise(72, 9, 1.0), (2, 6, 3, 2), &Device::Cpu)?;
    let gradients = ((&found.quantized * &weights)?.sum_all()? + &found.loss)?.backward()?;
    let alone = found.loss.backward()?;
    let expected = (&weights + alone.get(&z).unwrap())?
        .flatten_all()?
        .to_vec1::<f32>()?;
    let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
    assert_close(gradients.get(&z).unwrap(), &expected, 1e-6);
    Ok(())
}

#[test]
fn views_and_shapes() -> Result<()> {
    let (z, codebook, options) = example();
    let found = split_quantize(&z, &codebook, &options)?;
    assert_eq!(found.quantized.dims(), [2, 6, 3, 2]);
    assert_eq!(found.indices.dims(), [2, 3, 3, 2]);
    assert_eq!(found.histogram.dims(), [2, 4]);
    assert_eq!(found.histogram.sum(1)?.to_vec1::<f32>()?, [18.0, 18.0]);
    let view = z.transpose(2, 3)?.contiguous()?.transpose(2, 3)?.i(1..)?;
    let part = split_quantize(&view, &codebook, &options)?;
    assert_eq!(
        part.indices.flatten_all()?.to_vec1::<u32>()?,
        found.indices.i(1)?.flatten_all()?.to_vec1::<u32>()?
    );
    Ok(())
}

#[test]
fn bad_input_is_named() {
    let (z, codebook, _) = example();
    let error = split_quantize(&z, &codebook, &QuantizeOptions::default().split(2)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "6 channels cannot be cut into 2 chunks of 2, the width of the codes; expected 4 channels"
    );
    let nan = Tensor::full(f32::NAN, (1, 2, 1, 1), &Device::Cpu).unwrap();
    let error = split_quantize(&nan, &codebook, &QuantizeOptions::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("row 0 of the vectors is not finite")
    );
    let integers = z.to_dtype(DType::U32).unwrap();
    assert!(split_quantize(&integers, &codebook, &QuantizeOptions::default().split(3)).is_err());
}

/// One VQ level of a fixture.
struct Level {
    fixture: Npz,
    name: &'static str,
    found: Quantized,
}

impl Level {
    fn new(folder: &str, name: &'static str, codebook: &str, split: usize) -> Option<Self> {
        let Some(data) = std::env::var_os("CYTOSELF_DATA").map(PathBuf::from) else {
            eprintln!("skipped: CYTOSELF_DATA is not set");
            return None;
        };
        let folder = data.join("parity").join(folder);
        let weights =
            candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
        let fixture = Npz::open(&folder.join("fixtures.npz"));
        let z = fixture.get(&format!("eval/{name}.encoded"));
        let found = split_quantize(
            &z,
            &weights[codebook],
            &QuantizeOptions::default()
                .split(split)
                .softmax_histogram(true),
        )
        .unwrap();
        Some(Self {
            fixture,
            name,
            found,
        })
    }

    fn get(&self, what: &str) -> Tensor {
        self.fixture.get(&format!("eval/{}.{what}", self.name))
    }

    /// Indices where the second-best code is further away than 1e-3, histograms and losses: SPEC's gates.
    fn check(&self) -> Result<()> {
        let expected = self.get("vqind");
        assert_eq!(expected.dims(), self.found.indices.dims());
        let (b, split, h, w) = expected.dims4()?;
        // `gap12` is flat in (image, h, w, split).
        let gap = self
            .get("gap12")
            .reshape((b, h, w, split))?
            .permute((0, 3, 1, 2))?
            .contiguous()?;
        let gap = gap.flatten_all()?.to_vec1::<f32>()?;
        let expected: Vec<i64> = expected.flatten_all()?.to_vec1()?;
        let found: Vec<u32> = self.found.indices.flatten_all()?.to_vec1()?;
        let mut same = true;
        for ((&e, &f), &gap) in expected.iter().zip(&found).zip(&gap) {
            same &= e == i64::from(f);
            assert!(
                e == i64::from(f) || gap <= 1e-3,
                "{f} instead of {e}, gap {gap}"
            );
        }
        let near = |found: f64, what: &str| {
            let expected = scalar(&self.get(what));
            assert!(
                (found - expected).abs() <= 1e-5 * expected.abs(),
                "{what}: {found} instead of {expected}"
            );
        };
        near(scalar(&self.found.loss), "loss");
        near(scalar(&self.found.commitment_loss), "commitment_loss");
        near(scalar(&self.found.quantization_loss), "quantization_loss");
        near(
            scalar(self.found.softmax_loss.as_ref().unwrap()),
            "softmax_loss",
        );
        let expected = self.get("softmaxhist");
        let difference = (&expected - self.found.softmax_histogram.as_ref().unwrap())?
            .abs()?
            .max_all()?;
        assert!(scalar(&difference) <= 5e-5 * scalar(&expected.max_all()?));
        if same {
            near(self.found.tally.perplexity().unwrap(), "perplexity");
            assert_eq!(
                self.get("vqindhist").to_vec2::<f32>()?,
                self.found.histogram.to_vec2::<f32>()?
            );
            let difference = (self.get("vqvec") - &self.found.quantized)?
                .abs()?
                .max_all()?;
            assert!(scalar(&difference) < 1e-6);
        }
        Ok(())
    }
}

#[test]
fn the_pytorch_fixtures() -> Result<()> {
    for (folder, splits) in [("micro", [1, 3]), ("tfdec", [1, 9])] {
        for (level, name) in ["vq1", "vq2"].into_iter().enumerate() {
            let codebook = format!("vq_layers.{level}.codebook.weight");
            match Level::new(folder, name, &codebook, splits[level]) {
                Some(level) => level.check()?,
                None => return Ok(()),
            }
        }
    }
    Ok(())
}
