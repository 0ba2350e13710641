// Carries out a list of launches from the file argv[1] and writes the memory that they leave to argv[2].
//
// The list: the number of buffers; for each its bytes, how far it lies off a multiple of 256 bytes, how its content is given, and that:
// nothing, the bytes, or for each 8 bytes two words: 0 and a value, or 1 and the number of an earlier buffer, whose address it is. Then until the end of the file: a kernel's name, the grid, the number of arguments; for each its kind and 8 bytes: a value,
// the number of a buffer, or none. Memory without content is rubbish, and so is what lies around every buffer; a kernel that writes
// there, or to what it takes as const, is found out.

#include "kernels.h"

typedef uint64_t Word;
static const Word NONE = ~(Word)0;
static const size_t GUARD = 256;
static const unsigned char RUBBISH = 0xff, GUARDED = 0xa5;  // as floats the former are NaN

struct Buffer {
    size_t bytes;
    unsigned char *all, *data;
};
struct Argument {
    Kind kind;
    Word word;
};

[[noreturn]] static void fail(const std::string& kernel, const char* what) {
    fprintf(stderr, "%s: %s\n", kernel.c_str(), what);
    exit(1);
}

static bool take(FILE* file, void* to, size_t bytes) { return fread(to, 1, bytes, file) == bytes; }
static Word take_word(FILE* file) {
    Word word;
    if (!take(file, &word, sizeof word)) fail("the list", "ends too early");
    return word;
}

enum Content : Word { UNWRITTEN, BYTES, ADDRESSES };

static Buffer take_buffer(FILE* file, const std::vector<Buffer>& earlier) {
    Buffer b;
    b.bytes = take_word(file);
    const Word shift = take_word(file), given = take_word(file);
    const size_t length = (2 * GUARD + shift + b.bytes + 255) / 256 * 256;
    b.all = static_cast<unsigned char*>(aligned_alloc(256, length));
    b.data = b.all + GUARD + shift;
    memset(b.all, GUARDED, length);
    memset(b.data, RUBBISH, b.bytes);
    if (given == BYTES && !take(file, b.data, b.bytes)) fail("the list", "ends in a buffer");
    for (size_t i = 0; given == ADDRESSES && i < b.bytes; i += sizeof(Word)) {
        const Word is_buffer = take_word(file), word = take_word(file), value = is_buffer ? (Word)earlier[word].data : word;
        memcpy(b.data + i, &value, sizeof value);
    }
    return b;
}

static void check_guards(const std::string& kernel, const Buffer& b) {
    for (const unsigned char* p = b.all; p < b.data; ++p)
        if (*p != GUARDED) fail(kernel, "writes before a buffer");
    for (const unsigned char* p = b.data + b.bytes; p < b.data + b.bytes + GUARD; ++p)
        if (*p != GUARDED) fail(kernel, "writes past the end of a buffer");
}

static bool fits(Kind wanted, Kind given) { return wanted == given || (wanted == Kind::READ && given == Kind::WRITTEN); }

static void run(const std::string& name, Dim grid, const std::vector<Argument>& arguments, std::vector<Buffer>& buffers) {
    const auto found = kernels.find(name);
    if (found == kernels.end()) fail(name, "there is no such kernel");
    const Entry& entry = found->second;
    if (entry.arguments.size() != arguments.size()) fail(name, "takes another number of arguments");
    std::vector<Word> values;
    std::vector<bool> written(buffers.size());
    for (size_t i = 0; i < arguments.size(); ++i) {
        const Argument& a = arguments[i];
        if (!fits(entry.arguments[i], a.kind)) fail(name, ("argument " + std::to_string(i) + " is of another type").c_str());
        const bool buffer = a.kind == Kind::WRITTEN && a.word != NONE;
        values.push_back(buffer ? (Word)(uintptr_t)buffers[a.word].data : a.kind == Kind::WRITTEN ? 0 : a.word);
        if (buffer && entry.arguments[i] == Kind::WRITTEN) written[a.word] = true;
    }
    std::vector<void*> pointers;
    for (Word& value : values) pointers.push_back(&value);
    std::vector<std::vector<unsigned char>> before;
    for (const Buffer& b : buffers) before.emplace_back(b.data, b.data + b.bytes);
    launch(grid, THREADS, [&] { entry.call(pointers.data()); });
    for (size_t i = 0; i < buffers.size(); ++i) {
        check_guards(name, buffers[i]);
        if (!written[i] && memcmp(before[i].data(), buffers[i].data, buffers[i].bytes) && name != "adam_many")
            fail(name, "writes to what it only reads");
    }
}

int main(int, char** files) {
    FILE *in = fopen(files[1], "rb"), *out = fopen(files[2], "wb");
    if (!in || !out) fail("the list", "cannot be opened");
    std::vector<Buffer> buffers;
    for (Word left = take_word(in); left > 0; --left) buffers.push_back(take_buffer(in, buffers));
    for (Word length; take(in, &length, sizeof length);) {
        std::string name(length, ' ');
        if (!take(in, name.data(), length)) fail("the list", "ends in a name");
        const unsigned x = take_word(in), y = take_word(in);
        std::vector<Argument> arguments(take_word(in));
        for (Argument& a : arguments) {
            a.kind = (Kind)take_word(in);
            a.word = take_word(in);
        }
        run(name, {x, y}, arguments, buffers);
    }
    for (const Buffer& b : buffers) fwrite(b.data, 1, b.bytes, out);
    fclose(out);
}
