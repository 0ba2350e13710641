// The losses, summed in f64.

KERNEL mse_partial(const float* a, const float* b, u64 m, u32 chunks, double* partial) {
    double sums[1] = {};
    const u64 packs = wide(a, b) ? m / 4 : 0, first = (u64)blockIdx.x * THREADS + threadIdx.x, step = (u64)chunks * THREADS;
#pragma unroll 2
    for (u64 i = first; i < packs; i += step) {
        Pack<4> p = load<4>(a + 4 * i), q = load<4>(b + 4 * i);
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            double d = p.v[j] - q.v[j];
            sums[0] += d * d;
        }
    }
    for (u64 i = 4 * packs + first; i < m; i += step) {
        double d = a[i] - b[i];
        sums[0] += d * d;
    }
    block_sums(sums);
    if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

// One block.
KERNEL mean(const double* partial, u32 count, double divisor, float* y) {
    double sums[1] = {};
    for (u32 i = threadIdx.x; i < count; i += THREADS) sums[0] += partial[i];
    block_sums(sums);
    if (threadIdx.x == 0) *y = (float)(sums[0] / divisor);
}

KERNEL mse_backward(const float* a, const float* b, u64 m, const float* dy, float* da, float* db) {
    const float factor = __fdiv_rn(__fmul_rn(2.0f, *dy), (float)m);
    for (u64 i = first_item(); i < m; i += next_item()) {
        float p = a[i], q = b[i];
        if (da) da[i] = factor * (p - q);
        if (db) db[i] = factor * (q - p);
    }
}

// The largest value of a row; every thread of the block must come and has it.
INLINE float largest_of_row(const float* row, u32 count) {
    __shared__ float of_warps[WARPS];
    float most = __int_as_float(0xff800000);
    for (u32 i = threadIdx.x; i < count; i += THREADS) most = fmaxf(most, row[i]);
    for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, step));
    __syncthreads();
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = most;
    __syncthreads();
    for (int warp = 0; warp < WARPS; ++warp) most = fmaxf(most, of_warps[warp]);
    return most;
}

KERNEL cross_entropy_rows(const float* logits, const u32* labels, u32 rows, u32 classes, double* losses, double* totals, u32* bad) {
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* values = logits + (u64)row * classes;
        float top = largest_of_row(values, classes);
        double sums[1] = {};
        for (u32 i = threadIdx.x; i < classes; i += THREADS) sums[0] += exp((double)(values[i] - top));
        block_sums(sums);
        if (threadIdx.x != 0) continue;
        u32 label = labels[row];
        totals[row] = (double)top + log(sums[0]);
        losses[row] = label < classes ? totals[row] - (double)values[label] : (double)__int_as_float(0x7fc00000);
        if (label >= classes && bad) atomicMax(bad, ~row);
    }
}

// 1 for each row whose first largest value is the label's, else 0.
KERNEL row_hits(const float* logits, const u32* labels, u32 rows, u32 classes, double* hits) {
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x) {
        const float* values = logits + (u64)row * classes;
        const float top = largest_of_row(values, classes);
        const u32 label = labels[row];
        double earlier[1] = {};
        for (u32 i = threadIdx.x; i < classes; i += THREADS) earlier[0] += i < label && values[i] == top ? 1.0 : 0.0;
        block_sums(earlier);
        if (threadIdx.x == 0) hits[row] = label < classes && values[label] == top && earlier[0] == 0.0 ? 1.0 : 0.0;
    }
}

KERNEL cross_entropy_backward(const float* logits, const u32* labels, const double* totals, u32 rows, u32 classes, const float* dy,
                              float* dx) {
    const double factor = (double)*dy / (double)rows;
    for (u32 row = blockIdx.x; row < rows; row += gridDim.x)
        for (u32 i = threadIdx.x; i < classes; i += THREADS) {
            u64 at = (u64)row * classes + i;
            float d = (float)(factor * exp((double)logits[at] - totals[row]));
            dx[at] = i == labels[row] ? __fsub_rn(d, (float)factor) : d;
        }
}
