// Values in another order or format.

// bfloat16 is the upper half of a float; the nearest one, ties to even.
INLINE u16 to_half(float x) {
    u32 bits = __float_as_uint(x);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (u16)(bits >> 16 | 0x40u);
    return (u16)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
INLINE float from_half(u16 x) { return __uint_as_float((u32)x << 16); }

struct alignas(8) Halves {
    u16 v[4];
};

template <int V>
INLINE void copy_packs(const float* x, u64 x_pitch, float* y, u64 y_pitch, u64 rows, u64 length) {
    for (Walk at((u32)(length / V), first_item(), next_item()); at.map < rows; at.next())
        store(y + at.map * y_pitch + (u64)at.position * V, load<V>(x + at.map * x_pitch + (u64)at.position * V));
}

// Rows, and the values of a row, are below 2^31.
KERNEL copy_rows(const float* x, u64 x_start, u64 x_pitch, float* y, u64 y_start, u64 y_pitch, u64 rows, u64 length) {
    x += x_start;
    y += y_start;
    if (((length | x_pitch | y_pitch) & 3) == 0 && wide(x, y))
        copy_packs<4>(x, x_pitch, y, y_pitch, rows, length);
    else
        copy_packs<1>(x, x_pitch, y, y_pitch, rows, length);
}

// Matrices that are turned: y[j][i] = x[i][j] for i < rows, j < columns; rows from `valid` on are zero. A pitch is the distance of a
// matrix's rows, a size that of two matrices.
struct Turn {
    u32 rows, columns, valid, x_pitch, y_pitch;
    u64 x_size, y_size;
};

// Through tiles of 32 x 32 in shared memory, so that both sides are read and written in runs.
template <typename A, typename B, typename F>
INLINE void turn(const A* x, u32 batch, const Turn t, B* y, F convert) {
    __shared__ B tile[32][33];
    const u32 across = divide_up(t.columns, 32), of_matrix = divide_up(t.rows, 32) * across;
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    for (u64 at = blockIdx.x; at < (u64)batch * of_matrix; at += gridDim.x) {
        u32 place = (u32)(at % of_matrix), row = place / across * 32, column = place % across * 32;
        const A* from = x + at / of_matrix * t.x_size;
        B* to = y + at / of_matrix * t.y_size;
        __syncthreads();
#pragma unroll
        for (u32 k = warp; k < 32; k += WARPS)
            if (column + lane < t.columns)
                tile[k][lane] = row + k < t.valid ? convert(from[(u64)(row + k) * t.x_pitch + column + lane]) : B(0);
        __syncthreads();
#pragma unroll
        for (u32 k = warp; k < 32; k += WARPS)
            if (column + k < t.columns && row + lane < t.rows) to[(u64)(column + k) * t.y_pitch + row + lane] = tile[lane][k];
    }
}

KERNEL transpose(const float* x, u32 batch, u32 rows, u32 columns, float* y) {
    u64 size = (u64)rows * columns;
    turn(x, batch, Turn{rows, columns, rows, columns, rows, size, size}, y, [](float v) { return v; });
}
KERNEL to_channels_last_bf16(const float* x, u32 n, u32 c, u32 plane, u32 padded, u16* y) {
    turn(x, n, Turn{padded, plane, c, plane, padded, (u64)c * plane, (u64)padded * plane}, y, [](float v) { return to_half(v); });
}
KERNEL from_channels_last_bf16(const u16* x, u32 n, u32 c, u32 plane, u32 padded, float* y) {
    turn(x, n, Turn{plane, c, plane, padded, plane, (u64)padded * plane, (u64)c * plane}, y, [](u16 v) { return from_half(v); });
}

KERNEL to_bf16(const float* x, u64 m, u16* y) {
    u64 packs = wide(x) && ((u64)y & 7) == 0 ? m / 4 : 0;
    for (u64 i = first_item(); i < packs; i += next_item()) {
        Pack<4> v = load<4>(x + 4 * i);
        reinterpret_cast<Halves*>(y)[i] = Halves{{to_half(v.v[0]), to_half(v.v[1]), to_half(v.v[2]), to_half(v.v[3])}};
    }
    for (u64 i = 4 * packs + first_item(); i < m; i += next_item()) y[i] = to_half(x[i]);
}
KERNEL from_bf16(const u16* x, u64 m, float* y) {
    u64 packs = wide(y) && ((u64)x & 7) == 0 ? m / 4 : 0;
    for (u64 i = first_item(); i < packs; i += next_item()) {
        Halves v = reinterpret_cast<const Halves*>(x)[i];
        store(y + 4 * i, Pack<4>{{from_half(v.v[0]), from_half(v.v[1]), from_half(v.v[2]), from_half(v.v[3])}});
    }
    for (u64 i = 4 * packs + first_item(); i < m; i += next_item()) y[i] = from_half(x[i]);
}
