//! Results on their way to the host.

use candle_core::{Device, Tensor};

use crate::ModelError;
#[cfg(feature = "candle-cuda")]
use crate::ops::cuda::download::{Download, Returns};

/// Brings tensors to the host: those of a GPU while it goes on.
pub(super) struct Fetcher {
    #[cfg(feature = "candle-cuda")]
    returns: Option<Returns>,
}

/// A tensor on its way, or one that is here anyway.
pub(super) enum Fetched {
    Here(Tensor),
    #[cfg(feature = "candle-cuda")]
    OnTheWay(Download),
}

impl Fetcher {
    /// For up to `tensors` tensors of `device` on their way at a time.
    pub(super) fn new(device: &Device, tensors: usize) -> Result<Self, ModelError> {
        #[cfg(not(feature = "candle-cuda"))]
        let _ = (device, tensors);
        Ok(Self {
            #[cfg(feature = "candle-cuda")]
            returns: match device {
                Device::Cuda(device) => Some(Returns::new(device, tensors)?),
                _ => None,
            },
        })
    }

    /// Sends a tensor, f32 or u32, on its way; whoever overwrites a GPU's tensor after this does not change what arrives.
    pub(super) fn fetch(&self, t: &Tensor) -> Result<Fetched, ModelError> {
        #[cfg(feature = "candle-cuda")]
        if let Some(returns) = &self.returns {
            return Ok(Fetched::OnTheWay(returns.start(t)?));
        }
        match t.device().is_cpu() {
            true => Ok(Fetched::Here(t.clone())),
            false => Ok(Fetched::Here(t.copy()?)),
        }
    }
}

impl Fetched {
    /// The values of an f32 tensor, once they are here.
    pub(super) fn floats(self) -> Result<Vec<f32>, ModelError> {
        match self {
            Self::Here(t) => Ok(t.flatten_all()?.to_vec1()?),
            #[cfg(feature = "candle-cuda")]
            Self::OnTheWay(mut download) => {
                let words = download.words()?;
                Ok(words.iter().map(|w| f32::from_bits(*w)).collect())
            }
        }
    }

    /// The values of a u32 tensor, once they are here.
    pub(super) fn words(self) -> Result<Vec<u32>, ModelError> {
        match self {
            Self::Here(t) => Ok(t.flatten_all()?.to_vec1()?),
            #[cfg(feature = "candle-cuda")]
            Self::OnTheWay(mut download) => Ok(download.words()?.to_vec()),
        }
    }
}
