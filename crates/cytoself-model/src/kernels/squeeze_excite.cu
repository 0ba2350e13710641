// Squeeze and excitation: x sigmoid(w2 silu(w1 mean(x) + b1) + b2). Both products are small: one block per image, each sum in one order.

KERNEL se_gates(const float* means, const float* w1, const float* b1, const float* w2, const float* b2, u32 n, u32 c, u32 r,
                float* hidden, float* active, float* gates) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (u32 image = blockIdx.x; image < n; image += gridDim.x) {
        const float* mean = means + (u64)image * c;
        for (u32 j = warp; j < r; j += WARPS) {
            float sum = 0.0f;
            for (u32 i = lane; i < c; i += 32) sum = fmaf(w1[(u64)j * c + i], mean[i], sum);
            sum = warp_sum(sum) + b1[j];
            if (lane != 0) continue;
            hidden[(u64)image * r + j] = sum;
            active[(u64)image * r + j] = silu(sum);
        }
        __syncthreads();
        for (u32 i = threadIdx.x; i < c; i += THREADS) {
            float sum = 0.0f;
            for (u32 j = 0; j < r; ++j) sum = fmaf(w2[(u64)i * r + j], active[(u64)image * r + j], sum);
            gates[(u64)image * c + i] = sigmoid(sum + b2[i]);
        }
    }
}

KERNEL se_scale(const float* x, const float* gates, u32 plane, u32 planes, float* y) {
    for_maps(planes, plane, 1, x, 0, 0, y, [&](u32 map, u32, float v, float, float) { return v * gates[map]; });
}

KERNEL se_dlogits(const float* x, const float* dy, const float* gates, u32 planes, u32 plane, float* dlogits) {
    sums_of_maps(planes, plane, [=](u64 i) { return x[i] * dy[i]; },
                 [=](u32 map, double sum) { dlogits[map] = (float)sum * (gates[map] * (1.0f - gates[map])); });
}

KERNEL se_gates_backward(const float* dlogits, const float* hidden, const float* w1, const float* w2, u32 n, u32 c, u32 r,
                         float* dhidden, float* dmeans) {
    __shared__ float of_warps[WARPS][32];
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (u32 image = blockIdx.x; image < n; image += gridDim.x) {
        const float* d = dlogits + (u64)image * c;
        for (u32 first = 0; first < r; first += 32) {
            u32 j = first + lane;
            float sum = 0.0f;
            if (j < r)
                for (u32 i = warp; i < c; i += WARPS) sum = fmaf(w2[(u64)i * r + j], d[i], sum);
            of_warps[warp][lane] = sum;
            __syncthreads();
            if (warp == 0 && j < r) {
                for (int k = 1; k < WARPS; ++k) sum += of_warps[k][lane];
                dhidden[(u64)image * r + j] = sum * silu_slope(hidden[(u64)image * r + j]);
            }
            __syncthreads();
        }
        for (u32 i = threadIdx.x; i < c; i += THREADS) {
            float sum = 0.0f;
            for (u32 j = 0; j < r; ++j) sum = fmaf(w1[(u64)j * c + i], dhidden[(u64)image * r + j], sum);
            dmeans[(u64)image * c + i] = sum;
        }
    }
}

// out = a^T b.
KERNEL outer_sums(const float* a, const float* b, u32 n, u32 rows, u32 columns, float* out, float* sums) {
    u64 item = first_item();
    if (item >= (u64)rows * columns) return;
    u32 row = (u32)(item / columns), column = (u32)(item % columns);
    float product = 0.0f, sum = 0.0f;
#pragma unroll 4
    for (u32 k = 0; k < n; ++k) {
        float v = a[(u64)k * rows + row];
        product = fmaf(v, b[(u64)k * columns + column], product);
        sum += v;
    }
    out[item] = product;
    if (sums && column == 0) sums[row] = sum;
}

KERNEL se_dx(const float* dy, const float* gates, const float* dmeans, u32 plane, u32 planes, float* dx) {
    for_maps(planes, plane, 1, dy, 0, 0, dx, [&](u32 map, u32, float d, float, float) {
        return __fadd_rn(__fmul_rn(d, gates[map]), __fdiv_rn(dmeans[map], (float)plane));
    });
}
