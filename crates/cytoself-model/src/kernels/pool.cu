// Pooling: the largest of windows of 2 x 2, the largest and the mean of whole maps.

// Offset of the first largest of the four values of a window; written so that a NaN is found.
INLINE u32 largest(const float* map, u32 width, u32 corner) {
    u32 best = corner;
    const u32 others[3] = {corner + 1, corner + width, corner + width + 1};
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        float v = map[others[i]];
        if (v > map[best] || v != v) best = others[i];
    }
    return best;
}

KERNEL max_pool2(const float* x, u32 planes, u32 height, u32 width, float* y) {
    const u32 rows = height / 2, columns = width / 2;
    for (Walk at(rows * columns, first_item(), next_item()); at.map < planes; at.next()) {
        const float* map = x + (u64)at.map * height * width;
        u32 corner = at.position / columns * 2 * width + at.position % columns * 2;
        y[(u64)at.map * (rows * columns) + at.position] = map[largest(map, width, corner)];
    }
}

// A thread writes a whole window; what an odd last row or column leaves over makes windows of its own, of zeros.
KERNEL max_pool2_backward(const float* x, const float* dy, u32 planes, u32 height, u32 width, float* dx) {
    const u32 rows = divide_up(height, 2), columns = divide_up(width, 2);
    for (Walk at(rows * columns, first_item(), next_item()); at.map < planes; at.next()) {
        u32 row = at.position / columns, column = at.position % columns, corner = row * 2 * width + column * 2, best = 0;
        const float* map = x + (u64)at.map * height * width;
        float* to = dx + (u64)at.map * height * width;
        const bool down = 2 * row + 1 < height, right = 2 * column + 1 < width;
        float d = 0.0f;
        if (down && right) {
            best = largest(map, width, corner);
            d = dy[((u64)at.map * (height / 2) + row) * (width / 2) + column];
        }
        to[corner] = best == corner ? d : 0.0f;
        if (right) to[corner + 1] = best == corner + 1 ? d : 0.0f;
        if (down) to[corner + width] = best == corner + width ? d : 0.0f;
        if (down && right) to[corner + width + 1] = best == corner + width + 1 ? d : 0.0f;
    }
}

// f(map, sum over the map of value(i)) per map, a warp for each; the threads' sums are f32, the warp's f64.
template <typename V, typename F>
INLINE void sums_of_maps(u32 planes, u32 plane, V value, F f) {
    u32 map = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (map >= planes) return;
    float sum = 0.0f;
#pragma unroll 4
    for (u32 i = lane; i < plane; i += 32) sum += value((u64)map * plane + i);
    double in_all = warp_sum((double)sum);
    if (lane == 0) f(map, in_all);
}

KERNEL global_mean(const float* x, u32 planes, u32 plane, float* y) {
    sums_of_maps(planes, plane, [=](u64 i) { return x[i]; }, [=](u32 map, double sum) { y[map] = (float)(sum / plane); });
}

KERNEL global_max(const float* x, u32 planes, u32 plane, float* y) {
    u32 map = blockIdx.x * WARPS + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (map >= planes) return;
    float most = __int_as_float(0xff800000);
    for (u32 i = lane; i < plane; i += 32) most = fmaxf(most, x[(u64)map * plane + i]);
    for (int step = 16; step > 0; step /= 2) most = fmaxf(most, __shfl_xor_sync(ALL_LANES, most, step));
    if (lane == 0) y[map] = most;
}
