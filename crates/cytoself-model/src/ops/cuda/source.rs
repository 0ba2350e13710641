//! The text of the kernels.

use cytoself_vq::cuda::KernelSource;

/// All kernels of `../../kernels`, in the order of its README.
pub(super) const OPS: KernelSource = KernelSource {
    name: "ops",
    source: concat!(
        include_str!("../../kernels/common.cu"),
        include_str!("../../kernels/batch_norm.cu"),
        include_str!("../../kernels/depthwise.cu"),
        include_str!("../../kernels/depthwise_gradients.cu"),
        include_str!("../../kernels/resize.cu"),
        include_str!("../../kernels/elementwise.cu"),
        include_str!("../../kernels/random.cu"),
        include_str!("../../kernels/layout.cu"),
        include_str!("../../kernels/pool.cu"),
        include_str!("../../kernels/squeeze_excite.cu"),
        include_str!("../../kernels/loss.cu"),
        include_str!("../../kernels/optimizer.cu"),
    ),
    checked_in: include_str!("../../kernels/ops.ptx"),
};
