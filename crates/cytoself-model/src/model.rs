//! The network: two levels of encoder and quantiser, two heads, two decoders.

mod parts;
mod quantize;

use candle_core::{Device, Tensor};
use cytoself_vq::candle::{Quantized, SettledCodebook};

use self::parts::{decoder, encoder, head};
use self::quantize::quantize;
use crate::ModelError;
use crate::config::{Activity, InnerTarget, ModelConfig};
use crate::layers::{Builder, Decoder, Encoder, Head, Pass, upsample};
use crate::ops;
use crate::parameters::Parameters;
use crate::weights::Weights;

/// The cytoself network.
///
/// # Shapes
/// Images `[n, c, h, w]` f32; representation of level 1 `[n, d1, h1, w1]`, of level 2 `[n, s * d2, h2, w2]`.
///
/// # Example
/// ```
/// use cytoself_model::{Config, Model, Pass};
/// use candle_core::{Device, Tensor};
///
/// let mut config = Config::preset("torch-micro")?.model;
/// config.classes = 5;
/// let model = Model::new(&config, 42, &Device::Cpu)?;
/// let image = Tensor::zeros((1, 2, 40, 40), candle_core::DType::F32, &Device::Cpu)?;
/// let global = model.embed(&image, 2, &Pass::evaluate())?;
/// assert_eq!(global.representation().dims(), [1, 24, 3, 3]);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
pub struct Model {
    config: ModelConfig,
    parameters: Parameters,
    encoders: [Encoder; 2],
    decoders: [Option<Decoder>; 2],
    codebooks: [Tensor; 2],
    /// Of weights that stay.
    settled: [Option<SettledCodebook>; 2],
    heads: [Option<Head>; 2],
    device: Device,
}

/// A level's representation before and after quantisation.
#[derive(Debug)]
pub struct Level {
    /// The encoder's output.
    pub encoded: Tensor,
    /// What the quantiser made of it; none where quantisation is off.
    pub quantized: Option<Quantized>,
}

impl Level {
    /// What heads and decoders see: the quantised map, or the encoder's output where quantisation is off.
    #[must_use]
    pub fn representation(&self) -> &Tensor {
        self.quantized
            .as_ref()
            .map_or(&self.encoded, |q| &q.quantized)
    }
}

/// Everything that a forward pass computes.
#[derive(Debug)]
pub struct Forward {
    /// Both levels.
    pub levels: [Level; 2],
    /// Logits `[n, classes]` of the trained heads.
    pub logits: [Option<Tensor>; 2],
    /// Output of decoder 2, which should equal the representation of level 1.
    pub inner: Option<Tensor>,
    /// Output of decoder 1, which should equal the image.
    pub reconstruction: Option<Tensor>,
}

impl Model {
    /// A network with seeded initial weights.
    ///
    /// # Errors
    /// - the configuration is impossible, or has trained heads and no classes.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let head_built = config
            .levels
            .iter()
            .any(|l| l.head.activity != Activity::Absent);
        if head_built && config.classes == 0 {
            return Err(ModelError::config(
                "model.classes",
                "the number of proteins",
                0,
            ));
        }
        Self::build(
            Builder::new(seed, config.norm, config.padding, device.clone()),
            config,
            device,
        )
    }

    /// The same network over the same tensors, for evaluation: nothing is kept for gradients, so that a pass needs
    /// the memory of its widest layer only.
    ///
    /// # Errors
    /// - a tensor cannot be made.
    pub fn frozen(&self) -> Result<Self, ModelError> {
        let config = &self.config;
        let b = Builder::frozen(
            self.parameters.clone(),
            config.norm,
            config.padding,
            self.device.clone(),
        );
        Self::build(b, config, &self.device)
    }

    /// As [`Model::frozen`], with the weights of its encoders and its codes as they are now: on the processor they are brought into the
    /// order in which it reads them once, and not at every pass. Later changes of these do not change what it computes in evaluation; heads,
    /// decoders, and encoders through which gradients into images are wanted, follow the weights as those of [`Model::frozen`] do.
    ///
    /// # Errors
    /// - a tensor cannot be made;
    /// - a code is NaN or infinite.
    pub fn settled(&self) -> Result<Self, ModelError> {
        let mut model = self.frozen()?;
        for encoder in &mut model.encoders {
            encoder.pack(&model.device)?;
        }
        let levels = model.codebooks.iter().zip(&model.config.levels);
        for (settled, (codebook, level)) in model.settled.iter_mut().zip(levels) {
            if level.quantizer.enabled && codebook.device().is_cpu() {
                *settled = Some(SettledCodebook::new(codebook, level.quantizer.split)?);
            }
        }
        Ok(model)
    }

    fn build(mut b: Builder, config: &ModelConfig, device: &Device) -> Result<Self, ModelError> {
        // In the order of PyTorch's state dict.
        let b = &mut b;
        let encoders = [encoder(b, config, 0)?, encoder(b, config, 1)?];
        let decoders = [decoder(b, config, 0)?, decoder(b, config, 1)?];
        let codebooks = [
            b.codebook(0, &config.levels[0].quantizer)?,
            b.codebook(1, &config.levels[1].quantizer)?,
        ];
        let heads = [head(b, config, 0)?, head(b, config, 1)?];
        let parameters = std::mem::take(&mut b.parameters);
        Ok(Self {
            config: config.clone(),
            parameters,
            encoders,
            decoders,
            codebooks,
            settled: [None, None],
            heads,
            device: device.clone(),
        })
    }

    /// A network with the weights of a file.
    ///
    /// # Errors
    /// - the configuration is impossible;
    /// - the weights do not fit it, or were trained with another arithmetic (those of TensorFlow, with PyTorch's padding).
    pub fn with_weights(
        config: &ModelConfig,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        weights.check(config)?;
        let model = Self::new(config, 0, device)?;
        model.parameters.assign(weights)?;
        Ok(model)
    }

    /// The network's settings.
    #[must_use]
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The network's tensors.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where the network's tensors are.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Codes per level; 0 where quantisation is off.
    pub(crate) fn codes(&self) -> [usize; 2] {
        [0, 1].map(|index| {
            let config = &self.config.levels[index].quantizer;
            if config.enabled { config.codes } else { 0 }
        })
    }

    /// The codes of a level (1 or 2), `[k, d]`.
    ///
    /// # Errors
    /// - the level is neither 1 nor 2.
    pub fn codebook(&self, level: usize) -> Result<&Tensor, ModelError> {
        check_level(level).map(|i| &self.codebooks[i])
    }

    /// The representation of `level` (1 or 2) of images `[n, c, h, w]`, and nothing else.
    ///
    /// # Errors
    /// - the level is neither 1 nor 2;
    /// - the images do not have the network's shape.
    pub fn embed(&self, images: &Tensor, level: usize, pass: &Pass) -> Result<Level, ModelError> {
        let index = check_level(level)?;
        let mut encoded = self.encode(images, 1, pass)?;
        if index == 1 {
            encoded = self.encoders[1].forward(&encoded, pass)?;
        }
        self.quantize(encoded, index)
    }

    /// The output of the encoders up to `level` (1 or 2).
    ///
    /// # Errors
    /// As [`Model::embed`].
    pub fn encode(&self, images: &Tensor, level: usize, pass: &Pass) -> Result<Tensor, ModelError> {
        let index = check_level(level)?;
        self.check_images(images)?;
        let mut encoded = self.encoders[0].forward(images, pass)?;
        if index == 1 {
            encoded = self.encoders[1].forward(&encoded, pass)?;
        }
        Ok(encoded)
    }

    /// Both levels' representations; what [`Model::forward`] computes without heads and decoders.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub fn embed_both(&self, images: &Tensor, pass: &Pass) -> Result<[Level; 2], ModelError> {
        let encoded1 = self.encode(images, 1, pass)?;
        let global = self.embed_global(&encoded1, pass)?;
        Ok([self.embed_local(encoded1)?, global])
    }

    /// Level 2 from the output of encoder 1, which it reads unquantised.
    pub(crate) fn embed_global(&self, encoded1: &Tensor, pass: &Pass) -> Result<Level, ModelError> {
        self.quantize(self.encoders[1].forward(encoded1, pass)?, 1)
    }

    /// Level 1 from the output of encoder 1.
    pub(crate) fn embed_local(&self, encoded1: Tensor) -> Result<Level, ModelError> {
        self.quantize(encoded1, 0)
    }

    /// Everything: representations, logits, both decoders' outputs.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub fn forward(&self, images: &Tensor, pass: &Pass) -> Result<Forward, ModelError> {
        let levels = self.embed_both(images, pass)?;
        let [r1, r2] = [levels[0].representation(), levels[1].representation()];
        let logits = [self.logits(r1, 0, pass)?, self.logits(r2, 1, pass)?];
        let inner = match &self.decoders[1] {
            Some(decoder) => Some(decoder.forward(r2, pass)?),
            None => None,
        };
        let reconstruction = match &self.decoders[0] {
            Some(_) => Some(self.decode(r1, r2, pass)?),
            None => None,
        };
        Ok(Forward {
            levels,
            logits,
            inner,
            reconstruction,
        })
    }

    /// Probabilities `[n, classes]` that the head of `level` (1 or 2) gives the proteins.
    ///
    /// # Errors
    /// - the level is neither 1 nor 2, or has no trained head;
    /// - the images do not have the network's shape.
    pub fn identify(
        &self,
        images: &Tensor,
        level: usize,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        let index = check_level(level)?;
        let found = self.embed(images, level, pass)?;
        match self.logits(found.representation(), index, pass)? {
            Some(logits) => Ok(candle_nn::ops::softmax(&logits, 1)?),
            None => {
                let field = format!("model.levels[{index}].head.activity");
                Err(ModelError::config(
                    field,
                    "train",
                    "a network without this head",
                ))
            }
        }
    }

    /// The image that decoder 1 makes of representations, original or changed.
    ///
    /// # Shapes
    /// `local: [n, d1, h1, w1]`, `global: [n, s * d2, h2, w2]`; image `[n, c, h, w]`.
    ///
    /// # Errors
    /// - the network has no decoder 1;
    /// - a representation has another shape.
    pub fn decode(
        &self,
        local: &Tensor,
        global: &Tensor,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        let Some(decoder) = &self.decoders[0] else {
            return Err(ModelError::config(
                "model.levels[0].decoder.activity",
                "train",
                "a network without decoder 1",
            ));
        };
        let raised = upsample(global, self.config.embedding(0), self.config.upsampling)?;
        decoder.forward(&ops::concat_channels(&[&raised, local])?, pass)
    }

    /// What decoder 2 has to reproduce.
    pub(crate) fn inner_target<'a>(&self, level1: &'a Level) -> &'a Tensor {
        match self.config.inner_target {
            InnerTarget::Quantized => level1.representation(),
            InnerTarget::Encoder => &level1.encoded,
        }
    }

    fn logits(
        &self,
        representation: &Tensor,
        index: usize,
        pass: &Pass,
    ) -> Result<Option<Tensor>, ModelError> {
        match &self.heads[index] {
            Some(head) if self.config.levels[index].head.activity == Activity::Train => {
                Ok(Some(head.forward(representation, pass)?))
            }
            _ => Ok(None),
        }
    }

    fn quantize(&self, encoded: Tensor, index: usize) -> Result<Level, ModelError> {
        let config = &self.config.levels[index].quantizer;
        if !config.enabled {
            return Ok(Level {
                encoded,
                quantized: None,
            });
        }
        let quantized = match &self.settled[index] {
            Some(codes) if !ops::on_tape() => {
                codes.split_quantize(&encoded, &quantize::options(config))?
            }
            _ => quantize(&encoded, &self.codebooks[index], config)?,
        };
        Ok(Level {
            encoded,
            quantized: Some(quantized),
        })
    }

    fn check_images(&self, images: &Tensor) -> Result<(), ModelError> {
        let [h, w] = self.config.input;
        let expected = [
            images.dims().first().copied().unwrap_or(1),
            self.config.channels.len(),
            h,
            w,
        ];
        if images.dims() == expected {
            return Ok(());
        }
        Err(ModelError::Shape {
            what: "images".to_string(),
            expected: expected.to_vec(),
            found: images.dims().to_vec(),
            hint: format!(
                "the network was built for the channels {} and crops of {h}x{w} px",
                self.config.channels.join(", ")
            ),
        })
    }
}

/// Index of a level from its number.
pub(crate) fn check_level(level: usize) -> Result<usize, ModelError> {
    match level {
        1 | 2 => Ok(level - 1),
        other => Err(ModelError::config("level", "1 or 2", other)),
    }
}
