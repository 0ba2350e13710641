// Activations, sums, biases.

KERNEL silu_forward(const float* x, u64 m, float* y) {
    for_values(m, x, 0, y, [](float v, float) { return silu(v); });
}
KERNEL silu_backward(const float* x, const float* dy, u64 m, float* dx) {
    for_values(m, x, dy, dx, [](float v, float d) { return d * silu_slope(v); });
}
// Written so that a NaN stays a NaN.
KERNEL relu_forward(const float* x, u64 m, float* y) {
    for_values(m, x, 0, y, [](float v, float) { return v < 0.0f ? 0.0f : v; });
}
KERNEL relu_backward(const float* y, const float* dy, u64 m, float* dx) {
    for_values(m, y, dy, dx, [](float v, float d) { return v > 0.0f ? d : 0.0f; });
}
KERNEL add(const float* a, const float* b, u64 m, float* y) {
    for_values(m, a, b, y, [](float v, float w) { return v + w; });
}
KERNEL scale(const float* x, float factor, u64 m, float* y) {
    for_values(m, x, 0, y, [=](float v, float) { return v * factor; });
}
KERNEL fill(float value, u64 m, float* y) {
    for_values(m, 0, 0, y, [=](float, float) { return value; });
}

KERNEL bias_add(const float* x, const float* b, u32 c, u32 plane, u32 planes, float* y) {
    for_maps(planes, plane, c, x, 0, 0, y, [&](u32, u32 channel, float v, float, float) { return v + b[channel]; });
}

KERNEL channel_sums(const float* dy, u32 n, u32 c, u32 plane, u32 chunks, double* partial) {
    double sums[1] = {};
    for_channel(n, c, plane, chunks, dy, 0, 0, 0, [&](int, float v, float, float) {
        sums[0] += v;
        return v;
    });
    block_sums(sums);
    if (threadIdx.x == 0) partial[blockIdx.x] = sums[0];
}

// One column per thread, a chunk of the rows per block.
KERNEL column_sums(const float* dy, u32 rows, u32 columns, u32 chunks, double* partial) {
    u32 column = (u32)first_item(), chunk = blockIdx.y, size = divide_up(rows, chunks);
    if (column >= columns) return;
    double sum = 0.0;
    for (u64 row = (u64)chunk * size; row < (u64)(chunk + 1) * size && row < rows; ++row) sum += dy[row * columns + column];
    partial[(u64)column * chunks + chunk] = sum;
}
