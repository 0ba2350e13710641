//! The network of the baseline.

use candle_core::{Device, Tensor};

use super::config::InpaintingConfig;
use crate::ModelError;
use crate::config::{NormConfig, PaddingRule};
use crate::layers::{Builder, Conv, ConvShape, Norm, Pass};
use crate::ops::{self, Activation};
use crate::parameters::Parameters;
use crate::weights::Weights;

/// Channels of the source encoder's convolutions.
const SOURCE: [usize; 5] = [96, 256, 384, 384, 256];
/// Channels of the marker encoder's convolutions.
const MARKER: [usize; 3] = [16, 32, 32];
/// Channels of the decoder's convolutions, conv6 to conv10.
const DECODER: [usize; 5] = [256, 384, 384, 256, 96];
/// Keras' constants.
const NORM: NormConfig = NormConfig {
    epsilon: 1e-3,
    momentum: 0.01,
};

/// A convolution with its ReLU, and the batch norm after it.
struct Stage {
    conv: Conv,
    norm: Norm,
}

impl Stage {
    fn new(
        b: &mut Builder,
        name: &str,
        number: usize,
        [input, output]: [usize; 2],
    ) -> Result<Self, ModelError> {
        let shape = ConvShape::same(input, output, 3);
        let (conv, norm) = (
            format!("{name}.conv{number}"),
            format!("{name}.norm{number}"),
        );
        Ok(Self {
            conv: Conv::decoder(b, &conv, shape, true)?,
            norm: Norm::new(b, &norm, output, true, Activation::None)?,
        })
    }

    fn activate(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        Ok(ops::relu(&self.conv.forward(x, pass)?)?)
    }

    fn forward(&self, x: &Tensor, pass: &Pass) -> Result<Tensor, ModelError> {
        self.norm.forward(&self.activate(x, pass)?, None, pass)
    }
}

/// The network of paired cell inpainting.
///
/// Two encoders of convolutions with ReLU and batch norm (in this order), halved twice by their maxima; a decoder of
/// convolutions with ReLU that doubles twice by repetition; a linear 1x1 convolution at the end.
///
/// # Shapes
/// Source `[n, 1 + m, h, w]` (protein, then m markers), markers of the target `[n, m, h, w]`, prediction `[n, 1, h, w]`.
///
/// # Example
/// ```
/// use candle_core::Device;
/// use cytoself_model::{InpaintingConfig, InpaintingModel};
///
/// let human = InpaintingConfig { markers: vec!["nuc".into(), "er".into()], ..InpaintingConfig::default() };
/// let model = InpaintingModel::new(&human, &Device::Cpu)?;
/// // As the published network for three channels.
/// assert_eq!(model.parameters().trained_values(), 7_321_617);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
pub struct InpaintingModel {
    config: InpaintingConfig,
    parameters: Parameters,
    source: Vec<Stage>,
    marker: Vec<Stage>,
    decoder: Vec<Conv>,
    output: Conv,
    device: Device,
}

impl InpaintingModel {
    /// A network with seeded initial weights (Xavier; Keras' default is the uniform form of the same variance).
    ///
    /// # Errors
    /// - the configuration is impossible.
    pub fn new(config: &InpaintingConfig, device: &Device) -> Result<Self, ModelError> {
        config.check()?;
        let b = Builder::new(config.seed, NORM, PaddingRule::Symmetric, device.clone());
        Self::build(b, config, device)
    }

    /// A network with the weights of a file.
    ///
    /// # Errors
    /// - the configuration is impossible, or the weights do not fit it.
    pub fn with_weights(
        config: &InpaintingConfig,
        weights: &Weights,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let model = Self::new(config, device)?;
        model.parameters.assign(weights)?;
        Ok(model)
    }

    /// The same network over the same tensors, for evaluation: nothing is kept for gradients.
    ///
    /// # Errors
    /// - a tensor cannot be made.
    pub fn frozen(&self) -> Result<Self, ModelError> {
        let device = self.device.clone();
        let b = Builder::frozen(
            self.parameters.clone(),
            NORM,
            PaddingRule::Symmetric,
            device,
        );
        Self::build(b, &self.config, &self.device)
    }

    fn build(
        mut b: Builder,
        config: &InpaintingConfig,
        device: &Device,
    ) -> Result<Self, ModelError> {
        let of = |published: &[usize]| -> Vec<usize> {
            published.iter().map(|&c| config.channels_of(c)).collect()
        };
        let (source, marker, decoder) = (of(&SOURCE), of(&MARKER), of(&DECODER));
        let markers = config.markers.len();
        let joined = source[source.len() - 1] + marker[marker.len() - 1];
        let last = decoder[decoder.len() - 1];
        let b = &mut b;
        let (source, marker) = (
            stages(b, "source", 1 + markers, &source)?,
            stages(b, "marker", markers, &marker)?,
        );
        let mut convs = Vec::with_capacity(decoder.len());
        let mut input = joined;
        for (number, output) in (6..).zip(decoder) {
            let shape = ConvShape::same(input, output, 3);
            convs.push(Conv::decoder(
                b,
                &format!("decoder.conv{number}"),
                shape,
                true,
            )?);
            input = output;
        }
        let output = Conv::decoder(b, "decoder.output", ConvShape::same(last, 1, 1), true)?;
        Ok(Self {
            config: config.clone(),
            parameters: std::mem::take(&mut b.parameters),
            source,
            marker,
            decoder: convs,
            output,
            device: device.clone(),
        })
    }

    /// The network's settings.
    #[must_use]
    pub fn config(&self) -> &InpaintingConfig {
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

    /// The protein of the cells whose markers are given, as the source cells have it.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub fn forward(
        &self,
        source: &Tensor,
        markers: &Tensor,
        pass: &Pass,
    ) -> Result<Tensor, ModelError> {
        self.check("source cells", source, 1 + self.config.markers.len())?;
        self.check(
            "markers of the target cells",
            markers,
            self.config.markers.len(),
        )?;
        let [mut a, mut b] = [source.clone(), markers.clone()];
        // Sizes of the maps that the decoder comes back to.
        let mut sizes = Vec::new();
        for (number, stage) in self.source.iter().enumerate() {
            a = stage.forward(&a, pass)?;
            if number < 2 {
                sizes.push((a.dim(2)?, a.dim(3)?));
                a = ops::max_pool2(&a)?;
            }
        }
        for (number, stage) in self.marker.iter().enumerate() {
            b = stage.forward(&b, pass)?;
            if number < 2 {
                b = ops::max_pool2(&b)?;
            }
        }
        let mut x = ops::concat_channels(&[&a, &b])?;
        for (number, conv) in (6..).zip(&self.decoder) {
            if number >= 9
                && let Some((h, w)) = sizes.pop()
            {
                x = ops::resize_nearest(&x, h, w)?;
            }
            x = ops::relu(&conv.forward(&x, pass)?)?;
        }
        self.output.forward(&x, pass)
    }

    /// Largest activation of every map of the third, fourth and fifth convolution, after the ReLU and before the batch norm.
    ///
    /// # Errors
    /// - the images do not have the network's shape.
    pub(super) fn features(&self, source: &Tensor) -> Result<[Vec<f32>; 3], ModelError> {
        self.check("cells", source, 1 + self.config.markers.len())?;
        let pass = Pass::evaluate();
        let mut x = source.clone();
        let mut found: [Vec<f32>; 3] = Default::default();
        for (number, stage) in self.source.iter().enumerate() {
            let activated = stage.activate(&x, &pass)?;
            if number >= 2 {
                found[number - 2] = ops::global_max(&activated)?;
            }
            x = stage.norm.forward(&activated, None, &pass)?;
            if number < 2 {
                x = ops::max_pool2(&x)?;
            }
        }
        Ok(found)
    }

    /// Channels of the layers of [`Self::features`].
    pub(super) fn feature_widths(&self) -> [usize; 3] {
        [2, 3, 4].map(|layer| self.config.channels_of(SOURCE[layer]))
    }

    fn check(&self, what: &str, images: &Tensor, channels: usize) -> Result<(), ModelError> {
        let [h, w] = self.config.input;
        let n = images.dims().first().copied().unwrap_or(1);
        if images.dims() == [n, channels, h, w] {
            return Ok(());
        }
        Err(ModelError::Shape {
            what: what.to_string(),
            expected: vec![n, channels, h, w],
            found: images.dims().to_vec(),
            hint: format!("the network was built for crops of {h}x{w} px"),
        })
    }
}

fn stages(
    b: &mut Builder,
    name: &str,
    input: usize,
    outputs: &[usize],
) -> Result<Vec<Stage>, ModelError> {
    let inputs = std::iter::once(input).chain(outputs.iter().copied());
    inputs
        .zip(outputs)
        .zip(1..)
        .map(|((input, &output), number)| Stage::new(b, name, number, [input, output]))
        .collect()
}
