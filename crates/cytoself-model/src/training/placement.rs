//! Where a training computes, and with whom.

use std::sync::Arc;

use candle_core::Device;

use super::team::{Alone, Collectives};

/// Where a training computes, and with whom.
///
/// # Defaults
/// The CPU, alone; gradients are summed over ranks beside the backward pass, on GPUs by NCCL where it is built in; no CUDA graph.
///
/// # Example
/// ```
/// use std::sync::Arc;
///
/// use candle_core::Device;
/// use cytoself_model::{Placement, Threads};
///
/// let placements: Vec<Placement> = Threads::team(2)
///     .into_iter()
///     .map(|rank| Placement::on(Device::Cpu).with_team(Arc::new(rank)))
///     .collect();
/// assert_eq!(placements[1].team().rank(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct Placement {
    device: Device,
    team: Arc<dyn Collectives>,
    overlapped: bool,
    nccl: bool,
    cuda_graph: bool,
}

impl Placement {
    /// On `device`, alone.
    #[must_use]
    pub fn on(device: Device) -> Self {
        Self {
            device,
            team: Arc::new(Alone),
            overlapped: true,
            nccl: true,
            cuda_graph: false,
        }
    }

    /// As one of the ranks of `team`, which cut every batch among themselves.
    #[must_use]
    pub fn with_team(self, team: Arc<dyn Collectives>) -> Self {
        Self { team, ..self }
    }

    /// Whether gradients are summed over ranks beside the backward pass where the team can do that ([`Collectives::beside`]), or after
    /// it. The sums are the same to the bit.
    #[must_use]
    pub fn with_overlap(self, overlapped: bool) -> Self {
        Self { overlapped, ..self }
    }

    /// Whether gradients are summed from GPU to GPU by NCCL where that is possible: where the ranks have GPUs, one each, and this crate
    /// was built with the feature `nccl`. Else they go through the memory of the processor and [`Collectives`]. NCCL adds in an order
    /// of its own, in f32.
    #[must_use]
    pub fn with_nccl(self, nccl: bool) -> Self {
        Self { nccl, ..self }
    }

    /// Whether a GPU replays training steps as a CUDA graph, which spares the host their launches. The first step of a number of crops is
    /// computed as ever, the second in a row captured; the results are the same to the bit. A training that cannot be captured tells
    /// [`TrainingObserver::notice`](crate::TrainingObserver::notice) why and goes on without.
    #[must_use]
    pub fn with_cuda_graph(self, cuda_graph: bool) -> Self {
        Self { cuda_graph, ..self }
    }

    /// The device that holds the network.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether gradients are summed beside the backward pass.
    #[must_use]
    pub fn overlapped(&self) -> bool {
        self.overlapped
    }

    /// Whether gradients are summed from GPU to GPU.
    #[must_use]
    pub fn sums_between_gpus(&self) -> bool {
        let several = self.team.size() > 1;
        cfg!(feature = "nccl") && self.nccl && several && self.device.is_cuda()
    }

    /// Whether a GPU replays training steps as a CUDA graph.
    #[must_use]
    pub fn cuda_graph(&self) -> bool {
        self.cuda_graph
    }

    /// The ranks that train together.
    #[must_use]
    pub fn team(&self) -> &Arc<dyn Collectives> {
        &self.team
    }
}

impl Default for Placement {
    fn default() -> Self {
        Self::on(Device::Cpu)
    }
}
