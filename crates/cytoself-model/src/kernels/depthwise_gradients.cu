// The gradients of the depthwise convolution. At stride 1 that of x is a convolution with the kernels turned by 180 degrees.

// Every value of dx gathers the outputs that read it: those whose tap falls on it.
template <int K, int S>
INLINE void gather(const float* dy, const float* w, float* dx, u32 planes, const Depthwise& g) {
    const u32 kernel_h = K ? K : g.kernel_h, kernel_w = K ? K : g.kernel_w, stride = S ? S : g.stride;
    for (ChannelWalk at(g.height * g.width, g.c, first_item(), next_item()); at.map < planes; at.next()) {
        const float* map = dy + (u64)at.map * g.out_height * g.out_width;
        const float* taps = w + (u64)at.channel * (kernel_h * kernel_w);
        u32 y = at.position / g.width + g.top, x = at.position % g.width + g.left;
        float sum = 0.0f;
#pragma unroll
        for (u32 kh = y % stride; kh < kernel_h; kh += stride) {
            u32 i = (y - kh) / stride;
            if (y < kh || i >= g.out_height) continue;
#pragma unroll
            for (u32 kw = x % stride; kw < kernel_w; kw += stride) {
                u32 j = (x - kw) / stride;
                if (x >= kw && j < g.out_width) sum = fmaf(taps[kh * kernel_w + kw], map[(u64)i * g.out_width + j], sum);
            }
        }
        dx[(u64)at.map * (g.height * g.width) + at.position] = sum;
    }
}

#define INPUT_GRADIENT(name, K, S)                                                           \
    KERNEL name(const float* dy, const float* w, float* dx, u32 planes, GEOMETRY) {          \
        gather<K, S>(dy, w, dx, planes, GEOMETRY_VALUE);                                     \
    }
INPUT_GRADIENT(depthwise_dx_k3s2, 3, 2)
INPUT_GRADIENT(depthwise_dx_k5s2, 5, 2)
INPUT_GRADIENT(depthwise_dx_any, 0, 0)
#undef INPUT_GRADIENT

// The images of a chunk: first, and how many.
INLINE u32 images_of_chunk(u32 n, u32 chunk, u32 chunks, u32& first) {
    u32 size = divide_up(n, chunks);
    first = min(chunk * size, n);
    return min(size, n - first);
}

// Sums of x dy for the taps of one channel over the images of one chunk.
template <int K, int S>
INLINE void weight_gradient(const float* x, const float* dy, double* partial, u32 n, u32 chunks, const Depthwise& g) {
    __shared__ float tile[TILE + TILE_SLACK];
    __shared__ float of_warps[WARPS][K * K];
    u32 channel = blockIdx.x / chunks, first, count = images_of_chunk(n, blockIdx.x % chunks, chunks, first);
    // What only outputs past the end read is multiplied by zero: it must be a number.
    for (u32 e = threadIdx.x; e < TILE + TILE_SLACK; e += THREADS) tile[e] = 0.0f;
    float sums[K][K] = {};
    if (count > 0) {
        const Tiles<K, S> t(g, count);
        const u64 in_plane = (u64)g.height * g.width, out_plane = (u64)g.out_height * g.out_width;
        x += ((u64)first * g.c + channel) * in_plane;
        dy += ((u64)first * g.c + channel) * out_plane;
        for (u64 at = 0; at < t.count(count); ++at) {
            const Place p(t, at, count);
            stage(tile, t, p, g, x, g.c * in_plane);
            for (u32 item = threadIdx.x; item < p.maps * t.strips * t.columns; item += THREADS) {
                const Strip s(t, tile, item);
                u32 row = p.row + s.row, column = p.column + s.column;
                if (column >= g.out_width) continue;
                const float* from = dy + (p.first + s.map) * g.c * out_plane + (u64)row * g.out_width + column;
                float d[STRIP];
#pragma unroll
                for (int o = 0; o < STRIP; ++o)
                    d[o] = s.row + o < t.rows && row + o < g.out_height ? from[(u64)o * g.out_width] : 0.0f;
#pragma unroll
                for (int kw = 0; kw < K; ++kw)
#pragma unroll
                    for (int r = 0; r < (STRIP - 1) * S + K; ++r) {
                        float v = s.from[r * t.in_columns + kw];
#pragma unroll
                        for (int o = 0; o < STRIP; ++o)
                            if (r - o * S >= 0 && r - o * S < K) sums[r - o * S][kw] = fmaf(v, d[o], sums[r - o * S][kw]);
                    }
            }
        }
    }
#pragma unroll
    for (int tap = 0; tap < K * K; ++tap) {
        float sum = warp_sum(sums[tap / K][tap % K]);
        if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32][tap] = sum;
    }
    __syncthreads();
    if (threadIdx.x >= K * K) return;
    double sum = 0.0;
    for (int warp = 0; warp < WARPS; ++warp) sum += of_warps[warp][threadIdx.x];
    partial[(u64)blockIdx.x * (K * K) + threadIdx.x] = sum;
}

#define WEIGHT_GRADIENT(name, K, S)                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS, 3)                                                   \
        name(const float* x, const float* dy, double* partial, u32 n, u32 chunks, GEOMETRY) {                  \
        weight_gradient<K, S>(x, dy, partial, n, chunks, GEOMETRY_VALUE);                                      \
    }
WEIGHT_GRADIENT(depthwise_dw_k3s1, 3, 1)
WEIGHT_GRADIENT(depthwise_dw_k3s2, 3, 2)
WEIGHT_GRADIENT(depthwise_dw_k5s1, 5, 1)
WEIGHT_GRADIENT(depthwise_dw_k5s2, 5, 2)
#undef WEIGHT_GRADIENT

// Any kernel and stride: one tap after the other.
KERNEL depthwise_dw_any(const float* x, const float* dy, double* partial, u32 n, u32 chunks, GEOMETRY) {
    u32 channel = blockIdx.x / chunks, first, count = images_of_chunk(n, blockIdx.x % chunks, chunks, first);
    const u32 out_plane = out_height * out_width, taps = kernel_h * kernel_w;
    for (u32 tap = 0; tap < taps; ++tap) {
        int down = (int)(tap / kernel_w) - top, right = (int)(tap % kernel_w) - left;
        float sum = 0.0f;
        for (Walk at(out_plane, threadIdx.x, THREADS); at.map < count; at.next()) {
            u64 map = (u64)(first + at.map) * c + channel;
            u32 i = (u32)((int)(at.position / out_width * stride) + down), j = (u32)((int)(at.position % out_width * stride) + right);
            if (i < height && j < width)
                sum = fmaf(x[map * height * width + (u64)i * width + j], dy[map * out_plane + at.position], sum);
        }
        double in_all[1] = {sum};
        block_sums(in_all);
        if (threadIdx.x == 0) partial[(u64)blockIdx.x * taps + tap] = in_all[0];
    }
}
