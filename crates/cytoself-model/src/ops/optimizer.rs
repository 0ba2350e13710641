//! Adam and AdamW, one fused pass per parameter.

#[cfg(feature = "candle-cuda")]
use super::cuda;
use super::elementwise::CHUNK;
use super::simd::{InstructionSet, kernel, load_up_to, store_up_to};
use super::tensor::with;
#[cfg(feature = "candle-cuda")]
use candle_core::CudaDevice;
use candle_core::{
    CpuStorage, DType, Device, InplaceOp1, Layout, Result, Tensor, Var, backprop::GradStore, bail,
};
use rayon::prelude::*;
use std::cell::RefCell;
use std::collections::HashMap;

/// The settings of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamParams {
    /// Step length; the schedule changes it with [`Adam::set_learning_rate`].
    pub learning_rate: f64,
    /// Decay of the mean of the gradients.
    pub beta1: f64,
    /// Decay of the mean of their squares.
    pub beta2: f64,
    /// Added to the root of the second mean.
    pub eps: f64,
    /// AdamW's decoupled decay: the weights shrink by `learning_rate * weight_decay` per step.
    pub weight_decay: f64,
}

impl AdamParams {
    /// Adam as PyTorch's `torch.optim.Adam`: betas 0.9 and 0.999, eps 1e-8, no decay.
    ///
    /// # References
    /// Kingma and Ba 2015, arXiv:1412.6980.
    pub fn adam(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// AdamW as PyTorch's `torch.optim.AdamW`: as [`AdamParams::adam`] with a decoupled decay of 0.01.
    ///
    /// # References
    /// Loshchilov and Hutter 2019, arXiv:1711.05101.
    pub fn adam_w(learning_rate: f64) -> Self {
        Self {
            weight_decay: 0.01,
            ..Self::adam(learning_rate)
        }
    }
}

/// The numbers of one step, as the kernel takes them.
#[derive(Clone, Copy, Debug)]
struct StepFactors {
    shrink: f32,
    mean_rate: f32,
    beta2: f32,
    square_rate: f32,
    step_size: f32,
    root_correction: f32,
    eps: f32,
}

impl StepFactors {
    fn new(p: &AdamParams, step: u64) -> Self {
        let t = i32::try_from(step).unwrap_or(i32::MAX);
        let (c1, c2) = (1.0 - p.beta1.powi(t), 1.0 - p.beta2.powi(t));
        Self {
            shrink: (1.0 - p.learning_rate * p.weight_decay) as f32,
            mean_rate: (1.0 - p.beta1) as f32,
            beta2: p.beta2 as f32,
            square_rate: (1.0 - p.beta2) as f32,
            step_size: (p.learning_rate / c1) as f32,
            root_correction: (1.0 / c2.sqrt()) as f32,
            eps: p.eps as f32,
        }
    }

    /// In the order that the kernel of the GPU reads them in.
    #[cfg(feature = "candle-cuda")]
    fn numbers(&self) -> [f32; 7] {
        [
            self.shrink,
            self.mean_rate,
            self.beta2,
            self.square_rate,
            self.step_size,
            self.root_correction,
            self.eps,
        ]
    }
}

kernel! {
    /// One step on `n` weights.
    unsafe fn adam_kernel<L>(w: *mut f32, g: *const f32, m: *mut f32, v: *mut f32, n: usize, f: &StepFactors) {
        let mut i = 0;
        while i < n {
            let k = (n - i).min(L::N);
            let grad = load_up_to::<L>(g.add(i), k);
            let mean = load_up_to::<L>(m.add(i), k);
            let mean = L::fma(L::sub(grad, mean), L::splat(f.mean_rate), mean);
            let square = L::fma(L::mul(grad, grad), L::splat(f.square_rate), L::mul(load_up_to::<L>(v.add(i), k), L::splat(f.beta2)));
            let root = L::fma(L::sqrt(square), L::splat(f.root_correction), L::splat(f.eps));
            let weight = L::mul(load_up_to::<L>(w.add(i), k), L::splat(f.shrink));
            let weight = L::fnma(L::splat(f.step_size), L::div(mean, root), weight);
            store_up_to::<L>(m.add(i), k, mean);
            store_up_to::<L>(v.add(i), k, square);
            store_up_to::<L>(w.add(i), k, weight);
            i += L::N;
        }
    }
}

/// Step `step` (from 1) of Adam on the weights `w` with the gradient `g`; `m` and `v` are its two means.
///
/// # Panics
/// If the slices differ in length.
pub fn adam_step(
    w: &mut [f32],
    g: &[f32],
    m: &mut [f32],
    v: &mut [f32],
    params: &AdamParams,
    step: u64,
    isa: InstructionSet,
) {
    assert!(w.len() == g.len() && w.len() == m.len() && w.len() == v.len());
    let factors = StepFactors::new(params, step);
    let chunks = w
        .par_chunks_mut(CHUNK)
        .zip(g.par_chunks(CHUNK))
        .zip(m.par_chunks_mut(CHUNK))
        .zip(v.par_chunks_mut(CHUNK));
    chunks.for_each(|(((w, g), m), v)| {
        // SAFETY: the four chunks have the same length.
        unsafe {
            adam_kernel(
                isa,
                w.as_mut_ptr(),
                g.as_ptr(),
                m.as_mut_ptr(),
                v.as_mut_ptr(),
                w.len(),
                &factors,
            )
        };
    });
}

/// One parameter and its two running means.
#[derive(Debug)]
struct Slot {
    name: String,
    var: Var,
    means: RefCell<Means>,
}

/// The running means of the gradient and of its square, where the variable is.
enum Means {
    Processor([Vec<f32>; 2]),
    #[cfg(feature = "candle-cuda")]
    Gpu(cuda::optimizer::Means),
}

impl std::fmt::Debug for Means {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Means")
    }
}

impl Slot {
    fn check(&self, gradient: &Tensor) -> Result<()> {
        if gradient.dims() != self.var.dims() {
            bail!(
                "Adam: {} has the shape {:?} but its gradient {:?}",
                self.name,
                self.var.dims(),
                gradient.dims()
            );
        }
        Ok(())
    }
}

impl Means {
    fn zeros(var: &Var) -> Result<Self> {
        #[cfg(feature = "candle-cuda")]
        if var.device().is_cuda() {
            return cuda::optimizer::zeros(var).map(Self::Gpu);
        }
        let n = var.elem_count();
        Ok(Self::Processor([vec![0.0; n], vec![0.0; n]]))
    }

    /// The values of one, as a tensor on the processor.
    fn tensor(&self, which: usize, var: &Var) -> Result<Tensor> {
        match self {
            Self::Processor(means) => Tensor::from_slice(&means[which], var.shape(), &Device::Cpu),
            #[cfg(feature = "candle-cuda")]
            Self::Gpu(means) => {
                let values = cuda::optimizer::download(var, &means[which])?;
                Tensor::from_vec(values, var.shape(), &Device::Cpu)
            }
        }
    }

    #[cfg_attr(not(feature = "candle-cuda"), allow(unused_variables))]
    fn set(&mut self, which: usize, var: &Var, values: Vec<f32>) -> Result<()> {
        match self {
            Self::Processor(means) => means[which] = values,
            #[cfg(feature = "candle-cuda")]
            Self::Gpu(means) => means[which] = cuda::optimizer::upload(var, &values)?,
        }
        Ok(())
    }
}

/// Adam or AdamW over named variables, in place.
///
/// A variable without a gradient is left alone, as in PyTorch.
///
/// # Example
/// ```
/// use candle_core::{Device, Var};
/// use cytoself_model::ops::{Adam, AdamParams};
/// let w = Var::new(&[1f32], &Device::Cpu)?;
/// let mut adam = Adam::new(vec![("w".to_string(), w.clone())], AdamParams::adam(0.1))?;
/// let loss = w.sqr()?.sum_all()?;
/// adam.step(&loss.backward()?)?;
/// assert!((w.to_vec1::<f32>()?[0] - 0.9).abs() < 1e-6); // the first step has the length of the learning rate
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Adam {
    params: AdamParams,
    step: u64,
    slots: Vec<Slot>,
    #[cfg(feature = "candle-cuda")]
    pieces: Option<std::sync::Arc<cuda::optimizer::Pieces>>,
}

impl Adam {
    /// An optimizer of the variables `named`, at step 0.
    ///
    /// # Errors
    /// * a variable is not f32, not contiguous, or a name occurs twice.
    pub fn new(named: Vec<(String, Var)>, params: AdamParams) -> Result<Self> {
        let mut seen = std::collections::HashSet::new();
        for (name, var) in &named {
            if var.dtype() != DType::F32 || !var.is_contiguous() {
                bail!("Adam: the variable {name} must be contiguous f32");
            }
            if !seen.insert(name.as_str()) {
                bail!("Adam: the name {name} occurs twice");
            }
        }
        let slots = named.into_iter().map(|(name, var)| {
            Ok(Slot {
                means: RefCell::new(Means::zeros(&var)?),
                name,
                var,
            })
        });
        Ok(Self {
            params,
            step: 0,
            slots: slots.collect::<Result<_>>()?,
            #[cfg(feature = "candle-cuda")]
            pieces: None,
        })
    }

    /// The settings.
    pub fn params(&self) -> &AdamParams {
        &self.params
    }

    /// Steps taken.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Sets the step length from the next step on.
    pub fn set_learning_rate(&mut self, learning_rate: f64) {
        self.params.learning_rate = learning_rate;
    }

    /// Takes one step along the gradients.
    ///
    /// # Errors
    /// * a gradient does not have the shape of its variable.
    pub fn step(&mut self, gradients: &GradStore) -> Result<()> {
        self.step += 1;
        #[cfg(feature = "candle-cuda")]
        if self.slots.first().is_some_and(|s| s.var.device().is_cuda()) {
            return self.step_on_gpu(gradients);
        }
        for slot in &self.slots {
            let Some(gradient) = gradients.get(&slot.var) else {
                continue;
            };
            slot.check(gradient)?;
            slot.var.inplace_op1(&Update {
                slot,
                gradient,
                params: &self.params,
                step: self.step,
            })?;
        }
        Ok(())
    }

    /// All variables in one launch.
    #[cfg(feature = "candle-cuda")]
    fn step_on_gpu(&mut self, gradients: &GradStore) -> Result<()> {
        let factors = StepFactors::new(&self.params, self.step).numbers();
        let Self { slots, pieces, .. } = self;
        with_parameters(slots, gradients, |parameters| {
            cuda::optimizer::step(parameters, factors, pieces)
        })
    }

    /// What a step needs to be captured, after one that was not.
    ///
    /// # Errors
    /// * there was none.
    #[cfg(feature = "candle-cuda")]
    pub(crate) fn fixed(&self, device: &CudaDevice) -> Result<cuda::optimizer::Fixed> {
        match &self.pieces {
            Some(pieces) => cuda::optimizer::Fixed::new(device, pieces),
            None => bail!("Adam: no step on a GPU so far"),
        }
    }

    /// Captures a step, which takes place when it is replayed: [`Adam::replayed`] counts it.
    ///
    /// # Errors
    /// * the gradients are not those of the step before.
    #[cfg(feature = "candle-cuda")]
    pub(crate) fn capture_step(
        &self,
        gradients: &GradStore,
        fixed: &mut cuda::optimizer::Fixed,
    ) -> Result<()> {
        let p = &self.params;
        let settings = [p.beta1, p.beta2, p.eps, p.weight_decay];
        with_parameters(&self.slots, gradients, |parameters| {
            cuda::optimizer::captured_step(parameters, settings, fixed)
        })
    }

    /// Counts a step that was replayed.
    #[cfg(feature = "candle-cuda")]
    pub(crate) fn replayed(&mut self) {
        self.step += 1;
    }

    /// The state: `exp_avg.NAME` and `exp_avg_sq.NAME` per variable (PyTorch's words); beside it keep [`Adam::steps`].
    ///
    /// # Errors
    /// * candle cannot make the tensors.
    pub fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let tensors = self.slots.iter().flat_map(|slot| {
            let means = slot.means.borrow();
            [("exp_avg", 0), ("exp_avg_sq", 1)].map(|(kind, i)| {
                means
                    .tensor(i, &slot.var)
                    .map(|t| (format!("{kind}.{}", slot.name), t))
            })
        });
        tensors.collect()
    }

    /// Goes back to a saved state.
    ///
    /// # Errors
    /// * a tensor of [`Adam::state`] is missing or has another shape.
    pub fn load_state(&mut self, tensors: &HashMap<String, Tensor>, steps: u64) -> Result<()> {
        for slot in &self.slots {
            for (i, kind) in ["exp_avg", "exp_avg_sq"].iter().enumerate() {
                let name = format!("{kind}.{}", slot.name);
                let Some(t) = tensors.get(&name) else {
                    bail!("Adam: the state {name} is missing")
                };
                if t.dims() != slot.var.dims() {
                    bail!(
                        "Adam: the state {name} should have the shape {:?}, found {:?}",
                        slot.var.dims(),
                        t.dims()
                    );
                }
                let values = t.flatten_all()?.to_vec1()?;
                slot.means.borrow_mut().set(i, &slot.var, values)?;
            }
        }
        self.step = steps;
        Ok(())
    }
}

/// Hands all variables that have a gradient to `f`, with it and their means.
#[cfg(feature = "candle-cuda")]
fn with_parameters<T>(
    slots: &[Slot],
    gradients: &GradStore,
    f: impl FnOnce(&[cuda::optimizer::Parameter<'_>]) -> Result<T>,
) -> Result<T> {
    let means: Vec<_> = slots.iter().map(|s| s.means.borrow()).collect();
    let mut parameters = Vec::with_capacity(slots.len());
    for (slot, means) in slots.iter().zip(&means) {
        let Some(gradient) = gradients.get(&slot.var) else {
            continue;
        };
        slot.check(gradient)?;
        let Means::Gpu(means) = &**means else {
            bail!("Adam: all variables must be on one device")
        };
        parameters.push(cuda::optimizer::Parameter {
            weights: &slot.var,
            gradient: gradient.contiguous()?,
            means,
        });
    }
    f(&parameters)
}

struct Update<'a> {
    slot: &'a Slot,
    gradient: &'a Tensor,
    params: &'a AdamParams,
    step: u64,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adam"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (CpuStorage::F32(weights), Some((start, end))) = (storage, layout.contiguous_offsets())
        else {
            bail!(
                "Adam: the variable {} must be contiguous f32",
                self.slot.name
            )
        };
        let mut means = self.slot.means.borrow_mut();
        #[cfg_attr(not(feature = "candle-cuda"), allow(irrefutable_let_patterns))]
        let Means::Processor([m, v]) = &mut *means else {
            bail!("Adam: the variable {} has moved", self.slot.name)
        };
        let (params, step, isa) = (self.params, self.step, InstructionSet::detect());
        with(self.gradient, |g| {
            adam_step(&mut weights[start..end], g, m, v, params, step, isa)
        })
    }
}
