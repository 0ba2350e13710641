// Adam and AdamW. The numbers of a step are computed on the device from a clock there, so that a captured graph stays valid.

struct Clock {
    u64 step;
    double learning_rate;
};
struct StepFactors {
    float shrink, mean_rate, beta2, square_rate, step_size, root_correction, eps;
};

// By squaring, in the order of Rust's f64::powi.
INLINE double power(double a, u32 exponent) {
    double product = 1.0;
    for (;;) {
        if (exponent & 1) product = __dmul_rn(product, a);
        exponent >>= 1;
        if (exponent == 0) return product;
        a = __dmul_rn(a, a);
    }
}

KERNEL adam_factors(Clock* clock, double beta1, double beta2, double eps, double weight_decay, StepFactors* factors) {
    if (threadIdx.x != 0 || blockIdx.x != 0) return;
    u64 step = ++clock->step;
    u32 t = step < 0x7fffffffull ? (u32)step : 0x7fffffffu;
    double rate = clock->learning_rate, c1 = __dsub_rn(1.0, power(beta1, t)), c2 = __dsub_rn(1.0, power(beta2, t));
    factors->shrink = (float)__dsub_rn(1.0, __dmul_rn(rate, weight_decay));
    factors->mean_rate = (float)(1.0 - beta1);
    factors->beta2 = (float)beta2;
    factors->square_rate = (float)(1.0 - beta2);
    factors->step_size = (float)(rate / c1);
    factors->root_correction = (float)(1.0 / sqrt(c2));
    factors->eps = (float)eps;
}

// One weight, each operation rounded as on the processor.
INLINE void adam_weight(float& w, float g, float& m, float& v, const StepFactors& f) {
    m = __fmaf_rn(__fsub_rn(g, m), f.mean_rate, m);
    v = __fmaf_rn(__fmul_rn(g, g), f.square_rate, __fmul_rn(v, f.beta2));
    float root = __fmaf_rn(__fsqrt_rn(v), f.root_correction, f.eps);
    w = __fmaf_rn(-f.step_size, __fdiv_rn(m, root), __fmul_rn(w, f.shrink));
}

template <int V>
INLINE void adam_pack(float* w, const float* g, float* m, float* v, u64 i, const StepFactors& f) {
    Pack<V> a = load<V>(w + i), b = load<V>(g + i), c = load<V>(m + i), d = load<V>(v + i);
#pragma unroll
    for (int j = 0; j < V; ++j) adam_weight(a.v[j], b.v[j], c.v[j], d.v[j], f);
    store(w + i, a);
    store(m + i, c);
    store(v + i, d);
}

INLINE void adam_range(float* w, const float* g, float* m, float* v, u64 count, u64 first, u64 step, const StepFactors& f) {
    u64 packs = wide(w, g, m, v) ? count / 4 : 0;
    for (u64 i = first; i < packs; i += step) adam_pack<4>(w, g, m, v, 4 * i, f);
    for (u64 i = 4 * packs + first; i < count; i += step) adam_pack<1>(w, g, m, v, i, f);
}

KERNEL adam(float* w, const float* g, float* m, float* v, u64 count, const StepFactors* factors) {
    const StepFactors f = *factors;
    adam_range(w, g, m, v, count, first_item(), next_item(), f);
}

#define PIECE 8192

// A parameter with its means.
struct Slot {
    float *w, *g, *m, *v;
    u64 count;
};
struct Piece {
    u32 slot, piece;
};

KERNEL adam_many(const Slot* slots, const Piece* pieces, const StepFactors* factors) {
    const StepFactors f = *factors;
    const Piece p = pieces[blockIdx.x];
    const Slot s = slots[p.slot];
    u64 from = (u64)p.piece * PIECE;
    if (from >= s.count) return;
    u64 count = s.count - from < PIECE ? s.count - from : PIECE;
    adam_range(s.w + from, s.g + from, s.m + from, s.v + from, count, threadIdx.x, THREADS, f);
}
