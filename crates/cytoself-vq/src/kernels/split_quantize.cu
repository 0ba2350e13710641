// Split nearest-code search and the sums of its training, for NVRTC: no header is needed.
//
// argmin |z - c|^2 = argmax z.c - |c|^2 / 2. A block holds 64 vectors in shared memory and streams the codes past them in panels of
// 128, keeping the best and the second-best score of each vector. Where these two lie within the error of the arithmetic, the vector is
// searched again among the codes that rounding could have put in the wrong order, in double precision and in the order of the scalar
// reference. Every variant therefore gives the reference's answer; the tensor-core variants only search more vectors again.

typedef unsigned int u32;
typedef unsigned long long u64;

#define QUERIES 64         // vectors of a block
#define CODES 128          // codes of a panel
#define STEP 16            // components that are staged at a time
#define STAGED 64          // components of the vectors that stay in shared memory
#define Z_PITCH 72         // floats from one component of the vectors to the next: 8 banks on, and a multiple of 16 bytes
#define C_PITCH 136        // the same for the codes
#define THREADS 256
#define NO_INDEX 0xffffffffu

#define FLT_UNIT 5.9604645e-8f  // 2^-24
#define OVERFLOW 1e37f          // scores above this come too close to the largest float

struct Layout {
    u32 vectors, split, positions, dim, codes, position_stride, component_stride, splits;
};

struct Found {
    float best, second;
    u32 index;
};

// Four codes side by side, loaded at once.
struct alignas(16) Four {
    float v[4];
};

#ifndef CYTOSELF_EMULATION
#define INFINITE __int_as_float(0x7f800000)

// Copies 16 bytes to shared memory without waiting.
__device__ __forceinline__ void copy_16(float* to, const float* from) {
    u32 address = (u32)__cvta_generic_to_shared(to);
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16;\n" ::"r"(address), "l"(from));
}
__device__ __forceinline__ void copies_begin() { asm volatile("cp.async.commit_group;\n"); }
// Waits until at most one group of copies is under way.
__device__ __forceinline__ void copies_wait_1() { asm volatile("cp.async.wait_group 1;\n"); }
__device__ __forceinline__ void copies_wait_0() { asm volatile("cp.async.wait_group 0;\n"); }

__device__ __forceinline__ u32 to_tf32(float x) {
    u32 y;
    asm("cvt.rna.tf32.f32 %0, %1;\n" : "=r"(y) : "f"(x));
    return y;
}
// Two bfloat16, the first in the lower half.
__device__ __forceinline__ u32 to_bf16x2(float low, float high) {
    u32 y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;\n" : "=r"(y) : "f"(high), "f"(low));
    return y;
}
__device__ __forceinline__ void mma_tf32(float d[4], const u32 a[4], const u32 b[2]) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void mma_bf16(float d[4], const u32 a[4], const u32 b[2]) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

// Where component 0 of a vector lies; vectors are counted in the order (image, chunk, position).
__device__ __forceinline__ u64 offset_of(const Layout& l, u32 vector) {
    u32 outer = vector / l.positions, position = vector % l.positions;
    u32 image = outer / l.split, chunk = outer % l.split;
    return (u64)image * l.split * l.dim * l.positions + (u64)chunk * l.dim * l.component_stride +
           (u64)position * l.position_stride;
}

__device__ __forceinline__ u32 image_of(const Layout& l, u32 vector) { return vector / l.positions / l.split; }

// The better of two results; of equal scores the one with the lower index.
__device__ __forceinline__ Found better(Found a, Found b) {
    Found r;
    bool first = a.best > b.best || (a.best == b.best && a.index <= b.index);
    r.best = first ? a.best : b.best;
    r.index = first ? a.index : b.index;
    r.second = fmaxf(fminf(a.best, b.best), fmaxf(a.second, b.second));
    return r;
}

__device__ __forceinline__ void take(Found& f, float score, u32 code) {
    f.second = fmaxf(f.second, fminf(f.best, score));
    f.index = score > f.best ? code : f.index;
    f.best = fmaxf(f.best, score);
}

__device__ __forceinline__ bool earlier(double a, u32 i, double b, u32 j) { return a < b || (a == b && i < j); }

// |z - c|^2 in double precision and in the order of the components, each operation rounded on its own.
__device__ __noinline__ double squared_distance(const float* z, u64 stride, const float* code, u32 dim) {
    double sum = 0.0;
#pragma unroll 8
    for (u32 i = 0; i < dim; ++i) {
        double difference = __dsub_rn((double)z[i * stride], (double)code[i]);
        sum = __dadd_rn(sum, __dmul_rn(difference, difference));
    }
    return sum;
}

// ---------------------------------------------------------------------------------------------------------------------------------
// The codes in panels: panels[panel][component][CODES], half_norms[panel * CODES + code] = -|c|^2 / 2, minus infinity past the end;
// largest = the bits of the largest |c|^2, which must be 0 before.
extern "C" __global__ void prepare_codes(const float* codebook, u32 codes, u32 dim, float* panels, float* half_norms, u32* largest) {
    u32 code = blockIdx.x * blockDim.x + threadIdx.x;
    u32 padded = (codes + CODES - 1) / CODES * CODES;
    if (code >= padded) return;
    float* column = panels + (u64)(code / CODES) * dim * CODES + code % CODES;
    double norm = 0.0;
    for (u32 i = 0; i < dim; ++i) {
        float value = code < codes ? codebook[(u64)code * dim + i] : 0.0f;
        column[(u64)i * CODES] = value;
        norm += (double)value * (double)value;
    }
    half_norms[code] = code < codes ? (float)(-0.5 * norm) : -INFINITE;
    if (code < codes) atomicMax(largest, __float_as_uint(__double2float_ru(norm)));
}

// ---------------------------------------------------------------------------------------------------------------------------------
// Shared memory of a searching block.
struct Shared {
    float z[STAGED * Z_PITCH];
    float c[2][STEP * C_PITCH];
    Found found[4][QUERIES];
    float slack[QUERIES];
    u64 offset[QUERIES];
    double nearest[THREADS / 32];
    u32 nearest_index[THREADS / 32];
    u32 near_ties[QUERIES / 32];
};

// Where a vector of the block is read again: component i is first[i * stride].
struct Components {
    const float* first;
    u64 stride;
};
__device__ __forceinline__ bool all_staged(const Layout& l) { return l.dim <= STAGED; }
__device__ __forceinline__ Components components_of(const Shared& s, const float* z, const Layout& l, u32 q) {
    Components c;
    c.first = all_staged(l) ? s.z + q : z + s.offset[q];
    c.stride = all_staged(l) ? Z_PITCH : l.component_stride;
    return c;
}

// Stages the components from..from + count of the block's vectors, zeros past the end and for absent vectors.
__device__ __noinline__ void stage_vectors(Shared& s, const float* z, const Layout& l, u32 first, u32 from) {
    for (u32 e = threadIdx.x; e < QUERIES * STAGED; e += THREADS) {
        u32 q = e % QUERIES, i = e / QUERIES;
        bool inside = first + q < l.vectors && from + i < l.dim;
        s.z[i * Z_PITCH + q] = inside ? z[s.offset[q] + (u64)(from + i) * l.component_stride] : 0.0f;
    }
}

// Starts to copy STEP components of a panel.
__device__ void stage_codes(float* to, const float* panels, u32 panel, u32 dim, u32 from) {
    const float* source = panels + ((u64)panel * dim + from) * CODES;
    for (u32 e = threadIdx.x; e < STEP * CODES / 4; e += THREADS) {
        u32 i = e / (CODES / 4), c = e % (CODES / 4) * 4;
        float* place = to + i * C_PITCH + c;
        if (from + i < dim) {
            copy_16(place, source + i * CODES + c);
        } else {
            place[0] = place[1] = place[2] = place[3] = 0.0f;
        }
    }
    copies_begin();
}

// Error of a score relative to |z||c| + |c|^2 / 2, per variant; see rounding_slack in cpu/tiles.rs.
enum Variant { F32, TF32X3, TF32, BF16 };
__device__ __forceinline__ float relative_error(int variant, u32 dim) {
    float steps = (float)dim + 8.0f;
    if (variant == F32) return steps * FLT_UNIT;
    // Sums in the tensor cores may be cut off instead of rounded; 4 units per step covers that.
    float sums = 4.0f * steps * FLT_UNIT;
    if (variant == TF32X3) return 3.0f * sums + 32.0f * FLT_UNIT;  // three products per component; 2^-19 for the dropped one
    if (variant == TF32) return sums + 1.01f / 1024.0f;            // both factors are rounded to 11 bits
    return sums + 1.01f / 256.0f;                            // ... to 8 bits
}

// Fills slack: how far below the best a score must lie to be out of the question; negative: nothing but the exact search can tell.
__device__ __noinline__ void bound(int variant, Shared& s, const float* z, const Layout& l, u32 first, float largest_squared, u32* bad) {
    u32 q = threadIdx.x;
    if (q >= QUERIES) return;
    s.slack[q] = 0.0f;
    if (first + q >= l.vectors) return;
    Components vector = components_of(s, z, l, q);
    double norm = 0.0;
#pragma unroll 8
    for (u32 i = 0; i < l.dim; ++i) {
        double value = vector.first[i * vector.stride];
        norm += value * value;
    }
    if (!(norm <= 1.7e308)) {
        // The lowest such vector has the highest complement; 0 stands for none.
        atomicMax(bad, ~(first + q));
        return;
    }
    float size = __double2float_ru(sqrt(norm)), largest = __double2float_ru(sqrt((double)largest_squared));
    float magnitude = size * largest + 0.5f * largest * largest;
    if (!(magnitude <= OVERFLOW)) {
        s.slack[q] = -1.0f;
        return;
    }
    float steps = (float)l.dim + 8.0f, reach = size + largest;
    // The exact search rounds too: 2^-53 per step.
    float exact = steps * 1.1102230e-16f * reach * reach;
    float underflow = steps * (variant == F32 ? 1.4e-45f : 1.2e-38f * (1.0f + reach));
    s.slack[q] = 2.1f * (relative_error(variant, l.dim) * magnitude + exact + underflow);
    if (!(s.slack[q] <= OVERFLOW)) s.slack[q] = -1.0f;
}

// Scores of 4 vectors and 8 codes per thread by fused multiply-add.
__device__ __forceinline__ void step_f32(const Shared& s, const float* c, u32 from, float sums[4][8]) {
    u32 tx = threadIdx.x % 16, ty = threadIdx.x / 16;
#pragma unroll
    for (u32 i = 0; i < STEP; ++i) {
        const float* z = s.z + (from + i) * Z_PITCH + ty * 4;
        const float* row = c + i * C_PITCH + tx * 4;
        float a[4], b[8];
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            a[j] = z[j];
            b[j] = row[j];
            b[j + 4] = row[64 + j];
        }
#pragma unroll
        for (int q = 0; q < 4; ++q)
#pragma unroll
            for (int j = 0; j < 8; ++j) sums[q][j] = fmaf(a[q], b[j], sums[q][j]);
    }
}

// The same on tensor cores. A warp has 32 vectors (two tiles of 16) and 32 codes (four of 8); sums[2 * m + h][2 * n + e] is vector
// 16 m + 8 h + lane / 4 and code 8 n + 2 (lane % 4) + e of the warp, which is how mma lays out its result.
template <int V>
__device__ __forceinline__ void step_mma(const Shared& s, const float* c, u32 from, float sums[4][8]) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    u32 group = lane / 4, quad = lane % 4;
    u32 q0 = warp / 4 * 32 + group, c0 = warp % 4 * 32 + group;
    const u32 depth = V == BF16 ? 16 : 8;
#pragma unroll
    for (u32 k = 0; k < STEP; k += depth) {
        u32 a[2][4], b[4][2], a_rest[2][4], b_rest[4][2];
#pragma unroll
        for (u32 m = 0; m < 2; ++m)
#pragma unroll
            for (u32 r = 0; r < 4; ++r) {
                u32 q = q0 + 16 * m + 8 * (r % 2);
                if (V == BF16) {
                    const float* z = s.z + (from + k + 2 * quad + 8 * (r / 2)) * Z_PITCH + q;
                    a[m][r] = to_bf16x2(z[0], z[Z_PITCH]);
                } else {
                    float value = s.z[(from + k + quad + 4 * (r / 2)) * Z_PITCH + q];
                    a[m][r] = to_tf32(value);
                    if (V == TF32X3) a_rest[m][r] = to_tf32(value - __uint_as_float(a[m][r]));
                }
            }
#pragma unroll
        for (u32 n = 0; n < 4; ++n)
#pragma unroll
            for (u32 r = 0; r < 2; ++r) {
                u32 code = c0 + 8 * n;
                if (V == BF16) {
                    const float* row = c + (k + 2 * quad + 8 * r) * C_PITCH + code;
                    b[n][r] = to_bf16x2(row[0], row[C_PITCH]);
                } else {
                    float value = c[(k + quad + 4 * r) * C_PITCH + code];
                    b[n][r] = to_tf32(value);
                    if (V == TF32X3) b_rest[n][r] = to_tf32(value - __uint_as_float(b[n][r]));
                }
            }
#pragma unroll
        for (u32 m = 0; m < 2; ++m)
#pragma unroll
            for (u32 n = 0; n < 4; ++n) {
                float d[4] = {sums[2 * m][2 * n], sums[2 * m][2 * n + 1], sums[2 * m + 1][2 * n], sums[2 * m + 1][2 * n + 1]};
                if (V == BF16) {
                    mma_bf16(d, a[m], b[n]);
                } else {
                    if (V == TF32X3) {
                        mma_tf32(d, a_rest[m], b[n]);
                        mma_tf32(d, a[m], b_rest[n]);
                    }
                    mma_tf32(d, a[m], b[n]);
                }
                sums[2 * m][2 * n] = d[0];
                sums[2 * m][2 * n + 1] = d[1];
                sums[2 * m + 1][2 * n] = d[2];
                sums[2 * m + 1][2 * n + 1] = d[3];
            }
    }
}

// Which code of the panel sums[.][j] belongs to, and which vector of the block sums[q][.].
template <int V>
__device__ __forceinline__ u32 code_of(u32 j) {
    if (V == F32) return threadIdx.x % 16 * 4 + j % 4 + j / 4 * 64;
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return warp % 4 * 32 + j / 2 * 8 + lane % 4 * 2 + j % 2;
}
template <int V>
__device__ __forceinline__ u32 query_of(u32 q) {
    if (V == F32) return threadIdx.x / 16 * 4 + q;
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return warp / 4 * 32 + q / 2 * 16 + q % 2 * 8 + lane / 4;
}

// The search again for one vector by the whole block, to which every thread must come; all get the index.
__device__ __noinline__ u32 search_again(Shared& s, Components z, const Layout& l, const float* codebook, const float* panels,
                            const float* half_norms, float best, float slack) {
    u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    double nearest = 1e308;
    u32 index = NO_INDEX;
    u32 panels_in_all = (l.codes + CODES - 1) / CODES;
    for (u32 panel = warp; panel < panels_in_all; panel += THREADS / 32) {
        u32 first = panel * CODES + lane * 4;
        float scores[4];
        if (slack >= 0.0f) {
            const float* column = panels + (u64)panel * l.dim * CODES + lane * 4;
#pragma unroll
            for (int j = 0; j < 4; ++j) scores[j] = half_norms[first + j];
#pragma unroll 8
            for (u32 i = 0; i < l.dim; ++i) {
                float value = z.first[i * z.stride];
                Four codes = *(const Four*)(column + (u64)i * CODES);
#pragma unroll
                for (int j = 0; j < 4; ++j) scores[j] = fmaf(value, codes.v[j], scores[j]);
            }
        }
        for (int j = 0; j < 4; ++j) {
            u32 code = first + j;
            if (code < l.codes && (slack < 0.0f || scores[j] >= best - slack)) {
                double distance = squared_distance(z.first, z.stride, codebook + (u64)code * l.dim, l.dim);
                if (earlier(distance, code, nearest, index)) {
                    nearest = distance;
                    index = code;
                }
            }
        }
    }
    for (int step = 16; step > 0; step /= 2) {
        double other = __shfl_xor_sync(0xffffffffu, nearest, step);
        u32 other_index = __shfl_xor_sync(0xffffffffu, index, step);
        if (earlier(other, other_index, nearest, index)) {
            nearest = other;
            index = other_index;
        }
    }
    if (lane == 0) {
        s.nearest[warp] = nearest;
        s.nearest_index[warp] = index;
    }
    __syncthreads();
    for (u32 w = 0; w < THREADS / 32; ++w) {
        if (earlier(s.nearest[w], s.nearest_index[w], nearest, index)) {
            nearest = s.nearest[w];
            index = s.nearest_index[w];
        }
    }
    __syncthreads();
    return index;
}

// Settles near ties and writes the results of a block; s.found[0] has the best of each vector.
__device__ __noinline__ void settle(Shared& s, const float* z, const Layout& l, u32 first, const float* codebook, const float* panels,
                       const float* half_norms, u32* indices, float* distances, float* quantized, u32* histogram) {
    u32 q = threadIdx.x;
    if (q < QUERIES) {
        Found f = s.found[0][q];
        bool near_tie = first + q < l.vectors && (s.slack[q] < 0.0f || !(f.best - f.second > s.slack[q]));
        u32 ballot = __ballot_sync(0xffffffffu, near_tie);
        if (q % 32 == 0) s.near_ties[q / 32] = ballot;
    }
    __syncthreads();
    for (u32 half = 0; half < QUERIES / 32; ++half)
        for (u32 ties = s.near_ties[half]; ties != 0; ties &= ties - 1) {
            u32 v = half * 32 + __popc((ties & (0u - ties)) - 1u);
            u32 index =
                search_again(s, components_of(s, z, l, v), l, codebook, panels, half_norms, s.found[0][v].best, s.slack[v]);
            if (threadIdx.x == 0) s.found[0][v].index = index;
        }
    __syncthreads();
    if (q < QUERIES && first + q < l.vectors) {
        u32 index = s.found[0][q].index;
        // Only a vector that is not finite, which the host reports, has found no code.
        if (index >= l.codes) index = s.found[0][q].index = 0;
        Components vector = components_of(s, z, l, q);
        indices[first + q] = index;
        distances[first + q] = (float)squared_distance(vector.first, vector.stride, codebook + (u64)index * l.dim, l.dim);
        if (histogram) atomicAdd(histogram + (u64)image_of(l, first + q) * l.codes + index, 1u);
    }
    __syncthreads();
    if (quantized) {
        for (u32 e = threadIdx.x; e < QUERIES * l.dim; e += THREADS) {
            u32 v = e % QUERIES, i = e / QUERIES;
            if (first + v < l.vectors)
                quantized[s.offset[v] + (u64)i * l.component_stride] = codebook[(u64)s.found[0][v].index * l.dim + i];
        }
    }
}

// Finds where the vectors of the block lie and stages them, if their components fit.
__device__ void place(Shared& s, const float* z, const Layout& l, u32 first) {
    if (threadIdx.x < QUERIES) s.offset[threadIdx.x] = first + threadIdx.x < l.vectors ? offset_of(l, first + threadIdx.x) : 0;
    __syncthreads();
    if (all_staged(l)) {
        stage_vectors(s, z, l, first, 0);
        __syncthreads();
    }
}

// grid (vectors / QUERIES, splits): with one split the block settles its vectors; with more, each split of the codes leaves what it
// found in partial[split][vector], and merge_splits settles.
template <int V>
__device__ __forceinline__ void search(const float* z, const Layout& l, const float* codebook, const float* panels,
                                       const float* half_norms, const u32* largest, Found* partial, u32* indices, float* distances,
                                       float* quantized, u32* histogram, u32* bad) {
    __shared__ Shared s;
    u32 first = blockIdx.x * QUERIES;
    place(s, z, l, first);
    bound(V, s, z, l, first, __uint_as_float(*largest), bad);

    u32 panels_in_all = (l.codes + CODES - 1) / CODES;
    u32 each = (panels_in_all + l.splits - 1) / l.splits;
    u32 begin = min(blockIdx.y * each, panels_in_all), end = min(begin + each, panels_in_all);
    u32 steps = (l.dim + STEP - 1) / STEP;

    Found found[4];
#pragma unroll
    for (int q = 0; q < 4; ++q) found[q] = Found{-INFINITE, -INFINITE, NO_INDEX};
    u32 total = (end - begin) * steps;
    if (total > 0) stage_codes(s.c[0], panels, begin, l.dim, 0);
    float sums[4][8];
    for (u32 t = 0; t < total; ++t) {
        u32 panel = begin + t / steps, from = t % steps * STEP;
        if (!all_staged(l) && from % STAGED == 0) {
            __syncthreads();
            stage_vectors(s, z, l, first, from);
        }
        if (t + 1 < total) {
            stage_codes(s.c[(t + 1) % 2], panels, begin + (t + 1) / steps, l.dim, (t + 1) % steps * STEP);
            copies_wait_1();
        } else {
            copies_wait_0();
        }
        __syncthreads();
        if (from == 0) {
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                float half = half_norms[panel * CODES + code_of<V>(j)];
#pragma unroll
                for (int q = 0; q < 4; ++q) sums[q][j] = half;
            }
        }
        if (V == F32) {
            step_f32(s, s.c[t % 2], from % STAGED, sums);
        } else {
            step_mma<V>(s, s.c[t % 2], from % STAGED, sums);
        }
        if (from + STEP >= l.dim) {
#pragma unroll
            for (int j = 0; j < 8; ++j) {
                u32 code = panel * CODES + code_of<V>(j);
#pragma unroll
                for (int q = 0; q < 4; ++q) take(found[q], sums[q][j], code);
            }
        }
        __syncthreads();
    }

    // The lanes that share vectors, then the warps that do.
    const int lanes = V == F32 ? 8 : 2;
#pragma unroll
    for (int q = 0; q < 4; ++q) {
        for (int step = lanes; step > 0; step /= 2) {
            Found other;
            other.best = __shfl_xor_sync(0xffffffffu, found[q].best, step);
            other.second = __shfl_xor_sync(0xffffffffu, found[q].second, step);
            other.index = __shfl_xor_sync(0xffffffffu, found[q].index, step);
            found[q] = better(found[q], other);
        }
        u32 leader = V == F32 ? threadIdx.x % 16 : threadIdx.x % 4;
        if (leader == 0) s.found[V == F32 ? 0 : threadIdx.x / 32 % 4][query_of<V>(q)] = found[q];
    }
    __syncthreads();
    u32 q = threadIdx.x;
    if (q < QUERIES) {
        Found best = s.found[0][q];
        if (V != F32)
            for (int w = 1; w < 4; ++w) best = better(best, s.found[w][q]);
        s.found[0][q] = best;
        if (l.splits > 1 && first + q < l.vectors) partial[(u64)blockIdx.y * l.vectors + first + q] = best;
    }
    __syncthreads();
    if (l.splits == 1) settle(s, z, l, first, codebook, panels, half_norms, indices, distances, quantized, histogram);
}

// Merges what the splits have found and settles the vectors of each block.
extern "C" __global__ void __launch_bounds__(THREADS) merge_splits(
    int variant, const float* z, Layout l, const float* codebook, const float* panels, const float* half_norms, const u32* largest,
    const Found* partial, u32* indices, float* distances, float* quantized, u32* histogram, u32* bad) {
    __shared__ Shared s;
    u32 first = blockIdx.x * QUERIES, q = threadIdx.x;
    place(s, z, l, first);
    bound(variant, s, z, l, first, __uint_as_float(*largest), bad);
    if (q < QUERIES && first + q < l.vectors) {
        Found best = partial[first + q];
        for (u32 split = 1; split < l.splits; ++split) best = better(best, partial[(u64)split * l.vectors + first + q]);
        s.found[0][q] = best;
    }
    __syncthreads();
    settle(s, z, l, first, codebook, panels, half_norms, indices, distances, quantized, histogram);
}

#define VARIANT(NAME, V)                                                                                                            \
    extern "C" __global__ void __launch_bounds__(THREADS) nearest_##NAME(                                                           \
        const float* z, Layout l, const float* codebook, const float* panels, const float* half_norms, const u32* largest,          \
        Found* partial, u32* indices, float* distances, float* quantized, u32* histogram, u32* bad) {                               \
        search<V>(z, l, codebook, panels, half_norms, largest, partial, indices, distances, quantized, histogram, bad);             \
    }
VARIANT(f32, F32)
VARIANT(tf32x3, TF32X3)
VARIANT(tf32, TF32)
VARIANT(bf16, BF16)

// ---------------------------------------------------------------------------------------------------------------------------------
// Training. One block per code, one thread per component (and further ones THREADS on): the vectors of the code are added in their
// order, in double precision, so the bits are those of the sums on the processor.
#define LIST 1024
extern "C" __global__ void code_sums(const float* z, Layout l, const u32* indices, u32* counts, double* sums) {
    __shared__ u64 list[LIST];
    __shared__ u32 warps[THREADS / 32];
    u32 code = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32, count = 0;
    for (u32 block = 0; block < l.dim; block += THREADS) {
        u32 component = block + threadIdx.x;
        double sum = 0.0;
        count = 0;
        for (u32 base = 0; base < l.vectors; base += LIST) {
            u32 length = 0;
            for (u32 part = 0; part < LIST; part += THREADS) {
                u32 vector = base + part + threadIdx.x;
                bool mine = vector < l.vectors && indices[vector] == code;
                u32 ballot = __ballot_sync(0xffffffffu, mine);
                if (lane == 0) warps[warp] = __popc(ballot);
                __syncthreads();
                u32 at = length + __popc(ballot & ((1u << lane) - 1u));
                for (u32 w = 0; w < THREADS / 32; ++w) {
                    if (w < warp) at += warps[w];
                    length += warps[w];
                }
                if (mine) list[at] = offset_of(l, vector);
                __syncthreads();
            }
            if (component < l.dim)
                for (u32 v = 0; v < length; ++v) sum = __dadd_rn(sum, (double)z[list[v] + (u64)component * l.component_stride]);
            count += length;
            __syncthreads();
        }
        if (component < l.dim) sums[(u64)code * l.dim + component] = sum;
    }
    if (threadIdx.x == 0) counts[code] = count;
}

// 2 scale sum (c - z) over the vectors of each code.
extern "C" __global__ void codebook_gradient(const float* codebook, const u32* counts, const double* sums, u32 codes, u32 dim,
                                             double scale, float* gradient) {
    u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (u64)codes * dim) return;
    double whole = __dmul_rn((double)counts[at / dim], (double)codebook[at]);
    gradient[at] = (float)__dmul_rn(__dmul_rn(2.0, scale), __dsub_rn(whole, sums[at]));
}

// 2 scale (z - c) of each vector, where it lies.
extern "C" __global__ void commitment_gradient(const float* z, Layout l, const u32* indices, const float* codebook, float factor,
                                               float* gradient) {
    u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (u64)l.vectors * l.dim) return;
    u32 vector, component;
    if (l.component_stride == 1) {
        component = at % l.dim;
        u64 outer = at / l.dim;
        u32 chunk = outer % l.split;
        outer /= l.split;
        u32 position = outer % l.positions;
        vector = (outer / l.positions * l.split + chunk) * l.positions + position;
    } else {
        u32 position = at % l.positions;
        u64 outer = at / l.positions;
        component = outer % l.dim;
        vector = outer / l.dim * l.positions + position;
    }
    gradient[at] = __fmul_rn(factor, __fsub_rn(z[at], codebook[(u64)indices[vector] * l.dim + component]));
}

// What the host wants to know of a batch, in one copy: summary[0..2] the sum of the squared distances (a double), summary[2] the word
// about vectors that are not finite, summary[3] the largest |c|^2, then how often each code occurs. And what the GPU goes on with: losses[0]
// and losses[1], the sum divided by the number of values, and losses[2], 0. Block 0 adds, in an order that does not vary; thread t of block
// b > 0 counts code (b - 1) THREADS + t.
extern "C" __global__ void summarise(const float* distances, u32 vectors, const u32* counters, u32 images, u32 codes, const u32* largest,
                                     double values, u32* summary, float* losses) {
    __shared__ double sums[THREADS];
    if (blockIdx.x > 0) {
        u32 code = (blockIdx.x - 1) * THREADS + threadIdx.x;
        if (code >= codes) return;
        u32 count = 0;
        for (u32 image = 0; image < images; ++image) count += counters[(u64)image * codes + code];
        summary[4 + code] = count;
        return;
    }
    double sum = 0.0;
#pragma unroll 8
    for (u32 at = threadIdx.x; at < vectors; at += THREADS) sum = __dadd_rn(sum, (double)distances[at]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (u32 step = THREADS / 2; step > 0; step /= 2) {
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        *(double*)summary = sums[0];
        losses[0] = losses[1] = (float)(sums[0] / values);
        losses[2] = 0.0f;
        summary[2] = counters[(u64)images * codes];
        summary[3] = *largest;
    }
}
