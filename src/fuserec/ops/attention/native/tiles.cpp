// The arithmetic of sparse attention for one head of one history, written for vectors of LANES floats.
//
// Three products do all the work, each on a tile of registers:
//     dot         scores of rows and panels of keys       S = Q K^T, and dP = dO V^T
//     weigh       rows from weights and panels of values  O = P V,   and dQ = dS K
//     add_outer   rows of keys from weights and rows      dV = P^T dO, and dK = dS^T Q
// A tile's scores over all panels that it sees are kept whole (in the cache, for the windows and choices that this is for), so the
// softmax is the plain one. Backward makes them again; with P and dP at hand the sum of P dP over a row is output times upstream
// gradient, which is also the gate's gradient.
//
// Nothing of the standard library is used here or in what is included but tiles.h's integers: a template of it, compiled for
// AVX-512, could be linked into everything. LANES and NAME come from the command line (library.py).

#include "products.h"
#include "sight.h"
#include "storage.h"

#define JOIN(a, b) a##b
#define TABLE(name) JOIN(name, _tiles)
#define TEXT(x) #x
#define QUOTE(x) TEXT(x)

namespace fuserec {
namespace {

inline float query_scale(const Shape& shape) { return LOG2E / __builtin_sqrtf(static_cast<float>(shape.dim)); }

// ------------------------------------------------------------------------------------------------------------- choice

void summarise(const Shape& shape, const Head& head, float* memory) {
    const Rows rows = summary_rows(shape, head.block_key, head.k, head.length, memory);
    transposed_summaries(shape, rows, head.length, head.summaries);
}

// The `selected` largest of scores [0, n), equal ones by position, then in order of position; -1 behind the last.
void pick(const float* scores, int64_t n, int64_t selected, int32_t* choice, float* kept) {
    int64_t size = 0;
    for (int64_t c = 0; c < n; ++c) {
        if (size == selected && !(size && scores[c] > kept[size - 1])) continue;
        int64_t at = size < selected ? size++ : size - 1;
        for (; at > 0 && scores[c] > kept[at - 1]; --at) kept[at] = kept[at - 1], choice[at] = choice[at - 1];
        kept[at] = scores[c], choice[at] = static_cast<int32_t>(c);
    }
    for (int64_t i = 1; i < size; ++i)
        for (int64_t j = i; j > 0 && choice[j] < choice[j - 1]; --j) {
            const int32_t one = choice[j];
            choice[j] = choice[j - 1], choice[j - 1] = one;
        }
    for (int64_t i = size; i < selected; ++i) choice[i] = -1;
}

struct ChoiceRoom {
    Scratch scratch;
    List list;
    float *q, *bias, *scores, *totals, *kept;

    ChoiceRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = shape.summary_panels(length) + 1;
        list = scratch.list(panels);
        q = scratch.floats(STRIP * shape.width());
        bias = scratch.floats(bias_floats(shape));
        scores = scratch.floats(STRIP * panels * PANEL);
        totals = scratch.floats(STRIP * panels * PANEL);
        kept = scratch.floats(shape.selected);
    }
};

void choose(const Shape& shape, const Head* heads, int64_t num_heads, int64_t begin, int64_t end, float* memory) {
    ChoiceRoom room(shape, heads->length, memory);
    List& list = room.list;
    const int64_t width = shape.width();
    for (int64_t g = begin; g < end; g += STRIP) {
        const int64_t rows = least(STRIP, end - g);
        Tile tile;
        see_summaries(shape, g * shape.group, rows, shape.group, tile, list);
        const int64_t ld = leading(list);
        clear(room.totals, rows * ld);
        for (int64_t h = 0; h < num_heads; ++h) {
            const Head& head = heads[h];
            const Rows& from = head.block_query.data ? head.block_query : head.q;
            copy_rows({from[g * shape.group], from.stride * shape.group}, 0, rows, shape.dim, width, query_scale(shape), room.q);
            const Bias bias = reversed(shape, head.bias, room.bias);
            score(tile, list, room.q, width, shape.dim, head.summaries, room.scores, ld);
            for (int64_t r = 0; r < rows; ++r) {
                if (tile.to[r] == 0) continue;
                float *row = room.scores + r * ld, *total = room.totals + r * ld;
                if (bias.values) add(row, bias.of(tile.to[r]), list.size * PANEL);
                mask(row, tile, list, r, 0, list.size);
                const float share = 1 / exponentiate<true>(row, 0, list.size * PANEL, top(row, 0, list.size * PANEL));
                for (int64_t c = 0; c < list.size * PANEL; c += LANES) store(total + c, load(total + c) + share * load(row + c));
            }
        }
        for (int64_t r = 0; r < rows; ++r) pick(room.totals + r * ld, tile.to[r], shape.selected, heads->choice + (g + r) * shape.selected, room.kept);
    }
}

// ------------------------------------------------------------------------------------------------------------ forward

inline float gate(const Head& head, int64_t t, int branch) { return head.gates.data ? head.gates[t][branch] : 1.0f; }

// What a branch reads, as rows and as transposed panels, and where the gradients of that are summed.
struct Source {
    const float *transposed_keys, *transposed_values;
    Rows keys, values, d_keys, d_values;
    Bias bias, d_bias;
};

// One branch of one tile, added to out.
void attend(const Shape& shape, const Head& head, int branch, int64_t t, const Tile& tile, const List& list, const Source& source, const float* q,
            float* scores, float* out) {
    const int64_t width = shape.width(), ld = leading(list);
    const float* bias = source.bias.of(t / shape.block);
    float scale[TILE];
    score(tile, list, q, width, shape.dim, source.transposed_keys, scores, ld);
    for (int64_t s = 0; s < tile.strips; ++s)
        for (int64_t r = tile.begin(s); r < tile.end(s); ++r) {
            float *row = scores + r * ld, *softmax = head.softmax[t + r] + 2 * branch;
            if (bias) add(row, bias, list.size * PANEL);
            mask(row, tile, list, r, tile.low[s], tile.high[s]);
            softmax[0] = top(row, tile.low[s] * PANEL, tile.high[s] * PANEL);
            softmax[1] = 1 / exponentiate<false>(row, tile.low[s] * PANEL, tile.high[s] * PANEL, softmax[0]);
            scale[r] = softmax[1] * gate(head, t + r, branch);
        }
    weigh_all(tile, list, scores, ld, source.values, scale, out, width);
}

struct ForwardRoom {
    Scratch scratch;
    List list;
    float *keys, *values, *summaries, *bias, *scores, *q, *block_q, *out;

    ForwardRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = longest_list(shape, length), tile = TILE * shape.width();
        list = scratch.list(panels);
        keys = scratch.floats(shape.key_panels(length) * PANEL * shape.dim);
        values = in_place(shape) ? nullptr : scratch.floats(shape.key_panels(length) * PANEL * shape.width());
        summaries = scratch.floats(summary_floats(shape, length));
        bias = scratch.floats(bias_floats(shape));
        scores = scratch.floats(TILE * (panels + 1) * PANEL);
        q = scratch.floats(tile), block_q = scratch.floats(tile), out = scratch.floats(tile);
    }
};

void forward(const Shape& shape, const Head& head, float* memory) {
    const int64_t width = shape.width(), length = head.length;
    ForwardRoom room(shape, length, memory);
    Source events = {}, summaries = {};
    if (shape.has[WINDOW] || shape.has[SELECTED]) {
        events.transposed_keys = transposed(shape, head.k, length, room.keys);
        events.values = stored(shape, head.v, length, room.values);
    }
    if (shape.has[BLOCK]) {
        summaries.transposed_keys = head.summaries;
        summaries.values = summary_rows(shape, head.block_value, head.v, length, room.summaries);
        summaries.bias = reversed(shape, head.bias, room.bias);
    }
    const float* block_q = head.block_query.data ? room.block_q : room.q;
    Tile tile;
    for_tiles(shape, length, [&](int64_t t, int64_t rows) {
        copy_rows(head.q, t, t + rows, shape.dim, width, query_scale(shape), room.q);
        fetch(head.q, t + rows, least(length, t + rows + TILE), shape.dim);
        if (head.block_query.data) copy_rows(head.block_query, t, t + rows, shape.dim, width, query_scale(shape), room.block_q);
        clear(room.out, rows * width);
        clear_rows(head.softmax, t, t + rows, 2 * BRANCHES);  // of a branch in which nothing is seen
        for_branches(shape, head, t, rows, tile, room.list, [&](int branch, int64_t at) {
            const int64_t skipped = (at - t) * width;
            const Source& source = branch == BLOCK ? summaries : events;
            attend(shape, head, branch, at, tile, room.list, source, (branch == BLOCK ? block_q : room.q) + skipped, room.scores, room.out + skipped);
        });
        for (int64_t r = 0; r < rows; ++r) __builtin_memcpy(head.out[t + r], room.out + r * width, shape.dim * sizeof(float));
    });
    clear_rows(head.out, length, head.rows, shape.dim);
    clear_rows(head.softmax, length, head.rows, 2 * BRANCHES);
}

// ----------------------------------------------------------------------------------------------------------- backward

void attend_backward(const Shape& shape, const Head& head, int branch, int64_t t, const Tile& tile, const List& list, const Source& source, const float* q,
                     const float* d_out, float* weights, float* gradients, float* d_q) {
    const int64_t width = shape.width(), ld = leading(list), own = t / shape.block;
    const float* bias = source.bias.of(own);
    float *d_bias = source.d_bias.of(own), scale[TILE];
    score(tile, list, q, width, shape.dim, source.transposed_keys, weights, ld);
    score(tile, list, d_out, width, shape.dim, source.transposed_values, gradients, ld);
    for (int64_t s = 0; s < tile.strips; ++s)
        for (int64_t r = tile.begin(s); r < tile.end(s); ++r) {
            const int64_t begin = tile.low[s] * PANEL, end = tile.high[s] * PANEL;
            float *row = weights + r * ld, *gradient = gradients + r * ld;
            const float* softmax = head.softmax[t + r] + 2 * branch;
            if (bias) add(row, bias, list.size * PANEL);
            mask(row, tile, list, r, tile.low[s], tile.high[s]);
            vec total = {};
            for (int64_t i = begin; i < end; i += LANES) {
                const vec x = exp2<false>(load(row + i) - softmax[0]);
                store(row + i, x);
                total += x * load(gradient + i);
            }
            const float mean = softmax[1] * sum(total);  // output times upstream gradient
            if (head.d_gates.data) head.d_gates[t + r][branch] = mean;
            const float factor = softmax[1] * gate(head, t + r, branch);
            for (int64_t i = begin; i < end; i += LANES) {
                const vec weight = factor * load(row + i);
                store(row + i, weight);
                store(gradient + i, weight * (load(gradient + i) - mean));
            }
            scale[r] = LN2 * query_scale(shape);
            if (d_bias) add(d_bias, gradient, list.size * PANEL);
        }
    add_outer_all(tile, list, weights, ld, d_out, width, source.d_values);
    add_outer_all(tile, list, gradients, ld, q, width, source.d_keys);
    weigh_all(tile, list, gradients, ld, source.keys, scale, d_q, width);
}

struct BackwardRoom {
    Scratch scratch;
    List list;
    float *keys, *transposed_keys, *transposed_values, *d_keys, *d_values;
    float *summary_keys, *summary_values, *transposed_summary_values, *d_summary_keys, *d_summary_values, *bias, *d_bias;
    float *weights, *gradients, *q, *d_q, *block_q, *d_block_q, *d_out;

    BackwardRoom(const Shape& shape, int64_t length, float* memory) : scratch{memory} {
        const int64_t panels = longest_list(shape, length), tile = TILE * shape.width();
        list = scratch.list(panels);
        for (float** piece : each(&transposed_keys, &transposed_values)) *piece = scratch.floats(shape.key_panels(length) * PANEL * shape.dim);
        for (float** piece : each(&keys, &d_keys, &d_values))
            *piece = in_place(shape) ? nullptr : scratch.floats(shape.key_panels(length) * PANEL * shape.width());
        for (float** piece : each(&summary_keys, &summary_values, &transposed_summary_values, &d_summary_keys, &d_summary_values))
            *piece = scratch.floats(summary_floats(shape, length));
        for (float** piece : each(&bias, &d_bias)) *piece = scratch.floats(bias_floats(shape));
        for (float** piece : each(&weights, &gradients)) *piece = scratch.floats(TILE * (panels + 1) * PANEL);
        for (float** piece : each(&q, &d_q, &block_q, &d_block_q, &d_out)) *piece = scratch.floats(tile);
    }
};

// to[t] = factor * (events' sum of t + block's sum / block); the last block was seen by nobody. Where rows are
// stored in place, `events` is `to`.
void write_gradient(const Shape& shape, int64_t length, float factor, const Rows& events, const Rows& summaries, const Rows& to) {
    const float part = factor / static_cast<float>(shape.block);
    for (int64_t t = 0; t < length; ++t) {
        const int64_t block = t / shape.block;
        float* row = to[t];
        if (events.data) {
            const float* sum = events[place(shape, t)];
            for (int64_t d = 0; d < shape.dim; ++d) row[d] = factor * sum[d];
        } else {
            clear(row, shape.dim);
        }
        if (summaries.data && (block + 1) * shape.block < length) {
            const float* sum = summaries[block];
            for (int64_t d = 0; d < shape.dim; ++d) row[d] += part * sum[d];
        }
    }
}

void backward(const Shape& shape, const Head& head, float* memory) {
    const int64_t width = shape.width(), length = head.length;
    BackwardRoom room(shape, length, memory);
    const auto zeros = [&](float* piece) {
        clear(piece, summary_floats(shape, length));
        return Rows{piece, width};
    };
    Source events = {}, summaries = {};
    if (shape.has[WINDOW] || shape.has[SELECTED]) {
        events.keys = stored(shape, head.k, length, room.keys);
        events.transposed_keys = transposed(shape, head.k, length, room.transposed_keys);
        events.transposed_values = transposed(shape, head.v, length, room.transposed_values);
        events.d_keys = sums(shape, head.d_k, length, room.d_keys);
        events.d_values = sums(shape, head.d_v, length, room.d_values);
    }
    if (shape.has[BLOCK]) {
        const Rows values = summary_rows(shape, head.block_value, head.v, length, room.summary_values);
        summaries.keys = summary_rows(shape, head.block_key, head.k, length, room.summary_keys);
        summaries.transposed_keys = head.summaries;
        summaries.transposed_values = transposed_summaries(shape, values, length, room.transposed_summary_values);
        summaries.d_keys = zeros(room.d_summary_keys);
        summaries.d_values = zeros(room.d_summary_values);
        summaries.bias = reversed(shape, head.bias, room.bias);
    }
    if (head.d_bias) {
        clear(room.d_bias, bias_floats(shape));
        summaries.d_bias = {room.d_bias, shape.bias_columns};
    }
    const bool apart = head.block_query.data != nullptr;
    const float* block_q = apart ? room.block_q : room.q;
    float* d_block_q = apart ? room.d_block_q : room.d_q;
    Tile tile;
    for_tiles(shape, length, [&](int64_t t, int64_t rows) {
        copy_rows(head.q, t, t + rows, shape.dim, width, query_scale(shape), room.q);
        copy_rows(head.d_out, t, t + rows, shape.dim, width, 1, room.d_out);
        fetch(head.q, t + rows, least(length, t + rows + TILE), shape.dim);
        fetch(head.d_out, t + rows, least(length, t + rows + TILE), shape.dim);
        clear(room.d_q, rows * width);
        if (apart) {
            copy_rows(head.block_query, t, t + rows, shape.dim, width, query_scale(shape), room.block_q);
            clear(room.d_block_q, rows * width);
        }
        clear_rows(head.d_gates, t, t + rows, BRANCHES);
        for_branches(shape, head, t, rows, tile, room.list, [&](int branch, int64_t at) {
            const int64_t skipped = (at - t) * width;
            const bool block = branch == BLOCK;
            attend_backward(shape, head, branch, at, tile, room.list, block ? summaries : events, (block ? block_q : room.q) + skipped, room.d_out + skipped,
                            room.weights, room.gradients, (block ? d_block_q : room.d_q) + skipped);
        });
        for (int64_t r = 0; r < rows; ++r) {
            __builtin_memcpy(head.d_q[t + r], room.d_q + r * width, shape.dim * sizeof(float));
            if (apart) __builtin_memcpy(head.d_block_query[t + r], room.d_block_q + r * width, shape.dim * sizeof(float));
        }
    });
    // q was scaled into powers of 2, so what it has added to the keys is 1 / ln 2 too large
    write_gradient(shape, length, LN2, events.d_keys, head.block_key.data ? Rows{} : summaries.d_keys, head.d_k);
    write_gradient(shape, length, 1, events.d_values, head.block_value.data ? Rows{} : summaries.d_values, head.d_v);
    for (int64_t c = 0; c < head.blocks; ++c) {
        const bool seen = (c + 1) * shape.block < length && shape.has[BLOCK];
        for (int64_t d = 0; d < shape.dim; ++d) {
            if (head.d_block_key.data) head.d_block_key[c][d] = seen ? LN2 * summaries.d_keys[c][d] : 0;
            if (head.d_block_value.data) head.d_block_value[c][d] = seen ? summaries.d_values[c][d] : 0;
        }
    }
    for (int64_t m = 0; head.d_bias && m < shape.bias_columns; ++m) head.d_bias[m] = room.d_bias[shape.bias_columns - 1 - m];
    for (const Rows* rows : each(&head.d_q, &head.d_k, &head.d_v, &head.d_block_query)) clear_rows(*rows, length, head.rows, shape.dim);
    clear_rows(head.d_gates, length, head.rows, BRANCHES);
}

int64_t scratch(const Shape& shape, int64_t length, bool backward) {
    const int64_t summarising = summary_floats(shape, length), choosing = ChoiceRoom(shape, length, nullptr).scratch.used;
    const int64_t attending = backward ? BackwardRoom(shape, length, nullptr).scratch.used : ForwardRoom(shape, length, nullptr).scratch.used;
    return most(attending, most(choosing, summarising));
}

}  // namespace

extern const Tiles TABLE(NAME);
const Tiles TABLE(NAME) = {QUOTE(NAME), summarise, choose, forward, backward, scratch};

}  // namespace fuserec
