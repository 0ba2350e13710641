//! Where a training computes.

use candle_core::Device;

/// Where a training computes.
///
/// # Defaults
/// The CPU.
///
/// # Example
/// ```
/// use candle_core::Device;
/// use cytoself_model::Placement;
///
/// assert!(Placement::on(Device::Cpu).device().is_cpu());
/// ```
#[derive(Debug, Clone)]
pub struct Placement {
    device: Device,
}

impl Placement {
    /// On `device`.
    #[must_use]
    pub fn on(device: Device) -> Self {
        Self { device }
    }

    /// The device that holds the network.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self::on(Device::Cpu)
    }
}
