// Batch normalisation with the addition of a residual and the activation: act(gamma (x - mean) / sqrt(variance + eps) + beta + residual).

// The line scale x + offset of a channel, rounded as on the processor.
INLINE void write_line(float mean, float variance, const float* gamma, const float* beta, float eps, u32 channel, float* line) {
    float inverse = __fdiv_rn(1.0f, __fsqrt_rn(__fadd_rn(variance, eps)));
    float scale = gamma ? __fmul_rn(gamma[channel], inverse) : inverse;
    line[2 * channel] = scale;
    line[2 * channel + 1] = __fsub_rn(beta ? beta[channel] : 0.0f, __fmul_rn(mean, scale));
}

INLINE double in_all(const float (&v)[4]) { return (double)v[0] + v[1] + v[2] + v[3]; }

// The sums of a block to its place in partial.
INLINE void write_sums(double (&sums)[2], double* partial) {
    block_sums(sums);
    if (threadIdx.x != 0) return;
    partial[2 * (u64)blockIdx.x] = sums[0];
    partial[2 * (u64)blockIdx.x + 1] = sums[1];
}

// Sums of x and of x^2. Differences to the channel's first value are summed, so that little is lost where the mean is far from zero.
KERNEL bn_moments(const float* x, u32 n, u32 c, u32 plane, u32 chunks, double* partial) {
    float shift = x[(u64)(blockIdx.x / chunks) * plane], sum[4] = {}, square[4] = {};
    u32 count = 0;
    for_channel(n, c, plane, chunks, x, 0, 0, 0, [&](int j, float v, float, float) {
        v -= shift;
        sum[j] += v;
        square[j] = fmaf(v, v, square[j]);
        ++count;
        return v;
    });
    double k = shift, s = in_all(sum);
    double sums[2] = {s + count * k, in_all(square) + 2.0 * k * s + count * k * k};
    write_sums(sums, partial);
}

// A running value one step nearer to a batch's.
INLINE void blend(float* running, u32 channel, float value, double factor, double momentum) {
    if (!running) return;
    double kept = __dmul_rn(running[channel], __dsub_rn(1.0, momentum));
    running[channel] = (float)__dadd_rn(kept, __dmul_rn(__dmul_rn(value, factor), momentum));
}

KERNEL bn_finish(const double* partial, u32 chunks, u32 c, double count, const float* gamma, const float* beta, float eps,
                 double momentum, float* running_mean, float* running_var, float* mean, float* variance, float* line) {
    u32 channel = (u32)first_item();
    if (channel >= c) return;
    double m = sum_of_chunks(partial, channel, chunks, 2, 0) / count;
    double v = fmax(sum_of_chunks(partial, channel, chunks, 2, 1) / count - m * m, 0.0);
    mean[channel] = (float)m;
    variance[channel] = (float)v;
    write_line((float)m, (float)v, gamma, beta, eps, channel, line);
    blend(running_mean, channel, (float)m, 1.0, momentum);
    blend(running_var, channel, (float)v, count / fmax(count - 1.0, 1.0), momentum);
}

KERNEL bn_line(const float* mean, const float* variance, const float* gamma, const float* beta, float eps, u32 c, float* line) {
    u32 channel = (u32)first_item();
    if (channel < c) write_line(mean[channel], variance[channel], gamma, beta, eps, channel, line);
}

KERNEL bn_forward(const float* x, const float* line, const float* residual, u32 activation, u32 c, u32 plane, u32 planes, float* y) {
    for_maps(planes, plane, c, x, residual, 0, y, [&](u32, u32 channel, float v, float r, float) {
        float t = fmaf(v, line[2 * channel], line[2 * channel + 1]);
        if (residual) t += r;
        return activation ? silu(t) : t;
    });
}

// dy times the slope of the activation.
INLINE float slope(float dy, float x, float scale, float shift, float residual, u32 activation) {
    return activation ? dy * silu_slope(fmaf(x, scale, shift) + residual) : dy;
}

KERNEL bn_backward_sums(const float* x, const float* dy, const float* residual, const float* mean, const float* line, u32 activation,
                        u32 n, u32 c, u32 plane, u32 chunks, float* g, double* partial) {
    u32 channel = blockIdx.x / chunks;
    float center = mean[channel], scale = line[2 * channel], shift = line[2 * channel + 1];
    float sum[4] = {}, product[4] = {};
    const float* r = activation ? residual : 0;
    for_channel(n, c, plane, chunks, x, dy, r, g, [&](int j, float v, float d, float r) {
        d = slope(d, v, scale, shift, r, activation);
        sum[j] += d;
        product[j] = fmaf(d, v - center, product[j]);
        return d;
    });
    double sums[2] = {in_all(sum), in_all(product)};
    write_sums(sums, partial);
}

// dx = scale (g - mean(g) - xhat mean(g xhat)), xhat = (x - mean) inverse, as scale g + b x + constant.
KERNEL bn_backward_finish(const double* partial, u32 chunks, u32 c, double count, u32 batch_mode, const float* mean,
                          const float* variance, const float* line, float eps, float* dgamma, float* dbeta, float* coefficients) {
    u32 channel = (u32)first_item();
    if (channel >= c) return;
    double sum = sum_of_chunks(partial, channel, chunks, 2, 0), product = sum_of_chunks(partial, channel, chunks, 2, 1);
    double inverse = 1.0 / sqrt((double)variance[channel] + (double)eps), scale = line[2 * channel];
    if (dgamma) dgamma[channel] = (float)(product * inverse);
    if (dbeta) dbeta[channel] = (float)sum;
    if (!coefficients) return;
    double b = 0.0, constant = 0.0;
    if (batch_mode) {
        b = -scale * product / count * inverse * inverse;
        constant = -scale * sum / count - b * mean[channel];
    }
    coefficients[3 * channel] = (float)scale;
    coefficients[3 * channel + 1] = (float)b;
    coefficients[3 * channel + 2] = (float)constant;
}

KERNEL bn_backward_dx(const float* x, const float* dy, const float* residual, const float* line, const float* coefficients,
                      u32 activation, u32 c, u32 plane, u32 planes, float* dx) {
    const float* r = activation ? residual : 0;
    for_maps(planes, plane, c, x, dy, r, dx, [&](u32, u32 channel, float v, float d, float r) {
        const float *l = line + 2 * channel, *k = coefficients + 3 * channel;
        return fmaf(slope(d, v, l[0], l[1], r, activation), k[0], fmaf(v, k[1], k[2]));
    });
}
