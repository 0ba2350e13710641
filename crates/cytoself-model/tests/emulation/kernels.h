// All kernels of cytoself_model::ops by name, in the order of src/kernels/README.md.
#pragma once

#include "../../../cytoself-vq/tests/emulation/entries.h"

#include "../../src/kernels/common.cu"
#include "../../src/kernels/batch_norm.cu"
#include "../../src/kernels/depthwise.cu"
#include "../../src/kernels/depthwise_gradients.cu"
#include "../../src/kernels/resize.cu"
#include "../../src/kernels/elementwise.cu"
#include "../../src/kernels/random.cu"
#include "../../src/kernels/layout.cu"
#include "../../src/kernels/pool.cu"
#include "../../src/kernels/squeeze_excite.cu"
#include "../../src/kernels/loss.cu"
#include "../../src/kernels/optimizer.cu"

static std::map<std::string, Entry> kernels = {
    ENTRY(chunk_sums), ENTRY(chunk_sums_f32),
    ENTRY(bn_moments), ENTRY(bn_finish), ENTRY(bn_line), ENTRY(bn_forward), ENTRY(bn_backward_sums), ENTRY(bn_backward_finish),
    ENTRY(bn_backward_dx),
    ENTRY(depthwise_k3s1), ENTRY(depthwise_k3s2), ENTRY(depthwise_k5s1), ENTRY(depthwise_k5s2), ENTRY(depthwise_any),
    ENTRY(depthwise_dx_k3s2), ENTRY(depthwise_dx_k5s2), ENTRY(depthwise_dx_any),
    ENTRY(depthwise_dw_k3s1), ENTRY(depthwise_dw_k3s2), ENTRY(depthwise_dw_k5s1), ENTRY(depthwise_dw_k5s2), ENTRY(depthwise_dw_any),
    ENTRY(resize_bilinear), ENTRY(resize_bilinear_backward), ENTRY(resize_nearest), ENTRY(resize_nearest_backward),
    ENTRY(silu_forward), ENTRY(silu_backward), ENTRY(relu_forward), ENTRY(relu_backward), ENTRY(add), ENTRY(scale), ENTRY(fill),
    ENTRY(bias_add), ENTRY(channel_sums), ENTRY(column_sums),
    ENTRY(dropout), ENTRY(stochastic_depth), ENTRY(augment),
    ENTRY(copy_rows), ENTRY(transpose), ENTRY(to_channels_last_bf16), ENTRY(from_channels_last_bf16), ENTRY(to_bf16), ENTRY(from_bf16),
    ENTRY(max_pool2), ENTRY(max_pool2_backward), ENTRY(global_max), ENTRY(global_mean),
    ENTRY(se_gates), ENTRY(se_scale), ENTRY(se_dlogits), ENTRY(se_gates_backward), ENTRY(outer_sums), ENTRY(se_dx),
    ENTRY(mse_partial), ENTRY(mean), ENTRY(mse_backward), ENTRY(cross_entropy_rows), ENTRY(row_hits), ENTRY(cross_entropy_backward),
    ENTRY(adam_factors), ENTRY(adam), ENTRY(adam_many)};
