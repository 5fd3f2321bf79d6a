// One task of a blocked product (product.inl): a rectangle of c, chunk by chunk of its columns.
#pragma once
#include "product_ahead.inl"

namespace xcorr {
namespace {

template <class T>
struct ProductTasks {
  Product<T> product;
  const Runtime* runtime;
  T *packed_a, *packed_b;  // shared by all tasks, or null: each packs what it needs
  Spread row_parts;        // of the row panels
  Spread column_parts;     // of the tiles
  Split a_parts, b_parts;  // of the row panels and of the tiles, while they are packed for all
  int64_t chunk_tiles;     // a task takes so many of its tiles at a time
  int64_t group_blocks;    // and so many blocks of the depth
  bool a_as_it_lies;       // its rows are contiguous along the depth, and pass by few tiles
  bool failed;
};

// A rectangle of c: a range of row panels, a range of tiles.
template <class T>
struct ProductTask {
  static constexpr int64_t kColumns = kTileColumns<T>, kRows = Simd<T>::tile_rows;
  // Elements of a plane that is worth fetching ahead: the hardware follows shorter ones, which lie close together.
  static constexpr int64_t kLongPlane = 512, kFewTerms = 64;
  const ProductTasks<T>& tasks;
  Product<T> p;
  Split panels, blocks, chunks;
  int64_t panel_from, panel_to, first_row, row_count, first_tile, tiles;
  bool b_as_it_lies;
  T *own_a, *own_b, *all_sums;
  TileColumns* columns;

  ProductTask(const ProductTasks<T>& all, int64_t index)
      : tasks(all), p(all.product), panels(row_panels<T>(p.m)), blocks(depth_blocks(p.k)) {
    const int64_t row_part = index % all.row_parts.parts;
    index /= all.row_parts.parts;
    const int64_t column_part = index % all.column_parts.parts, matrix = index / all.column_parts.parts;
    p.a += matrix * p.a_batch;
    p.b += matrix * p.b_batch;
    p.c += matrix * p.c_batch;
    if (p.row_bias) p.row_bias += matrix * p.bias_batch;
    if (p.residual) p.residual += matrix * p.c_batch;
    panel_from = all.row_parts.start(row_part);
    panel_to = panel_from + all.row_parts.size(row_part);
    first_row = panels.start(panel_from);
    row_count = panels.start(panel_to) - first_row;
    first_tile = all.column_parts.start(column_part);
    tiles = all.column_parts.size(column_part);
    chunks = split_evenly(tiles, all.chunk_tiles);
    b_as_it_lies = !p.trans_b && !all.packed_b && panel_to - panel_from <= 2;
  }

  // Panels of a that a task packs at a time: rows that lie side by side are read together.
  int64_t panels_together() const { return p.a_row == 1 ? smaller(panel_to - panel_from, kPanelsTogether) : 1; }
  // Few terms leave the tiles no time for planes as well as for b; then the results' prefetches begin the planes.
  bool fetches_planes() const { return p.c_pixels && p.k > kFewTerms; }
  bool regroups() const { return tasks.group_blocks < blocks.parts; }
  bool allocate() {
    const int64_t chunk = chunks.size(0) * kColumns;
    const int64_t own_terms = panels_together() * kRows * (p.a_row == 1 ? tasks.group_blocks : 1) * blocks.size(0);
    const int64_t a = tasks.packed_a || tasks.a_as_it_lies ? 0 : round_up(own_terms, 64);
    const int64_t b = tasks.packed_b ? 0 : chunk * tasks.group_blocks * blocks.size(0);
    const int64_t sums = (regroups() ? row_count : kRows) * chunk;
    own_a = static_cast<T*>(
        tasks.runtime->scratch(4, (a + b + sums) * int64_t(sizeof(T)) + tiles * int64_t(sizeof(TileColumns))));
    own_b = own_a + a;
    all_sums = own_b + b;
    columns = reinterpret_cast<TileColumns*>(all_sums + sums);
    return own_a != nullptr;
  }

  // The tile's panel of b can be read where it lies.
  bool regular(int64_t tile) const {
    return !tasks.a_as_it_lies && !p.trans_b && !p.b_pixels && columns[tile].whole && columns[tile].count == kColumns;
  }

  void run() {
    for (int64_t tile = 0; tile < tiles; tile++) columns[tile] = TileColumns::of(p, first_tile + tile);
    for (int64_t chunk = 0; chunk < chunks.parts; chunk++)
      for (int64_t group = 0; group < blocks.parts; group += tasks.group_blocks)
        pass(chunk, group, smaller(blocks.parts, group + tasks.group_blocks));
  }

  // What the pass after this one reads, perhaps that of the next task, whose columns come after these.
  ColumnsToCome<T> after(int64_t chunk, int64_t group, int64_t group_end, int64_t shares) const {
    if (tasks.packed_b) return {};
    if (group_end < blocks.parts) {
      group = group_end;
    } else if (++chunk < chunks.parts || tasks.row_parts.parts == 1) {
      group = 0;
    } else {
      return {};
    }
    const int64_t k0 = blocks.start(group),
                  depth = blocks.start(smaller(blocks.parts, group + tasks.group_blocks)) - k0,
                  tile = chunk < chunks.parts ? chunks.start(chunk) : tiles,
                  count = chunk < chunks.parts ? chunks.size(chunk) : chunks.size(0);
    return {p,
            k0,
            depth,
            (first_tile + tile) * kColumns,
            (first_tile + tile + count) * kColumns,
            shares,
            blocks.size(0) / kAheadTerms<T>};
  }

  // A chunk of tiles [first, end) and some blocks [group, group_end) of the depth.
  struct Pass {
    int64_t first, end, group, group_end;
    int64_t group_k, width;     // the blocks' first term; the tiles' columns
    ColumnsToCome<T> next;      // what the pass after this one reads
    RowsToCome<T> planes = {};  // where a panel's results are spread
    int64_t spread_column = 0;  // the first one whose planes come after them
  };
  // A row panel and a block of the depth (found out once: each division takes as long as a term of a tile).
  struct Piece {
    int64_t panel, block, row, rows, k0, depth;
    bool last;  // block of all
    T* sums;    // of the pass's first tile
    T* own_b;   // "
    int64_t sums_a_tile;
  };
  Piece piece_of(const Pass& pass, int64_t panel, int64_t block) const {
    Piece piece = {panel,
                   block,
                   panels.start(panel),
                   panels.size(panel),
                   blocks.start(block),
                   blocks.size(block),
                   block == blocks.parts - 1,
                   all_sums,
                   own_b,
                   kColumns};
    if (regroups()) piece.sums += (piece.row - first_row) * pass.width;
    if (!p.c_pixels) piece.sums_a_tile *= piece.rows;
    piece.own_b += (piece.k0 - pass.group_k) * pass.width;
    return piece;
  }

  // The panel's terms of a, packed by this task; where rows lie side by side, with its neighbours' and all terms of the
  // pass, when the first of them comes.
  const T* own_panel(const Pass& pass, const Piece& piece) const {
    if (p.a_row != 1) {
      pack_a_panels<T>(p, piece.panel, 1, piece.k0, piece.depth, own_a - piece.row * piece.depth, piece.depth,
                       piece.k0);
      return own_a;
    }
    const int64_t first = piece.panel - (piece.panel - panel_from) % panels_together(),
                  depth = blocks.start(pass.group_end) - pass.group_k;
    T* const to = own_a - panels.start(first) * depth;
    if (piece.panel == first && piece.block == pass.group)
      pack_a_panels<T>(p, first, smaller(panels_together(), panel_to - first), pass.group_k, depth, to, depth,
                       pass.group_k);
    return to + piece.row * depth + (piece.k0 - pass.group_k) * piece.rows;
  }

  // The results of this tile, or of the one after it if this one is over (at 14 cycles a term, or 6) sooner than they
  // arrive.
  void fetch_results(Ahead<T>& ahead, const Pass& pass, const Piece& piece, int64_t tile) const {
    constexpr int64_t kLongEnough = 48 * 28 / (Simd<T>::tile_rows * Simd<T>::tile_vectors);
    int64_t row = piece.row;
    if (piece.depth < kLongEnough && ++tile == pass.end) {
      tile = pass.first;
      row += piece.rows;
    }
    if (row == first_row + row_count || p.turned || fetches_planes()) return;
    const TileColumns& at = columns[tile];
    T* const image = p.c + row * p.c_row + at.image * p.c_jump;
    ahead.out_stride = p.c_row;
    if (!p.c_pixels) {
      ahead.out = image + at.rest;
    } else if (p.c_row >= kLongPlane) {
      // All tiles of the panel are spread together: each fetches a piece of what all write, from its beginning on.
      const int64_t before = kColumns * smaller(tile - pass.first, at.rest / kColumns);
      const int64_t first = p.c_pixels->place(p.c_pixels->row_of(at.rest - before));
      ahead.out = image + smaller(first + before, p.c_row - 1);
    }
  }

  // The planes that this panel's results are spread over: every second tile fetches some of their lines, if the product
  // is deep.
  bool fetch_planes(Ahead<T>& ahead, Pass& pass, const Piece& piece, int64_t tile, int64_t steps) const {
    if (!fetches_planes() || pass.group_end < blocks.parts || steps == 0 || (tile - pass.first) % 2) return false;
    if (tile == pass.first && piece.block == pass.group) {
      pass.planes = {};
      pass.spread_column = (first_tile + pass.first) * kColumns;
    }
    const int64_t end = smaller(p.n, (first_tile + pass.end) * kColumns);
    if (pass.planes.rows <= 0) {
      if (pass.spread_column >= end) return false;
      const int64_t image = pass.spread_column / p.image, rest = pass.spread_column - image * p.image;
      const int64_t count = smaller(end - pass.spread_column, p.image - rest);
      const int64_t from = p.c_pixels->place(p.c_pixels->row_of(rest)), to = p.c_pixels->end_of(rest, count);
      pass.planes = {p.c + piece.row * p.c_row + image * p.c_jump + from, piece.rows, to - from, p.c_row, 1};
      pass.planes.rows_a_tile = larger(1, steps / pass.planes.lines);
      pass.spread_column += count;
    }
    ahead.burst = ahead.apart = 1;
    pass.planes.share(ahead);
    return true;
  }

  void pass(int64_t part, int64_t group, int64_t group_end) {
    const int64_t first = chunks.start(part), count = chunks.size(part);
    const int64_t tiles_of_pass = (panel_to - panel_from) * (group_end - group) * count;
    const ColumnsToCome<T> next = after(part, group, group_end, ceil_div(tiles_of_pass, fetches_planes() ? 2 : 1));
    Pass pass = {first, first + count, group, group_end, blocks.start(group), count * kColumns, next};
    if (!tasks.packed_b) pack_irregular(pass);
    for (int64_t panel = panel_from; panel < panel_to; panel++)
      for (int64_t block = group; block < group_end; block++)
        if (tasks.a_as_it_lies)
          pass_rows(pass, piece_of(pass, panel, block));
        else
          pass_panel(pass, piece_of(pass, panel, block));
  }

  void pack_irregular(const Pass& pass) {
    for (int64_t block = pass.group; block < pass.group_end; block++) {
      const Piece piece = piece_of(pass, panel_from, block);
      for (int64_t tile = pass.first, count; tile < pass.end; tile += count) {
        for (count = 0; tile + count < pass.end && !regular(tile + count);) count++;
        if (count > 0)
          pack_b_tiles<T>(p, columns + tile, first_tile + tile, count, piece.k0, piece.depth,
                          piece.own_b + (tile - pass.first) * kColumns * piece.depth);
        count = larger(1, count);
      }
    }
  }

  const T* packed_b_of(const Piece& piece, int64_t tile) const {
    return tasks.packed_b + piece.k0 * round_up(p.n, kColumns) + (first_tile + tile) * kColumns * piece.depth;
  }

  // A panel of a as it lies, with all its tiles.
  void pass_rows(const Pass& pass, const Piece& piece) {
    const int64_t rows = piece.rows, depth = piece.depth;
    const bool next_panel = piece.block == pass.group_end - 1;
    const int64_t next_row = next_panel ? piece.row + rows : piece.row;
    const int64_t next_block = next_panel ? pass.group : piece.block + 1;
    RowsToCome<T> next;
    if (next_row < first_row + row_count)
      next = {p.a + next_row * p.a_row + blocks.start(next_block), rows, blocks.size(next_block), p.a_row,
              pass.end - pass.first};
    for (int64_t tile = pass.first; tile < pass.end; tile++) {
      const TileColumns& at = columns[tile];
      T* const sum = piece.sums + (tile - pass.first) * piece.sums_a_tile;
      const T* const b =
          tasks.packed_b ? packed_b_of(piece, tile) : piece.own_b + (tile - pass.first) * kColumns * depth;
      Ahead<T> ahead;
      next.share(ahead);
      Tiles<T>::template find_rows<kRows>(rows, at.count <= Simd<T>::lanes)(
          depth, p.a + piece.row * p.a_row + piece.k0, p.a_row, b, ahead, end_of(tile, piece, sum, kColumns));
      if (piece.last) finish(at, piece.row, rows, sum);
    }
  }

  // A packed panel of a with all its tiles, which fetch the next one.
  void pass_panel(Pass& pass, const Piece& piece) {
    const int64_t rows = piece.rows, depth = piece.depth;
    const T* a = own_a;
    const T* next = nullptr;
    int64_t next_size = 0;
    if (tasks.packed_a) {
      a = tasks.packed_a + piece.row * p.k + piece.k0 * rows;
      const bool next_panel = piece.block == pass.group_end - 1;
      if (!next_panel || piece.panel + 1 < panel_to) {
        const int64_t next_block = next_panel ? pass.group : piece.block + 1;
        const int64_t next_row = next_panel ? piece.row + rows : piece.row;
        const int64_t next_rows = next_panel ? panels.size(piece.panel + 1) : rows;
        next = tasks.packed_a + next_row * p.k + blocks.start(next_block) * next_rows;
        next_size = next_rows * blocks.size(next_block);
      }
    } else {
      a = own_panel(pass, piece);
    }
    const int64_t share = ceil_div(next_size, pass.end - pass.first), steps = depth / kAheadTerms<T>;
    const auto full_tile = Tiles<T>::template find_prefetching<kRows>(rows, false);
    const auto narrow_tile = Tiles<T>::template find_prefetching<kRows>(rows, true);
    const auto copying_tile = Tiles<T>::template find_copying<kRows>(rows);
    pass.next.pace(steps, rows * kColumns * int64_t(sizeof(T)) <= 12 * 64 ? 0 : rows);
    Ahead<T> ahead;
    ahead.step = next ? ceil_div(share, larger(1, steps)) : 0;
    for (int64_t tile = pass.first; tile < pass.end; tile++) {
      const TileColumns& at = columns[tile];
      T* const sum = piece.sums + (tile - pass.first) * piece.sums_a_tile;
      T* const own = piece.own_b + (tile - pass.first) * kColumns * depth;
      const TileEnd<T> end = end_of(tile, piece, sum, p.c_pixels ? pass.width : kColumns);
      ahead.line = next ? next + (tile - pass.first) * share : nullptr;
      const bool planes = fetch_planes(ahead, pass, piece, tile, steps);
      if (!planes) pass.next.share(ahead);
      if (piece.last) fetch_results(ahead, pass, piece, tile);
      if (tasks.packed_b || !regular(tile)) {
        const T* const b = tasks.packed_b ? packed_b_of(piece, tile) : own;
        (at.count <= Simd<T>::lanes ? narrow_tile : full_tile)(depth, a, b, panel_width<T>(at.count), ahead, end);
      } else {
        const T* const there = p.b + piece.k0 * p.b_term + at.image * p.b_jump + at.rest;
        if (b_as_it_lies)
          full_tile(depth, a, there, p.b_term, ahead, end);
        else if (piece.panel == panel_from)
          copying_tile(depth, a, there, p.b_term, own, ahead, end);
        else
          full_tile(depth, a, own, kColumns, ahead, end);
      }
      if (!planes) pass.next.go_on(ahead);
      if (piece.last) finish(at, piece.row, rows, sum);
    }
    if (p.c_pixels && piece.last) spread(pass.first, pass.end, piece.row, rows, piece.sums);
  }

  // Where the tile's sums go after this block.
  XCORR_MEMBER TileEnd<T> end_of(int64_t tile, const Piece& piece, T* sum, int64_t stride) const {
    const TileColumns& at = columns[tile];
    const int64_t row = piece.row;
    TileEnd<T> end = {sum, stride, panel_width<T>(at.count), piece.block > 0 ? sum : nullptr, stride};
    if (!piece.last || !at.whole || p.turned || p.c_pixels) return end;
    end.c = p.c + row * p.c_row + at.image * p.c_jump + at.rest;
    end.c_stride = p.c_row;
    end.columns = at.count;
    end.row_bias = p.row_bias ? p.row_bias + row : nullptr;
    end.column_bias = p.column_bias ? p.column_bias + at.rest : nullptr;
    end.residual = p.residual ? p.residual + (end.c - p.c) : nullptr;
    end.activation = p.activation;
    if (end.residual && !end.partial && !end.row_bias && !end.column_bias) {
      end.partial = end.residual;  // the same sum, straight from registers
      end.partial_stride = p.c_row;
      end.residual = nullptr;
    }
    return end;
  }

  // The places of a finished tile's sums, if they are not those of its rows.
  void finish(const TileColumns& at, int64_t row, int64_t rows, const T* sum) const {
    if (p.turned) return finish_turned(at, row, rows, sum);
    if (at.whole || p.c_pixels) return;
    at.each(p.image, [&](int64_t j, int64_t n, int64_t rest, int64_t length) {
      T* const c = p.c + row * p.c_row + n * p.c_jump + rest;
      finish_tile<T>(sum + j, kColumns, rows,
                     {c, p.c_row, length, nullptr, 0, p.row_bias ? p.row_bias + row : nullptr, nullptr,
                      p.residual ? p.residual + (c - p.c) : nullptr, p.activation});
    });
  }
  // The sums of a panel's tiles, which lie side by side, to their pixels.
  void spread(int64_t chunk, int64_t chunk_end, int64_t row, int64_t rows, const T* sums) const {
    const int64_t width = (chunk_end - chunk) * kColumns, first = (first_tile + chunk) * kColumns;
    TileColumns all = columns[chunk];
    all.count = smaller(width, p.n - first);
    all.each(p.image, [&](int64_t j, int64_t n, int64_t rest, int64_t length) {
      const auto at = p.c_pixels->row_of(rest);
      for (int64_t m = row; m < row + rows; m++)
        p.c_pixels->spread(sums + (m - row) * width + j, at, length, p.row_bias ? p.row_bias[m] : T(0),
                           p.c + m * p.c_row + n * p.c_jump);
    });
  }
  void finish_turned(const TileColumns& at, int64_t row, int64_t rows, const T* sum) const {
    constexpr int64_t kStride = (kRows + Simd<T>::lanes - 1) / Simd<T>::lanes * Simd<T>::lanes;
    alignas(64) T turned[kColumns * kStride];
    transpose_matrix<T>(sum, kColumns, rows, at.count, turned, kStride, rows);
    T* const c = p.c + at.rest * p.c_row + row;
    finish_tile<T>(
        turned, kStride, at.count,
        {c, p.c_row, rows, nullptr, 0, p.column_bias ? p.column_bias + at.rest : nullptr,
         p.row_bias ? p.row_bias + row : nullptr, p.residual ? p.residual + (c - p.c) : nullptr, p.activation});
  }
};

}  // namespace
}  // namespace xcorr
