// What the kernels share, for NVRTC: no header is needed. See README.md for how the files are joined and the kernels launched.
//
// Every kernel runs in blocks of 256 threads. Sums take a fixed way (a thread's values, then its warp, the warps in order, the chunks in
// order), so that the same bits come out of every run. Where the processor rounds each operation on its own, so do the kernels (__f*_rn).

typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define THREADS 256
#define WARPS 8
#define ALL_LANES 0xffffffffu

#define KERNEL extern "C" __global__ void __launch_bounds__(THREADS)
#define INLINE __device__ __forceinline__

// The first item of a thread in a loop over all items, and how far it is to its next.
INLINE u64 first_item() { return (u64)blockIdx.x * THREADS + threadIdx.x; }
INLINE u64 next_item() { return (u64)gridDim.x * THREADS; }

// ---------------------------------------------------------------------------------------------------------------------------------
// V values side by side, loaded and stored at once.
template <int V>
struct alignas(4 * V) Pack {
    float v[V];
};
template <int V>
INLINE Pack<V> load(const float* p) {
    return *reinterpret_cast<const Pack<V>*>(p);
}
template <int V>
INLINE void store(float* p, const Pack<V>& values) {
    *reinterpret_cast<Pack<V>*>(p) = values;
}

// The same of an array that may be null: zeros.
template <int V>
INLINE Pack<V> load_or_0(const float* p, u64 i) {
    return p ? load<V>(p + i) : Pack<V>();
}

// Whether packs of four may be read here; null is no hindrance.
INLINE bool wide(const void* a, const void* b = 0, const void* c = 0, const void* d = 0) {
    return (((u64)a | (u64)b | (u64)c | (u64)d) & 15) == 0;
}

// y[i] = f(a[i], b[i]) for V values from i on; a and b may be null.
template <int V, typename F>
INLINE void apply(u64 i, const float* a, const float* b, float* y, F f) {
    Pack<V> p = load_or_0<V>(a, i), q = load_or_0<V>(b, i);
#pragma unroll
    for (int j = 0; j < V; ++j) p.v[j] = f(p.v[j], q.v[j]);
    store(y + i, p);
}
template <typename F>
INLINE void for_values(u64 m, const float* a, const float* b, float* y, F f) {
    u64 packs = wide(a, b, y) ? m / 4 : 0;
    for (u64 i = first_item(); i < packs; i += next_item()) apply<4>(4 * i, a, b, y, f);
    for (u64 i = 4 * packs + first_item(); i < m; i += next_item()) apply<1>(i, a, b, y, f);
}

// ---------------------------------------------------------------------------------------------------------------------------------
// A position in a row of maps that goes on by the same step each time and needs no division for it.
struct Walk {
    u32 map, position, length, step_maps, step_positions;
    INLINE Walk(u32 length, u64 start, u64 step)
        : map((u32)(start / length)), position((u32)(start % length)), length(length), step_maps((u32)(step / length)),
          step_positions((u32)(step % length)) {}
    INLINE void next() {
        map += step_maps;
        position += step_positions;
        if (position >= length) {
            position -= length;
            ++map;
        }
    }
};

// A walk that also knows the channel.
struct ChannelWalk : Walk {
    u32 channel, channels, step_channels;
    INLINE ChannelWalk(u32 length, u32 channels, u64 start, u64 step)
        : Walk(length, start, step), channel(map % channels), channels(channels), step_channels(step_maps % channels) {}
    INLINE void next() {
        u32 before = map;
        Walk::next();
        channel += step_channels + (map - before - step_maps);
        if (channel >= channels) channel -= channels;
    }
};

// y = f(map, channel, a, b, r) for every value of maps of `plane` values; b and r may be null.
template <int V, typename F>
INLINE void walk_maps(u32 planes, u32 plane, u32 c, const float* a, const float* b, const float* r, float* y, F f) {
    for (ChannelWalk at(plane / V, c, first_item(), next_item()); at.map < planes; at.next()) {
        u64 i = (u64)at.map * plane + (u64)at.position * V;
        Pack<V> p = load<V>(a + i), q = load_or_0<V>(b, i), s = load_or_0<V>(r, i);
#pragma unroll
        for (int j = 0; j < V; ++j) p.v[j] = f(at.map, at.channel, p.v[j], q.v[j], s.v[j]);
        store(y + i, p);
    }
}
template <typename F>
INLINE void for_maps(u32 planes, u32 plane, u32 c, const float* a, const float* b, const float* r, float* y, F f) {
    if (plane % 4 == 0 && wide(a, b, r, y))
        walk_maps<4>(planes, plane, c, a, b, r, y, f);
    else
        walk_maps<1>(planes, plane, c, a, b, r, y, f);
}

// y = f(j, a, b, r) for the values of one chunk of a channel of n maps, by one block; j < 4 tells neighbours apart; b, r and y may be
// null.
template <int V, typename F>
INLINE void walk_channel(u32 n, u32 c, u32 plane, u32 chunks, const float* a, const float* b, const float* r, float* y, F f) {
    u32 channel = blockIdx.x / chunks, chunk = blockIdx.x % chunks;
    u64 packs = (u64)n * (plane / V), size = (packs + chunks - 1) / chunks;
    u64 start = chunk * size, end = start + size < packs ? start + size : packs;
    Walk at(plane / V, start + threadIdx.x, THREADS);
#pragma unroll 4
    for (u64 k = start + threadIdx.x; k < end; k += THREADS) {
        u64 i = ((u64)at.map * c + channel) * plane + (u64)at.position * V;
        Pack<V> p = load<V>(a + i), q = load_or_0<V>(b, i), s = load_or_0<V>(r, i);
#pragma unroll
        for (int j = 0; j < V; ++j) p.v[j] = f(j, p.v[j], q.v[j], s.v[j]);
        if (y) store(y + i, p);
        at.next();
    }
}
template <typename F>
INLINE void for_channel(u32 n, u32 c, u32 plane, u32 chunks, const float* a, const float* b, const float* r, float* y, F f) {
    if (plane % 4 == 0 && wide(a, b, r, y))
        walk_channel<4>(n, c, plane, chunks, a, b, r, y, f);
    else
        walk_channel<1>(n, c, plane, chunks, a, b, r, y, f);
}

// ---------------------------------------------------------------------------------------------------------------------------------
// Sums of a warp, and of its groups of `lanes` lanes.
template <typename T>
INLINE T warp_sum(T value, int lanes = 32) {
    for (int step = lanes / 2; step > 0; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// Sums over a block, to which every thread must come; the first thread has the result.
template <int N>
INLINE void block_sums(double (&values)[N]) {
    __shared__ double of_warps[WARPS][N];
    __syncthreads();
    for (int i = 0; i < N; ++i) {
        double sum = warp_sum(values[i]);
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32][i] = sum;
    }
    __syncthreads();
    if (threadIdx.x != 0) return;
    for (int i = 0; i < N; ++i) {
        values[i] = of_warps[0][i];
        for (int warp = 1; warp < WARPS; ++warp) values[i] += of_warps[warp][i];
    }
}

INLINE double sum_of_chunks(const double* partial, u32 row, u32 chunks, u32 width, u32 i) {
    double sum = 0.0;
    for (u32 chunk = 0; chunk < chunks; ++chunk) sum += partial[((u64)row * chunks + chunk) * width + i];
    return sum;
}

// partial [rows, chunks, width] -> sums [rows, width].
KERNEL chunk_sums(const double* partial, u32 rows, u32 chunks, u32 width, double* sums) {
    u64 item = first_item();
    if (item < (u64)rows * width) sums[item] = sum_of_chunks(partial, item / width, chunks, width, item % width);
}
KERNEL chunk_sums_f32(const double* partial, u32 rows, u32 chunks, u32 width, float* sums) {
    u64 item = first_item();
    if (item < (u64)rows * width) sums[item] = (float)sum_of_chunks(partial, item / width, chunks, width, item % width);
}

// ---------------------------------------------------------------------------------------------------------------------------------
INLINE float sigmoid(float x) { return __fdividef(1.0f, 1.0f + expf(-x)); }
INLINE float silu(float x) { return x * sigmoid(x); }
INLINE float silu_slope(float x) {
    float s = sigmoid(x);
    return s * fmaf(x, 1.0f - s, 1.0f);
}
