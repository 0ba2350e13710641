// What draws random numbers, and what applies drawn ones. The numbers are those of ops::RngKey: Philox4x32-10, Salmon et al. 2011,
// DOI 10.1145/2063384.2063405.

struct Words {
    u32 v[4];
};

// A bijection of u64 (SplitMix64).
INLINE u64 mix(u64 z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    return z ^ (z >> 31);
}

struct Key {
    u64 key, step;
    INLINE Key(u64 seed, u64 stream, u64 step, const u64* step_on_device)
        : key(mix(seed ^ mix(stream + 0x9E3779B97F4A7C15ull))), step(step_on_device ? *step_on_device : step) {}

    INLINE Words words(u64 block) const {
        u32 a = (u32)block, b = (u32)(block >> 32), c = (u32)step, d = (u32)(step >> 32), k0 = (u32)key, k1 = (u32)(key >> 32);
#pragma unroll
        for (int round = 0; round < 10; ++round) {
            u32 high0 = __umulhi(0xD2511F53u, a), low0 = 0xD2511F53u * a, high1 = __umulhi(0xCD9E8D57u, c), low1 = 0xCD9E8D57u * c;
            a = high1 ^ b ^ k0, b = low1, c = high0 ^ d ^ k1, d = low0;
            k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
        }
        return Words{{a, b, c, d}};
    }
};

// Uniform in [0, 1).
INLINE float unit(u32 word) { return (float)(word >> 8) * (1.0f / 16777216.0f); }
INLINE float kept_factor(float p) { return __fdiv_rn(1.0f, __fsub_rn(1.0f, p)); }

// The first value has draw `first` of the stream.
KERNEL dropout(const float* x, u64 m, float p, u64 seed, u64 stream, u64 step, const u64* step_on_device, u64 first, float* y) {
    const Key key(seed, stream, step, step_on_device);
    const float factor = kept_factor(p);
    const bool packs = first % 4 == 0 && wide(x, y);
    // Four values share a block of random words.
    for (u64 block = first / 4 + first_item(); 4 * block < first + m; block += next_item()) {
        const Words words = key.words(block);
        // Below 0, which is above m, where the first block begins before the values do.
        const u64 i = 4 * block - first;
        if (packs && i + 4 <= m) {
            Pack<4> v = load<4>(x + i);
#pragma unroll
            for (int j = 0; j < 4; ++j) v.v[j] = unit(words.v[j]) >= p ? v.v[j] * factor : 0.0f;
            store(y + i, v);
        } else {
#pragma unroll
            for (int j = 0; j < 4; ++j)
                if (i + j < m) y[i + j] = unit(words.v[j]) >= p ? x[i + j] * factor : 0.0f;
        }
    }
}

// Samples are counted by the blocks' y; the first has draw `first` of the stream.
KERNEL stochastic_depth(const float* x, u32 samples, u64 length, float p, u64 seed, u64 stream, u64 step, const u64* step_on_device,
                        u64 first, float* y) {
    const Key key(seed, stream, step, step_on_device);
    for (u32 sample = blockIdx.y; sample < samples; sample += gridDim.y) {
        const u64 draw = first + sample;
        const Words words = key.words(draw / 4);
        const u32 i = draw % 4, word = i < 2 ? (i == 0 ? words.v[0] : words.v[1]) : (i == 2 ? words.v[2] : words.v[3]);
        const bool kept = unit(word) >= p;
        const float factor = kept_factor(p);
        for_values(length, x + sample * length, 0, y + sample * length, [=](float v, float) { return kept ? v * factor : 0.0f; });
    }
}

// The symmetry of each image: bit 0 flips rows, bit 1 columns, bit 2 transposes before that.
KERNEL augment(const float* x, const u32* symmetries, u32 n, u32 c, u32 height, u32 width, float* y) {
    for (Walk at(height * width, first_item(), next_item()); at.map < n * c; at.next()) {
        u32 symmetry = symmetries[at.map / c], i = at.position / width, j = at.position % width;
        i = symmetry & 1 ? height - 1 - i : i;
        j = symmetry & 2 ? width - 1 - j : j;
        u64 map = (u64)at.map * (height * width);
        y[map + at.position] = x[map + (symmetry & 4 ? j * width + i : i * width + j)];
    }
}
