// What the driver and the arithmetic agree on. tiles.cpp is compiled once for each instruction set; every such unit
// fills one table of functions, and the driver takes the best that the processor has.
//
// Words: a *panel* is 16 keys side by side; a block is stored as whole panels, the last one filled up with zeros, so that
// no panel belongs to two blocks. A *tile* is up to 64 neighbouring queries of one block, a *strip* 8 rows of it.
#pragma once

#include <cstdint>

namespace fuserec {

constexpr int64_t PANEL = 16;
constexpr int64_t TILE = 64;
constexpr int64_t STRIP = 8;

enum Branch : int { WINDOW, BLOCK, SELECTED, BRANCHES };

// One head of one history of a tensor; null where the call has no such tensor.
struct Rows {
    float* data;
    int64_t stride;  // floats from row to row

    float* operator[](int64_t row) const { return data + row * stride; }
};

struct Shape {
    int64_t dim, window, block, selected, group, bias_columns;
    bool has[BRANCHES];

    int64_t width() const { return (dim + PANEL - 1) / PANEL * PANEL; }  // of a stored row
    int64_t block_panels() const { return (block + PANEL - 1) / PANEL; }
    int64_t blocks(int64_t length) const { return (length + block - 1) / block; }
    int64_t groups(int64_t length) const { return (length + group - 1) / group; }
    int64_t key_panels(int64_t length) const { return blocks(length) * block_panels(); }
    int64_t summary_panels(int64_t length) const { return (blocks(length) + PANEL - 1) / PANEL; }
};

// One head of one history. `softmax` holds, for each row and branch, the largest logit (in powers of 2) and one over the sum of what
// is relative to it: two numbers, since the logarithm of the sum beside a logit of 10^4 would lose its digits.
struct Head {
    int64_t length, rows, blocks;  // events; rows and blocks that the tensors have, cleared beyond the events
    Rows q, k, v, gates, out;
    Rows block_query, block_key, block_value;
    const float* bias;
    Rows softmax;
    int32_t* choice;   // (groups, selected), -1 behind the last
    float* summaries;  // keys of the blocks, transposed panels
    Rows d_out, d_q, d_k, d_v, d_gates, d_block_query, d_block_key, d_block_value;
    float* d_bias;
};

struct Tiles {
    const char* name;
    // Fills the summaries of a head; then choose, for the groups [begin, end) of one history, the choice of all its heads.
    void (*summarise)(const Shape&, const Head&, float* scratch);
    void (*choose)(const Shape&, const Head* heads, int64_t num_heads, int64_t begin, int64_t end, float* scratch);
    void (*forward)(const Shape&, const Head&, float* scratch);
    void (*backward)(const Shape&, const Head&, float* scratch);
    // Floats of scratch that the functions above need for a history of that length.
    int64_t (*scratch)(const Shape&, int64_t length, bool backward);
};

extern const Tiles plain_tiles;
#if defined(__x86_64__)
extern const Tiles avx2_tiles;
extern const Tiles avx512_tiles;
#endif

}  // namespace fuserec
