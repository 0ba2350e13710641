// Depthwise convolution: every channel with its own kernel.
//
// A block stages a tile of one map, or of as many small maps as fit, in shared memory with its borders. A thread computes four outputs
// below each other, so that it reads each value of the tile once for all of them.

#define TILE 4096       // values of a tile
#define TILE_SLACK 448  // rows that only outputs past the end read: at most 3 strides of 67 values
#define STRIP 4         // outputs of a thread
#define ITEMS 768       // strips that a block aims at

struct Depthwise {
    u32 c, height, width, out_height, out_width, kernel_h, kernel_w, stride;
    int top, left;
};
#define GEOMETRY \
    u32 c, u32 height, u32 width, u32 out_height, u32 out_width, u32 kernel_h, u32 kernel_w, u32 stride, int top, int left
#define GEOMETRY_VALUE {c, height, width, out_height, out_width, kernel_h, kernel_w, stride, top, left}

INLINE u32 divide_up(u32 a, u32 b) { return (a + b - 1) / b; }

// How the outputs of maps are cut into tiles: `maps` maps of rows x columns outputs at a time.
template <int K, int S>
struct Tiles {
    u32 down, across, rows, columns, strips, in_rows, in_columns, maps;
    INLINE Tiles(const Depthwise& g, u32 all_maps) {
        down = divide_up(g.out_height, S == 1 ? 32 : 16);
        across = divide_up(g.out_width, 32);
        rows = divide_up(g.out_height, down);
        columns = divide_up(g.out_width, across);
        strips = divide_up(rows, STRIP);
        in_rows = (rows - 1) * S + K;
        in_columns = (columns - 1) * S + K;
        maps = min(min(TILE / (in_rows * in_columns), max(1u, ITEMS / (strips * columns))), all_maps);
    }
    INLINE u64 count(u32 all_maps) const { return (u64)divide_up(all_maps, maps) * down * across; }
};

// One tile of all.
struct Place {
    u32 first, maps, row, column;
    template <int K, int S>
    INLINE Place(const Tiles<K, S>& t, u64 tile, u32 all_maps) {
        u32 of_map = t.down * t.across, inside = (u32)(tile % of_map);
        first = (u32)(tile / of_map) * t.maps;
        maps = min(t.maps, all_maps - first);
        row = inside / t.across * t.rows;
        column = inside % t.across * t.columns;
    }
};

// Fills the tile from maps that lie `pitch` values apart, zeros outside of them. The whole block takes part.
template <int K, int S>
INLINE void stage(float* tile, const Tiles<K, S>& t, const Place& p, const Depthwise& g, const float* x, u64 pitch) {
    __syncthreads();
    u32 column = threadIdx.x % t.in_columns, row = threadIdx.x / t.in_columns, map = row / t.in_rows;
    row %= t.in_rows;
    const u32 step_column = THREADS % t.in_columns, rows = THREADS / t.in_columns;
    const u32 step_row = rows % t.in_rows, step_map = rows / t.in_rows;
    int y0 = (int)(p.row * S) - g.top, x0 = (int)(p.column * S) - g.left;
    for (u32 e = threadIdx.x; e < p.maps * t.in_rows * t.in_columns; e += THREADS) {
        u32 i = (u32)(y0 + (int)row), j = (u32)(x0 + (int)column);
        tile[e] = i < g.height && j < g.width ? x[(p.first + map) * pitch + (u64)i * g.width + j] : 0.0f;
        column += step_column, row += step_row, map += step_map;
        if (column >= t.in_columns) column -= t.in_columns, ++row;
        if (row >= t.in_rows) row -= t.in_rows, ++map;
    }
    __syncthreads();
}

// A thread's four outputs in a tile, and where their first input is in it.
struct Strip {
    u32 map, row, column;
    const float* from;
    template <int K, int S>
    INLINE Strip(const Tiles<K, S>& t, const float* tile, u32 item) {
        column = item % t.columns;
        u32 rest = item / t.columns;
        row = rest % t.strips * STRIP;
        map = rest / t.strips;
        from = tile + (map * t.in_rows + row * S) * t.in_columns + column * S;
    }
};

template <int K, int S>
INLINE void convolve(const float* x, const float* w, float* y, u32 planes, u32 flip, const Depthwise& g) {
    __shared__ float tile[TILE + TILE_SLACK];
    const Tiles<K, S> t(g, planes);
    for (u64 at = blockIdx.x; at < t.count(planes); at += gridDim.x) {
        const Place p(t, at, planes);
        stage(tile, t, p, g, x, (u64)g.height * g.width);
        for (u32 item = threadIdx.x; item < p.maps * t.strips * t.columns; item += THREADS) {
            const Strip s(t, tile, item);
            u32 row = p.row + s.row, column = p.column + s.column;
            if (column >= g.out_width) continue;
            const float* taps = w + (u64)((p.first + s.map) % g.c) * (K * K);
            float sums[STRIP] = {};
#pragma unroll
            for (int kw = 0; kw < K; ++kw) {
                float tap[K];
#pragma unroll
                for (int kh = 0; kh < K; ++kh) tap[kh] = taps[flip ? K * K - 1 - kh * K - kw : kh * K + kw];
#pragma unroll
                for (int r = 0; r < (STRIP - 1) * S + K; ++r) {
                    float v = s.from[r * t.in_columns + kw];
#pragma unroll
                    for (int o = 0; o < STRIP; ++o)
                        if (r - o * S >= 0 && r - o * S < K) sums[o] = fmaf(tap[r - o * S], v, sums[o]);
                }
            }
            float* to = y + ((u64)(p.first + s.map) * g.out_height + row) * g.out_width + column;
#pragma unroll
            for (int o = 0; o < STRIP; ++o)
                if (s.row + o < t.rows && row + o < g.out_height) to[(u64)o * g.out_width] = sums[o];
        }
    }
}

#define FORWARD(name, K, S)                                                                              \
    KERNEL name(const float* x, const float* w, float* y, u32 planes, u32 flip, GEOMETRY) {            \
        convolve<K, S>(x, w, y, planes, flip, GEOMETRY_VALUE);                                         \
    }
FORWARD(depthwise_k3s1, 3, 1)
FORWARD(depthwise_k3s2, 3, 2)
FORWARD(depthwise_k5s1, 5, 1)
FORWARD(depthwise_k5s2, 5, 2)
#undef FORWARD

// Any kernel and stride, without tiles.
KERNEL depthwise_any(const float* x, const float* w, float* y, u32 planes, u32 flip, GEOMETRY) {
    u32 taps = kernel_h * kernel_w;
    for (ChannelWalk at(out_height * out_width, c, first_item(), next_item()); at.map < planes; at.next()) {
        const float *map = x + (u64)at.map * height * width, *kernel = w + (u64)at.channel * taps;
        int y0 = (int)(at.position / out_width * stride) - top, x0 = (int)(at.position % out_width * stride) - left;
        float sum = 0.0f;
        for (u32 tap = 0; tap < taps; ++tap) {
            u32 i = (u32)(y0 + (int)(tap / kernel_w)), j = (u32)(x0 + (int)(tap % kernel_w));
            if (i < height && j < width) sum = fmaf(kernel[flip ? taps - 1 - tap : tap], map[(u64)i * width + j], sum);
        }
        y[(u64)at.map * (out_height * out_width) + at.position] = sum;
    }
}
