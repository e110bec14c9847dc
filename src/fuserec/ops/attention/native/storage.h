// Keys, values, summaries and biases as the products read them: in rows and in transposed panels.
#pragma once

#include "lists.h"

namespace fuserec {
namespace {

// Asks for the rows of the next tile: the processor does not see ahead from one burst of rows to the next.
inline void fetch(const Rows& rows, int64_t begin, int64_t end, int64_t dim) {
    for (int64_t t = begin; t < end; ++t)
        for (int64_t d = 0; d < dim; d += 16) __builtin_prefetch(rows[t] + d, 0, 2);
}

// Where the rows of a history are stored: block by block in whole panels.
inline int64_t place(const Shape& shape, int64_t position) {
    return position / shape.block * shape.block_panels() * PANEL + position % shape.block;
}

template <class Copy>
inline void for_blocks(const Shape& shape, int64_t length, Copy copy) {
    for (int64_t begin = 0; begin < length; begin += shape.block) copy(begin, least(length, begin + shape.block), place(shape, begin));
}

void copy_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim, int64_t width, float scale, float* to) {
    for (int64_t t = begin; t < end; ++t, to += width) {
        const float* row = rows[t];
        for (int64_t d = 0; d < dim; ++d) to[d] = scale * row[d];
        for (int64_t d = dim; d < width; ++d) to[d] = 0;
    }
}

// Rows [begin, end) as columns of the panels from column `at` on.
void transpose_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim, int64_t at, float* panels) {
    for (int64_t t = begin; t < end; ++t, ++at) {
        const float* row = rows[t];
        float* to = panels + at / PANEL * PANEL * dim + at % PANEL;
        for (int64_t d = 0; d < dim; ++d) to[d * PANEL] = row[d];
    }
}

// Where every block is whole panels and every row whole vectors, a tensor's own rows are already as they are stored.
inline bool in_place(const Shape& shape) { return shape.block % PANEL == 0 && shape.dim % PANEL == 0; }

void clear_rows(const Rows& rows, int64_t begin, int64_t end, int64_t dim) {
    if (rows.data)
        for (int64_t t = begin; t < end; ++t) clear(rows[t], dim);
}

// A history's rows in panels: its own, or copied to `to`.
Rows stored(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    if (in_place(shape)) return rows;
    const int64_t width = shape.width();
    for_blocks(shape, length, [&](int64_t begin, int64_t end, int64_t at) { copy_rows(rows, begin, end, shape.dim, width, 1, to + at * width); });
    return {to, width};
}

// Zeros to add a gradient's rows to: in the gradient itself where rows are stored in place, otherwise at `to`.
Rows sums(const Shape& shape, const Rows& gradient, int64_t length, float* to) {
    if (in_place(shape)) {
        clear_rows(gradient, 0, length, shape.dim);
        return gradient;
    }
    clear(to, shape.key_panels(length) * PANEL * shape.width());
    return {to, shape.width()};
}

// A history's rows in transposed panels; what no row fills is 0.
const float* transposed(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    if (shape.block % PANEL || length % shape.block) clear(to, shape.key_panels(length) * PANEL * shape.dim);
    for_blocks(shape, length, [&](int64_t begin, int64_t end, int64_t at) { transpose_rows(rows, begin, end, shape.dim, at, to); });
    return to;
}

inline int64_t summary_floats(const Shape& shape, int64_t length) { return shape.summary_panels(length) * PANEL * shape.width(); }

// The summaries of all blocks but the last, which nobody sees, as rows: given, or the mean of each block. What no block fills is 0.
Rows summary_rows(const Shape& shape, const Rows& given, const Rows& rows, int64_t length, float* to) {
    const int64_t width = shape.width(), seen = shape.blocks(length) - 1;
    clear(to, summary_floats(shape, length));
    if (given.data) copy_rows(given, 0, seen, shape.dim, width, 1, to);
    for (int64_t c = 0; c < seen && !given.data; ++c) {
        float* mean = to + c * width;
        for (int64_t t = c * shape.block; t < (c + 1) * shape.block; ++t)
            for (int64_t d = 0; d < shape.dim; ++d) mean[d] += rows[t][d];
        for (int64_t d = 0; d < shape.dim; ++d) mean[d] /= static_cast<float>(shape.block);
    }
    return {to, width};
}

const float* transposed_summaries(const Shape& shape, const Rows& rows, int64_t length, float* to) {
    transpose_rows(rows, 0, shape.summary_panels(length) * PANEL, shape.dim, 0, to);
    return to;
}

// Biases in the order in which a list of summaries needs them: element c of of(own) is that of block c for queries in block `own`.
struct Bias {
    float* values;
    int64_t columns;

    float* of(int64_t own) const { return values ? values + columns - own : nullptr; }
};

// A list of summaries goes on to the end of a panel, and for a strip of groups to that of its last one.
inline int64_t bias_floats(const Shape& shape) { return shape.bias_columns + PANEL + STRIP; }

Bias reversed(const Shape& shape, const float* bias, float* to) {
    if (!bias) return {};
    clear(to, bias_floats(shape));
    for (int64_t m = 0; m < shape.bias_columns; ++m) to[shape.bias_columns - 1 - m] = LOG2E * bias[m];
    return {to, shape.bias_columns};
}

}  // namespace
}  // namespace fuserec
