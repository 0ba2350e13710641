//! A device against the processor.

use candle_core::{Device, Tensor, Var};
use cytoself_model::ops::{self, Adam, AdamParams, Precision};
use cytoself_model::{Config, LossWeights, Model, ModelError, Noise, Pass, open_device};
use cytoself_vq::candle::{QuantizeOptions, split_quantize};

use super::cases::{self, Case, noise};
use super::{Failure, Found, batches, ranks};

/// How far a result may be from the processor's, relative to its largest value.
fn tolerance(precision: Precision, multiplies: bool) -> f64 {
    match (precision, multiplies) {
        // 10 and 7 bits of fraction, and sums of up to 3000 products.
        (Precision::Tf32, true) => 5e-3,
        (Precision::Bf16, true) => 5e-2,
        _ => 2e-5,
    }
}

/// Compares everything whose name contains `only`; prints a line for each and tells whether all is within tolerance.
pub(crate) fn all(
    device: &Device,
    precision: Precision,
    small: bool,
    only: &str,
) -> Result<bool, Failure> {
    let mut fine = true;
    let mut check = |name: &str, limit, f: &dyn Fn() -> Result<(Found, Found), Failure>| {
        if name.contains(only) {
            fine &= told(name, precision, limit, f());
        }
    };
    for case in cases::all(small) {
        let limit = tolerance(precision, case.multiplies);
        check(&case.name, limit, &|| {
            Ok((operation(&case, &Device::Cpu)?, operation(&case, device)?))
        });
    }
    let both = |f: &dyn Fn(&Device) -> Result<Found, Failure>| Ok((f(&Device::Cpu)?, f(device)?));
    check("adam", 2e-6, &|| both(&adam));
    check("split quantize", 2e-6, &|| both(&|d| quantizer(d, small)));
    check("feed", 0.0, &|| both(&batches::feed));
    let presets = ["torch-micro", "small", "paper", "torch-split9"];
    // Rounding grows from layer to layer, and codes that are nearly as near as others change.
    let limit = match precision {
        Precision::F32 => 2e-3,
        Precision::Tf32 => 5e-2,
        _ => 3e-1,
    };
    for preset in &presets[..if small { 1 } else { presets.len() }] {
        let name = format!("network {preset}");
        check(&name, limit, &|| both(&|d| network(preset, d)));
    }
    check("embedding", limit, &|| both(&batches::embedding));
    if device.is_cuda() {
        check("embedding by a CUDA graph", 0.0, &|| {
            alike(|graph| batches::graph_embedding(device, graph))
        });
    }
    // On an emulated GPU they take minutes.
    if !small || precision == Precision::F32 {
        // Adam's first steps follow the signs of gradients, of which rounding decides the smallest.
        check("training", limit.max(2e-2), &|| both(&batches::training));
        if device.is_cuda() {
            check("training by a CUDA graph", 0.0, &|| {
                alike(|graph| batches::graph_training(device, graph))
            });
        }
    }
    Ok(fine)
}

/// Compares a training step of several ranks on the device `name` with one of the processor alone, and where this program was built with
/// NCCL and there are GPUs, such a step of ranks with a GPU each.
pub(crate) fn ranks(name: &str) -> Result<bool, Failure> {
    let alone = ranks::trained(&["cpu".to_string()], false)?;
    let step = |what: &str, devices: &[String], nccl| {
        let compared = ranks::trained(devices, nccl).map(|found| (alone.clone(), found));
        let what = format!("training step of {} ranks, {what}", devices.len());
        told(&what, Precision::F32, 2e-5, compared)
    };
    let mut fine = true;
    for size in [2, 3] {
        fine &= step("on one device", &vec![name.to_string(); size], false);
    }
    if name == "cpu" || !cfg!(feature = "nccl") {
        return Ok(fine);
    }
    let gpus: Vec<String> = (0..3).map(|k| format!("cuda:{k}")).collect();
    let there = |gpu: &&String| open_device(gpu, Precision::F32, None).is_ok();
    let count = gpus.iter().take_while(there).count();
    for size in 2..=count {
        fine &= step("NCCL", &gpus[..size], true);
    }
    let refused = match ranks::trained(&vec![name.to_string(); 2], true) {
        Err(error) => error.to_string(),
        Ok(_) => "nothing".to_string(),
    };
    let right = refused.contains("ranks 0 and 1 compute on the same GPU");
    println!(
        "{{\"op\": \"two ranks on one GPU, NCCL\", \"refused\": {refused:?}, \"ok\": {right}}}"
    );
    Ok(fine && right)
}

/// The results without and with a CUDA graph.
fn alike(f: impl Fn(bool) -> Result<Found, Failure>) -> Result<(Found, Found), Failure> {
    Ok((f(false)?, f(true)?))
}

/// Prints the largest difference of two sets of results.
fn told(
    name: &str,
    precision: Precision,
    limit: f64,
    compared: Result<(Found, Found), Failure>,
) -> bool {
    let line = |text: String, fine: bool| {
        println!("{{\"op\": {name:?}, \"precision\": \"{precision}\", {text}, \"ok\": {fine}}}");
        fine
    };
    match compared.and_then(|(here, there)| worst(&here, &there)) {
        Ok((error, part)) => line(
            format!("\"error\": {error:.2e}, \"in\": {part:?}, \"limit\": {limit:.0e}"),
            error <= limit,
        ),
        Err(error) => line(format!("\"failed\": {:?}", error.to_string()), false),
    }
}

/// The largest difference relative to the largest value of the part, and the part.
fn worst(here: &Found, there: &Found) -> Result<(f64, String), Failure> {
    let mut worst = (0.0, String::new());
    for ((name, a), (_, b)) in here.iter().zip(there) {
        let values = |t: &Tensor| t.to_device(&Device::Cpu)?.flatten_all()?.to_vec1::<f32>();
        let (a, b) = (values(a)?, values(b)?);
        if a.len() != b.len() || b.iter().any(|v| !v.is_finite()) {
            return Err(format!("{name}: another size, or not finite").into());
        }
        let largest = a.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
        let difference = a
            .iter()
            .zip(&b)
            .fold(0f32, |m, (a, b)| m.max((a - b).abs()));
        let error = f64::from(difference / largest);
        if error >= worst.0 {
            worst = (error, name.clone());
        }
    }
    Ok(worst)
}

fn operation(case: &Case, device: &Device) -> Result<Found, Failure> {
    let inputs = cases::inputs(case, device)?;
    let tensors: Vec<Tensor> = inputs.iter().map(|v| v.as_tensor().clone()).collect();
    let ((y, loss), tape) = ops::record(|| -> candle_core::Result<_> {
        let y = (case.run)(&tensors)?;
        let target = noise(y.dims(), 99)?.to_device(device)?;
        let loss = ops::mse(&y, &target)?;
        Ok((y, loss))
    })?;
    let mut found = vec![
        ("result".to_string(), y),
        ("loss".to_string(), loss.clone()),
    ];
    if let Some(kept) = cases::left_behind() {
        found.push(("running values".to_string(), kept));
    }
    let gradients = tape.backward(&loss)?;
    for (i, input) in inputs.iter().enumerate() {
        let gradient = gradients.get(input).ok_or("no gradient")?;
        found.push((format!("gradient {i}"), gradient.clone()));
    }
    Ok(found)
}

fn adam(device: &Device) -> Result<Found, Failure> {
    let shapes: [&[usize]; 3] = [&[3], &[100, 300], &[8192]];
    let named: Vec<(String, Var)> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| {
            let value = noise(shape, i as u64)?.to_device(device)?;
            Ok((format!("w{i}"), Var::from_tensor(&value)?))
        })
        .collect::<candle_core::Result<_>>()?;
    let mut adam = Adam::new(named.clone(), AdamParams::adam_w(1e-2))?;
    for _ in 0..5 {
        let (loss, tape) = ops::record(|| -> candle_core::Result<_> {
            let mut total: Option<Tensor> = None;
            for (_, w) in &named {
                let term = ops::mse(w, &w.ones_like()?)?;
                total = Some(match total {
                    Some(t) => ops::add(&t, &term)?,
                    None => term,
                });
            }
            total.ok_or_else(|| candle_core::Error::Msg("no variable".into()))
        })?;
        adam.step(&tape.backward(&loss)?)?;
    }
    let mut found: Found = named
        .iter()
        .map(|(n, w)| (n.clone(), w.as_tensor().clone()))
        .collect();
    found.extend(adam.state()?);
    Ok(found)
}

fn quantizer(device: &Device, small: bool) -> Result<Found, Failure> {
    let (images, codes) = if small { (2, 100) } else { (16, 2048) };
    let mut found = Vec::new();
    for (split, side) in [(1, 25), (9, 4)] {
        let z = Var::from_tensor(&noise(&[images, split * 64, side, side], 1)?.to_device(device)?)?;
        let c = Var::from_tensor(&noise(&[codes, 64], 2)?.to_device(device)?)?;
        let options = QuantizeOptions::default().split(split);
        let q = split_quantize(&z, &c, &options)?;
        let target = q.quantized.zeros_like()?;
        let loss = ops::add(&q.loss, &ops::mse(&q.quantized, &target)?)?;
        let gradients = loss.backward()?;
        let part = |name: &str| format!("{name}, split {split}");
        found.push((
            part("indices"),
            q.indices.to_dtype(candle_core::DType::F32)?,
        ));
        found.push((part("histogram"), q.histogram));
        found.push((part("quantized"), q.quantized.clone()));
        found.push((part("loss"), q.loss));
        found.push((
            part("perplexity"),
            Tensor::new(q.tally.perplexity()? as f32, device)?,
        ));
        for (name, v) in [("into z", &z), ("into codes", &c)] {
            let gradient = gradients.get(v).ok_or("no gradient")?;
            found.push((part(name), gradient.clone()));
        }
    }
    Ok(found)
}

/// The loss of a training pass and the norms of all gradients.
fn network(preset: &str, device: &Device) -> Result<Found, Failure> {
    let mut config = Config::preset(preset)?.model;
    config.classes = 7;
    let model = Model::new(&config, 5, device)?;
    let [h, w] = config.input;
    let images = noise(&[2, config.channels.len(), h, w], 11)?.to_device(device)?;
    let labels = Tensor::new(&[3u32, 6], device)?;
    let pass = Pass::train(Noise { seed: 1, step: 2 });
    let (loss, tape) = ops::record(|| -> Result<_, ModelError> {
        let forward = model.forward(&images, &pass)?;
        Ok(model
            .loss(&forward, &images, &labels, &LossWeights::new(0.1))?
            .0)
    })?;
    let gradients = tape.backward(&loss)?;
    let mut norms = Vec::new();
    for p in model.parameters().weights() {
        if let Some(g) = gradients.get(&p.value) {
            let values = g.flatten_all()?.to_vec1::<f32>()?;
            let squares: f64 = values.iter().map(|v| f64::from(*v).powi(2)).sum();
            norms.push(squares.sqrt() as f32);
        }
    }
    Ok(vec![
        ("loss".into(), loss),
        (
            "norms of gradients".into(),
            Tensor::new(norms, &Device::Cpu)?,
        ),
    ])
}
