// Resizing of maps by any factor. Sides are below 65536.

// Where output i of a bilinear axis lies: between two inputs, `f` of the way to the second. Rounded as on the processor.
struct Sample {
    u32 low, high;
    float f;
    INLINE Sample(u32 i, u32 input, float scale) {
        float at = fmaxf(__fsub_rn(__fmul_rn(__fadd_rn((float)i, 0.5f), scale), 0.5f), 0.0f);
        low = min((u32)at, input - 1);
        high = min(low + 1, input - 1);
        f = __fsub_rn(at, (float)low);
    }
    // The weight of input r.
    INLINE float weight(u32 r) const { return (low == r ? 1.0f - f : 0.0f) + (high == r ? f : 0.0f); }
};
INLINE float scale_of(u32 input, u32 output) { return __fdiv_rn((float)input, (float)output); }
INLINE float between(float a, float b, float f) { return __fadd_rn(a, __fmul_rn(f, __fsub_rn(b, a))); }

// V outputs side by side per step, in a row that is a multiple of V long.
template <int V>
INLINE void bilinear(const float* x, float* y, u32 planes, u32 height, u32 width, u32 out_height, u32 out_width) {
    const float down = scale_of(height, out_height), right = scale_of(width, out_width);
    const u32 packs = out_width / V;
    for (Walk at(out_height * packs, first_item(), next_item()); at.map < planes; at.next()) {
        u32 row = at.position / packs, column = at.position % packs * V;
        const float* map = x + (u64)at.map * height * width;
        const Sample r(row, height, down);
        const float *upper = map + (u64)r.low * width, *lower = map + (u64)r.high * width;
        Pack<V> out;
#pragma unroll
        for (int j = 0; j < V; ++j) {
            const Sample c(column + j, width, right);
            out.v[j] = between(between(upper[c.low], upper[c.high], c.f), between(lower[c.low], lower[c.high], c.f), r.f);
        }
        store(y + ((u64)at.map * out_height + row) * out_width + column, out);
    }
}
template <int V>
INLINE void nearest(const float* x, float* y, u32 planes, u32 height, u32 width, u32 out_height, u32 out_width) {
    const u32 packs = out_width / V;
    for (Walk at(out_height * packs, first_item(), next_item()); at.map < planes; at.next()) {
        u32 row = at.position / packs, column = at.position % packs * V;
        const float* from = x + ((u64)at.map * height + row * height / out_height) * width;
        Pack<V> out;
#pragma unroll
        for (int j = 0; j < V; ++j) out.v[j] = from[(column + j) * width / out_width];
        store(y + ((u64)at.map * out_height + row) * out_width + column, out);
    }
}

#define RESIZE(name, of)                                                                                            \
    KERNEL name(const float* x, float* y, u32 planes, u32 height, u32 width, u32 out_height, u32 out_width) {       \
        if (out_width % 4 == 0 && wide(y))                                                                          \
            of<4>(x, y, planes, height, width, out_height, out_width);                                              \
        else if (out_width % 2 == 0 && ((u64)y & 7) == 0)                                                           \
            of<2>(x, y, planes, height, width, out_height, out_width);                                              \
        else                                                                                                        \
            of<1>(x, y, planes, height, width, out_height, out_width);                                              \
    }
RESIZE(resize_bilinear, bilinear)
RESIZE(resize_nearest, nearest)
#undef RESIZE

// The outputs first..end that read input r of a bilinear axis.
struct Readers {
    u32 first, end;
    INLINE Readers(u32 r, u32 input, u32 output, float scale) {
        // One further on both sides than arithmetic without rounding gives; then those of no weight are left out.
        float from = ((float)r - 0.5f) / scale - 1.5f, to = ((float)r + 1.5f) / scale + 1.5f;
        first = r == 0 || from <= 0.0f ? 0 : min((u32)from, output);
        end = r + 1 == input ? output : min((u32)to, output);
        while (first < end && Sample(first, input, scale).weight(r) == 0.0f) ++first;
        while (first < end && Sample(end - 1, input, scale).weight(r) == 0.0f) --end;
    }
};

#define NEAR 4  // readers of an input when a map grows to twice its side or less

KERNEL resize_bilinear_backward(const float* dy, float* dx, u32 planes, u32 height, u32 width, u32 out_height, u32 out_width) {
    const float down = scale_of(height, out_height), right = scale_of(width, out_width);
    for (Walk at(height * width, first_item(), next_item()); at.map < planes; at.next()) {
        u32 row = at.position / width, column = at.position % width;
        const Readers rows(row, height, out_height, down), columns(column, width, out_width, right);
        float near[NEAR], sum = 0.0f;
#pragma unroll
        for (u32 j = 0; j < NEAR; ++j)
            near[j] = columns.first + j < columns.end ? Sample(columns.first + j, width, right).weight(column) : 0.0f;
        for (u32 i = rows.first; i < rows.end; ++i) {
            const float* from = dy + ((u64)at.map * out_height + i) * out_width;
            float of_row = 0.0f;
#pragma unroll
            for (u32 j = 0; j < NEAR; ++j)
                if (columns.first + j < columns.end) of_row = fmaf(near[j], from[columns.first + j], of_row);
            for (u32 j = columns.first + NEAR; j < columns.end; ++j)
                of_row = fmaf(Sample(j, width, right).weight(column), from[j], of_row);
            sum = fmaf(Sample(i, height, down).weight(row), of_row, sum);
        }
        dx[(u64)at.map * (height * width) + at.position] = sum;
    }
}

KERNEL resize_nearest_backward(const float* dy, float* dx, u32 planes, u32 height, u32 width, u32 out_height, u32 out_width) {
    for (Walk at(height * width, first_item(), next_item()); at.map < planes; at.next()) {
        u32 row = at.position / width, column = at.position % width;
        // Output i reads floor(i height / out_height).
        u32 top = divide_up(row * out_height, height), bottom = divide_up((row + 1) * out_height, height);
        u32 left = divide_up(column * out_width, width), right = divide_up((column + 1) * out_width, width);
        const float* from = dy + (u64)at.map * out_height * out_width;
        float sum = 0.0f;
        for (u32 i = top; i < bottom; ++i)
            for (u32 j = left; j < right; ++j) sum += from[(u64)i * out_width + j];
        dx[(u64)at.map * (height * width) + at.position] = sum;
    }
}
