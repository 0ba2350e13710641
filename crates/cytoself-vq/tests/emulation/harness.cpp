// Runs every kernel on one case from the file argv[1] and writes the results to argv[2].

#include "emulator.h"

#include "../../src/kernels/split_quantize.cu"

template <typename T>
static std::vector<T> take(FILE* file, size_t count) {
    std::vector<T> values(count);
    if (fread(values.data(), sizeof(T), count, file) != count) exit(3);
    return values;
}
template <typename T>
static void give(FILE* file, const std::vector<T>& values) { fwrite(values.data(), sizeof(T), values.size(), file); }

int main(int, char** arguments) {
    FILE* in = fopen(arguments[1], "rb");
    FILE* out = fopen(arguments[2], "wb");
    if (!in || !out) return 2;
    auto header = take<uint32_t>(in, 10);
    uint32_t variant = header[8], images = header[9];
    Layout l = {header[0], header[1], header[2], header[3], header[4], header[5], header[6], header[7]};
    auto z = take<float>(in, (size_t)l.vectors * l.dim);
    auto codebook = take<float>(in, (size_t)l.codes * l.dim);
    uint32_t padded = (l.codes + CODES - 1) / CODES * CODES;
    std::vector<float> panels((size_t)padded * l.dim), half_norms(padded), distances(l.vectors), quantized(z.size());
    std::vector<uint32_t> largest(1), indices(l.vectors), histogram((size_t)images * l.codes), bad(1), counts(l.codes);
    std::vector<Found> partial((size_t)l.vectors * l.splits);
    std::vector<double> sums((size_t)l.codes * l.dim);
    std::vector<float> into_codes(sums.size()), into_z(z.size());

    launch({(padded + 255) / 256, 1}, 256,
           [&] { prepare_codes(codebook.data(), l.codes, l.dim, panels.data(), half_norms.data(), largest.data()); });
    using Kernel = decltype(&nearest_f32);
    const Kernel nearest[] = {nearest_f32, nearest_tf32x3, nearest_tf32, nearest_bf16};
    uint32_t blocks = (l.vectors + QUERIES - 1) / QUERIES;
    launch({blocks, l.splits}, THREADS, [&] {
        nearest[variant](z.data(), l, codebook.data(), panels.data(), half_norms.data(), largest.data(), partial.data(),
                         indices.data(), distances.data(), quantized.data(), histogram.data(), bad.data());
    });
    if (l.splits > 1)
        launch({blocks, 1}, THREADS, [&] {
            merge_splits(variant, z.data(), l, codebook.data(), panels.data(), half_norms.data(), largest.data(), partial.data(),
                         indices.data(), distances.data(), quantized.data(), histogram.data(), bad.data());
        });
    launch({l.codes, 1}, THREADS, [&] { code_sums(z.data(), l, indices.data(), counts.data(), sums.data()); });
    launch({(uint32_t)(sums.size() + 255) / 256, 1}, 256,
           [&] { codebook_gradient(codebook.data(), counts.data(), sums.data(), l.codes, l.dim, 0.25, into_codes.data()); });
    launch({(uint32_t)(z.size() + 255) / 256, 1}, 256,
           [&] { commitment_gradient(z.data(), l, indices.data(), codebook.data(), 0.5f, into_z.data()); });

    give(out, bad), give(out, indices), give(out, distances), give(out, quantized), give(out, histogram);
    give(out, counts), give(out, into_codes), give(out, into_z);
    fclose(out);
}
