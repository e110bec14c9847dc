// Who sees what: the queries of a tile, and the list of the panels that each branch shows them.
#pragma once

#include "lists.h"

namespace fuserec {
namespace {

// With the rows and the list known: every strip sees all, and the panels are found that some row sees but a part of.
void finish(Tile& tile, List& list) {
    tile.strips = (tile.rows + STRIP - 1) / STRIP;
    for (int64_t s = 0; s < tile.strips; ++s) tile.low[s] = 0, tile.high[s] = list.size;
    list.partials = 0;
    for (int64_t i = 0; i < list.size; ++i)
        if (list.count[i] < PANEL || list.first[i] < tile.from[tile.rows - 1] || list.first[i] + PANEL > tile.to[0])
            list.partial[list.partials++] = static_cast<int32_t>(i);
}

// Panels of the positions [from, to) of one block.
void add_block(const Shape& shape, int64_t block, int64_t from, int64_t to, int64_t length, List& list) {
    const int64_t start = block * shape.block, end = least(length, start + shape.block);
    for (int64_t p = 0; p < shape.block_panels(); ++p) {
        const int64_t first = start + p * PANEL, behind = least(end, first + PANEL);
        if (first < to && from < behind) list.add(block * shape.block_panels() + p, first, behind - first);
    }
}

// Strips see the panels from the one with their first row's first position to the one with their last row's last.
void narrow(Tile& tile, List& list) {
    finish(tile, list);
    for (int64_t s = 0; s < tile.strips; ++s) {
        while (list.first[tile.low[s]] + list.count[tile.low[s]] <= tile.from[tile.begin(s)]) ++tile.low[s];
        while (list.first[tile.high[s] - 1] >= tile.to[tile.end(s) - 1]) --tile.high[s];
    }
}

void see_window(const Shape& shape, int64_t length, int64_t t, int64_t rows, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = most(0, t + r - shape.window + 1), tile.to[r] = t + r + 1;
    list.size = 0;
    for (int64_t block = tile.from[0] / shape.block; block <= t / shape.block; ++block) add_block(shape, block, tile.from[0], t + rows, length, list);
    narrow(tile, list);
}

// Row r is query t + r * step.
void see_summaries(const Shape& shape, int64_t t, int64_t rows, int64_t step, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = 0, tile.to[r] = (t + r * step) / shape.block;
    list.size = 0;
    for (int64_t first = 0; first < tile.to[rows - 1]; first += PANEL) list.add(first / PANEL, first, PANEL);
    finish(tile, list);
}

void see_selected(const Shape& shape, int64_t length, const int32_t* choice, int64_t t, int64_t rows, Tile& tile, List& list) {
    tile.rows = rows;
    for (int64_t r = 0; r < rows; ++r) tile.from[r] = 0, tile.to[r] = t + r + 1;
    list.size = 0;
    for (int64_t n = 0; n < shape.selected && choice[n] >= 0; ++n) add_block(shape, choice[n], 0, t, length, list);
    add_block(shape, t / shape.block, 0, t + rows, length, list);
    narrow(tile, list);  // of the own block; the chosen ones are seen whole
}

// Floats from row to row of scores: a row more than whole panels, so that rows do not meet in one set of the cache.
inline int64_t leading(const List& list) { return (list.size + 1) * PANEL; }

int64_t longest_list(const Shape& shape, int64_t length) {
    const int64_t window = ((shape.window + TILE) / shape.block + 3) * shape.block_panels();
    const int64_t selected = (shape.selected + 1) * shape.block_panels();
    return most(shape.summary_panels(length), least(most(window, selected), shape.key_panels(length))) + 1;
}

// Calls act(t, rows) for every tile of the history.
template <class Act>
inline void for_tiles(const Shape& shape, int64_t length, Act act) {
    for (int64_t begin = 0; begin < length; begin += shape.block)
        for (int64_t end = least(length, begin + shape.block), t = begin; t < end; t += TILE) act(t, least(TILE, end - t));
}

// Calls act(t, rows) for the part of every group in the rows [t, t + rows).
template <class Act>
inline void for_groups(const Shape& shape, int64_t t, int64_t rows, Act act) {
    for (int64_t end = t + rows; t < end;) {
        const int64_t next = least(end, (t / shape.group + 1) * shape.group);
        act(t, next - t);
        t = next;
    }
}

// Here the branches part: calls act(branch, t) for each, with the tile's rows from query t on and the list of what they see.
template <class Act>
inline void for_branches(const Shape& shape, const Head& head, int64_t t, int64_t rows, Tile& tile, List& list, Act act) {
    if (shape.has[WINDOW]) {
        see_window(shape, head.length, t, rows, tile, list);
        act(WINDOW, t);
    }
    if (shape.has[BLOCK] && t >= shape.block) {
        see_summaries(shape, t, rows, 1, tile, list);
        act(BLOCK, t);
    }
    if (shape.has[SELECTED])
        for_groups(shape, t, rows, [&](int64_t at, int64_t part) {
            see_selected(shape, head.length, head.choice + at / shape.group * shape.selected, at, part, tile, list);
            act(SELECTED, at);
        });
}

}  // namespace
}  // namespace fuserec
