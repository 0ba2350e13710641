//! Batches of crops on their way to a device.

#[cfg(any(test, feature = "candle-cuda"))]
pub(crate) mod pool;

use candle_core::{Device, Tensor};

use crate::ModelError;
#[cfg(feature = "candle-cuda")]
use crate::ops::cuda::upload::{Lane, Upload};
use crate::training::augment::Symmetry;

/// What a batch says of each of its crops besides the pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Crop {
    /// How the crop is turned before the network sees it.
    pub symmetry: Symmetry,
    /// The number of its protein; 0 where nobody asks.
    pub label: u32,
}

/// The way of batches from a thread that reads them to the device that computes with them.
///
/// A thread [loads](Feed::load), another [takes](Feed::take). On the processor the loading thread turns the crops and taking them costs
/// nothing. On a GPU the crops are read into page-locked memory and copied by a stream of their own while the GPU works on earlier
/// batches; the GPU turns them. The pixels are the same, to the bit. A feed to a GPU has memory for three batches on either side,
/// whatever the readers do: [`Feed::load`] waits for a place.
///
/// # Example
/// ```
/// use candle_core::Device;
/// use cytoself_model::{Crop, Feed, Symmetry};
/// let feed = Feed::new(&Device::Cpu, 8, [1, 2, 2])?;
/// let symmetry = Symmetry { flip_rows: true, ..Symmetry::default() };
/// let load = feed.load(&[Crop { symmetry, label: 5 }], |pixels| Ok(pixels.copy_from_slice(&[1., 2., 3., 4.])))?;
/// let (images, labels) = feed.take(load)?;
/// assert_eq!(images.flatten_all()?.to_vec1::<f32>()?, [3., 4., 1., 2.]);
/// assert_eq!(labels.to_vec1::<u32>()?, [5]);
/// # Ok::<(), cytoself_model::ModelError>(())
/// ```
pub struct Feed {
    shape: [usize; 3],
    #[cfg(feature = "candle-cuda")]
    lane: Option<Lane>,
}

/// A batch that is on its way.
pub struct Load(Pixels);

enum Pixels {
    Here {
        pixels: Vec<f32>,
        labels: Vec<u32>,
    },
    #[cfg(feature = "candle-cuda")]
    OnTheWay(Upload),
}

impl Feed {
    /// A way to `device` for batches of at most `batch` crops of `shape` (channels, height, width).
    ///
    /// # Errors
    /// - the GPU or the system has no memory for it.
    pub fn new(device: &Device, batch: usize, shape: [usize; 3]) -> Result<Self, ModelError> {
        #[cfg(not(feature = "candle-cuda"))]
        let _ = (device, batch);
        Ok(Self {
            shape,
            #[cfg(feature = "candle-cuda")]
            lane: match device {
                Device::Cuda(device) => Some(Lane::new(device, batch, shape)?),
                _ => None,
            },
        })
    }

    /// Reads a batch: `fill` gets the room for the pixels of all `crops`, `[crops, channels, height, width]`, with arbitrary content.
    ///
    /// # Errors
    /// - whatever `fill` returns;
    /// - a crop is to be transposed that is not square, or there are more crops than the feed was made for;
    /// - the GPU refuses the copy.
    pub fn load(
        &self,
        crops: &[Crop],
        fill: impl FnOnce(&mut [f32]) -> Result<(), ModelError>,
    ) -> Result<Load, ModelError> {
        let [channels, h, w] = self.shape;
        if h != w && crops.iter().any(|c| c.symmetry.transpose) {
            let refused = format!("a crop of {h}x{w} px cannot be transposed");
            return Err(candle_core::Error::Msg(refused).into());
        }
        #[cfg(feature = "candle-cuda")]
        if let Some(lane) = &self.lane {
            return Ok(Load(Pixels::OnTheWay(lane.start(crops, fill)?)));
        }
        let mut pixels = vec![0.0; crops.len() * channels * h * w];
        fill(&mut pixels)?;
        let mut scratch = Vec::new();
        for (crop, image) in crops
            .iter()
            .zip(pixels.chunks_exact_mut((channels * h * w).max(1)))
        {
            crop.symmetry.apply(image, [h, w], &mut scratch);
        }
        let labels = crops.iter().map(|c| c.label).collect();
        Ok(Load(Pixels::Here { pixels, labels }))
    }

    /// The images `[n, channels, height, width]` f32 and labels `[n]` u32 of a batch that this feed has loaded, on the device.
    ///
    /// On a GPU nothing waits: what is computed with the tensors is computed after the batch has arrived.
    ///
    /// # Errors
    /// - the GPU has no memory for them.
    pub fn take(&self, load: Load) -> Result<(Tensor, Tensor), ModelError> {
        match load.0 {
            Pixels::Here { pixels, labels } => {
                let [channels, h, w] = self.shape;
                let (n, device) = (labels.len(), &Device::Cpu);
                let images = Tensor::from_vec(pixels, (n, channels, h, w), device)?;
                Ok((images, Tensor::from_vec(labels, n, device)?))
            }
            #[cfg(feature = "candle-cuda")]
            Pixels::OnTheWay(upload) => match &self.lane {
                Some(lane) => Ok(lane.take(upload)?),
                None => {
                    Err(candle_core::Error::Msg("the batch is another feed's".to_string()).into())
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transposed() -> Crop {
        Crop {
            symmetry: Symmetry {
                transpose: true,
                ..Symmetry::default()
            },
            label: 1,
        }
    }

    #[test]
    fn each_crop_is_turned_in_its_own_way() {
        let feed = Feed::new(&Device::Cpu, 2, [2, 2, 2]).unwrap();
        let crops = [Crop::default(), transposed()];
        let load = feed.load(&crops, |pixels| {
            pixels.iter_mut().zip(0..).for_each(|(p, i)| *p = i as f32);
            Ok(())
        });
        let (images, labels) = feed.take(load.unwrap()).unwrap();
        assert_eq!(images.dims(), [2, 2, 2, 2]);
        let found = images.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(found[..8], [0., 1., 2., 3., 4., 5., 6., 7.]);
        assert_eq!(found[8..], [8., 10., 9., 11., 12., 14., 13., 15.]);
        assert_eq!(labels.to_vec1::<u32>().unwrap(), [0, 1]);
    }

    #[test]
    fn what_cannot_be_turned_and_what_cannot_be_read_is_an_error() {
        let feed = Feed::new(&Device::Cpu, 1, [1, 2, 3]).unwrap();
        let error = feed.load(&[transposed()], |_| Ok(())).err().unwrap();
        assert!(error.to_string().contains("2x3 px"), "{error}");
        let refuse = |_: &mut [f32]| Err(ModelError::config("crop", "a crop", "none"));
        assert!(feed.load(&[Crop::default()], refuse).is_err());
    }
}
