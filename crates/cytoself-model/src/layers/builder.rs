//! Makes parameters as layers ask for them, with the names of PyTorch's state dict and seeded initial values.

use candle_core::{DType, Device, Tensor, Var};

use crate::ModelError;
use crate::config::{NormConfig, PaddingRule, QuantizerConfig};
use crate::parameters::{Kind, Parameter, Parameters};
use crate::random::{Stream, Use, name_key};

/// Initial values.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Init {
    Constant(f32),
    Normal(f64),
    Uniform(f64),
}

impl Init {
    /// Kaiming normal by outputs; PyTorch does not divide by the groups of a depthwise kernel.
    pub(crate) fn kaiming_fan_out(shape: &[usize]) -> Self {
        Self::Normal((2.0 / fan(shape, 0)).sqrt())
    }

    /// Xavier normal.
    pub(crate) fn xavier(shape: &[usize]) -> Self {
        Self::Normal((2.0 / (fan(shape, 0) + fan(shape, 1))).sqrt())
    }
}

fn fan(shape: &[usize], axis: usize) -> f64 {
    (shape[axis] * shape.iter().skip(2).product::<usize>()) as f64
}

/// Makes the parameters of one network.
pub(crate) struct Builder {
    pub(crate) parameters: Parameters,
    pub(crate) norm: NormConfig,
    pub(crate) padding: PaddingRule,
    seed: u64,
    device: Device,
    streams: u32,
    shared: Option<Parameters>,
}

impl Builder {
    pub(crate) fn new(seed: u64, norm: NormConfig, padding: PaddingRule, device: Device) -> Self {
        Self {
            parameters: Parameters::default(),
            norm,
            padding,
            seed,
            device,
            streams: 0,
            shared: None,
        }
    }

    /// A builder whose layers use the tensors `shared` and track nothing for gradients.
    pub(crate) fn frozen(
        shared: Parameters,
        norm: NormConfig,
        padding: PaddingRule,
        device: Device,
    ) -> Self {
        Self {
            shared: Some(shared),
            ..Self::new(0, norm, padding, device)
        }
    }

    fn known(&self, name: &str) -> Option<&Parameter> {
        self.shared.as_ref().and_then(|p| p.get(name))
    }

    /// A number of its own for a layer that draws random numbers.
    pub(crate) fn stream(&mut self) -> u32 {
        self.streams += 1;
        self.streams
    }

    /// A trained tensor.
    pub(crate) fn weight(
        &mut self,
        name: String,
        shape: &[usize],
        init: Init,
    ) -> Result<Tensor, ModelError> {
        if let Some(known) = self.known(&name) {
            let var = known.value.clone();
            self.parameters.push(name, Kind::Weight, var.clone());
            return Ok(var.as_tensor().detach());
        }
        let count = shape.iter().product();
        let mut stream = Stream::new(self.seed, Use::Initialise, &[name_key(&name)]);
        let values: Vec<f32> = match init {
            Init::Constant(value) => vec![value; count],
            Init::Normal(deviation) => (0..count)
                .map(|_| (deviation * stream.normal()) as f32)
                .collect(),
            Init::Uniform(half) => (0..count)
                .map(|_| (half * (2.0 * stream.unit() - 1.0)) as f32)
                .collect(),
        };
        let var = Var::from_vec(values, shape, &self.device)?;
        let tensor = var.as_tensor().clone();
        self.parameters.push(name, Kind::Weight, var);
        Ok(tensor)
    }

    /// The codes of level `index`.
    pub(crate) fn codebook(
        &mut self,
        index: usize,
        config: &QuantizerConfig,
    ) -> Result<Tensor, ModelError> {
        let shape = [config.codes, config.dimension];
        self.weight(
            format!("vq_layers.{index}.codebook.weight"),
            &shape,
            Init::Uniform(config.init),
        )
    }

    /// A running statistic.
    pub(crate) fn buffer(
        &mut self,
        name: String,
        length: usize,
        value: f32,
    ) -> Result<Var, ModelError> {
        let var = match self.known(&name) {
            Some(known) => known.value.clone(),
            None => Var::from_vec(vec![value; length], length, &self.device)?,
        };
        self.parameters.push(name, Kind::Buffer, var.clone());
        Ok(var)
    }

    /// PyTorch's count of the batches that a norm has seen.
    pub(crate) fn counter(&mut self, name: String) -> Result<(), ModelError> {
        let var = match self.known(&name) {
            Some(known) => known.value.clone(),
            // Read and written at every step: on a GPU that would be a wait for each norm.
            None => Var::zeros((), DType::I64, &Device::Cpu)?,
        };
        self.parameters.push(name, Kind::Counter, var);
        Ok(())
    }
}
