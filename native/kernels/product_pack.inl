// The operands of a blocked product, and how they are packed into panels for the register tiles.
#pragma once
#include "strided_pixels.inl"

namespace xcorr {
namespace {

template <class T>
struct Product {
  int64_t batch, m, n, k;
  const T* a;  // element (row, term) at row * a_row + term * a_term; one of the two is 1
  int64_t a_row, a_term, a_batch;
  const T* b;  // element (term, column) at term * b_term + column, or with trans_b at column * b_term + term
  int64_t b_term, b_batch;
  bool trans_b;
  T* c;
  int64_t c_row, c_batch;
  bool turned;                                 // c is stored transposed: c_row is the distance of its columns
  int64_t image, b_jump, c_jump;               // columns an image; image = n: all in one (the only form with trans_b)
  const T *row_bias, *column_bias, *residual;  // the residual lies like c, and may be c itself
  int64_t bias_batch;                          // of the row bias
  int64_t activation;
  const StridedPixels<T>*b_pixels, *c_pixels;  // null, or an image's columns are these pixels of b's or c's planes
};

// Panels [first, first + count) of a's rows and terms [k0, k0 + depth), a panel as [depth][rows] at to + its first row
// * to_row + (k0 - first_term) * its rows.
constexpr int64_t kPanelsTogether = 16;
template <class T>
void pack_a_panels(const Product<T>& p, int64_t first, int64_t count, int64_t k0, int64_t depth, T* to, int64_t to_row,
                   int64_t first_term = 0) {
  const Split panels = row_panels<T>(p.m);
  const auto place = [&](int64_t panel) {
    return to + panels.start(panel) * to_row + (k0 - first_term) * panels.size(panel);
  };
  if (p.a_row != 1) {
    for (int64_t panel = first; panel < first + count; panel++)
      transpose_matrix<T>(p.a + panels.start(panel) * p.a_row + k0 * p.a_term, p.a_row, panels.size(panel), depth,
                          place(panel), panels.size(panel), panels.size(panel));
    return;
  }
  // Term by term through several panels: the rows of one would be read at a fraction of the speed.
  for (int64_t panel = first; panel < first + count; panel += kPanelsTogether) {
    const int64_t together = smaller(kPanelsTogether, first + count - panel);
    T* out[kPanelsTogether];
    int64_t rows[kPanelsTogether];
    for (int64_t i = 0; i < together; i++) {
      out[i] = place(panel + i);
      rows[i] = panels.size(panel + i);
    }
    for (int64_t k = 0; k < depth; k++) {
      const T* from = p.a + panels.start(panel) + (k0 + k) * p.a_term;
      for (int64_t i = 0; i < together; from += rows[i++])
        copy_rows<T>(from, 0, 1, rows[i], out[i] + k * rows[i], 0, rows[i]);
    }
  }
}

template <class T>
XCORR_INLINE int64_t panel_width(int64_t columns) {
  return columns <= Simd<T>::lanes ? Simd<T>::lanes : kTileColumns<T>;
}

// Where the columns of a register tile lie.
struct TileColumns {
  int64_t image, rest, count;  // starts at column `rest` of the image
  bool whole;                  // within it
  template <class T>
  static TileColumns of(const Product<T>& p, int64_t tile) {
    const int64_t first = tile * kTileColumns<T>, count = smaller(kTileColumns<T>, p.n - first);
    const int64_t image = p.image == p.n ? 0 : first / p.image, rest = first - image * p.image;
    return {image, rest, count, rest + count <= p.image};
  }
  // body(column in the tile, image, column in the image, count) for each image's part.
  template <class Body>
  XCORR_MEMBER void each(int64_t size, const Body& body) const {
    int64_t n = image, from = rest;
    for (int64_t at = 0; at < count; n++, from = 0) {
      const int64_t length = smaller(size - from, count - at);
      body(at, n, from, length);
      at += length;
    }
  }
};

// Terms [k0, k0 + depth) of the tiles' columns as panels [depth][width], kTileColumns * depth elements apart, zeros
// beyond the last column. Row by row through all tiles, because short pieces of many rows would be read at a fraction
// of the speed.
template <class T>
void pack_strided_tiles(const Product<T>& p, const TileColumns* columns, int64_t tiles, int64_t k0, int64_t depth,
                        T* to) {
  constexpr int64_t kColumns = kTileColumns<T>, kLanes = Simd<T>::lanes, kMost = PixelGather<T>::kMost;
  constexpr int64_t kTogether = 4;  // channels, so that nothing is read just after it was written
  alignas(64) T lines[kTogether][kMost + kLanes];
  for (int64_t first = 0, several; first < tiles; first += several) {
    several = smaller(kMost / kColumns, tiles - first);
    PixelGather<T> pixels(*p.b_pixels);
    for (int64_t tile = first; tile < first + several; tile++)
      columns[tile].each(p.image, [&](int64_t, int64_t n, int64_t rest, int64_t length) {
        pixels.add(*p.b_pixels, rest, length, n * p.b_jump);
      });
    for (int64_t k = 0; k < depth; k += kTogether) {
      const int64_t together = smaller(kTogether, depth - k);
      for (int64_t i = 0; i < together; i++)
        pixels.gather(p.b + (k0 + k + i) * p.b_term, lines[i], k + kTogether < depth ? kTogether * p.b_term : 0);
      for (int64_t i = 0; i < together; i++)
        for (int64_t tile = first; tile < first + several; tile++) {
          const int64_t width = panel_width<T>(columns[tile].count);
          T* const out = to + tile * kColumns * depth + (k + i) * width;
          copy_rows<T>(lines[i] + (tile - first) * kColumns, 0, 1, columns[tile].count, out, 0, width);
        }
    }
  }
}
template <class T>
void pack_b_tiles(const Product<T>& p, const TileColumns* columns, int64_t first_tile, int64_t tiles, int64_t k0,
                  int64_t depth, T* to) {
  constexpr int64_t kColumns = kTileColumns<T>, kLanes = Simd<T>::lanes;
  if (p.b_pixels) return pack_strided_tiles(p, columns, tiles, k0, depth, to);
  if (p.trans_b) {
    for (int64_t tile = 0; tile < tiles; tile++, to += kColumns * depth) {
      const int64_t width = panel_width<T>(columns[tile].count);
      transpose_matrix<T>(p.b + (first_tile + tile) * kColumns * p.b_term + k0, p.b_term, columns[tile].count, depth,
                          to, width, width);
    }
    return;
  }
  for (int64_t k = 0; k < depth; k++) {
    const T* const from = p.b + (k0 + k) * p.b_term;
    for (int64_t tile = 0; tile < tiles; tile++) {
      const TileColumns& at = columns[tile];
      if (at.whole && at.count == kColumns) {
        const T* const x = from + at.image * p.b_jump + at.rest;
        T* const out = to + tile * kColumns * depth + k * kColumns;
        for (int64_t v = 0; v < kColumns; v += kLanes) store(out + v, load(x + v));
        continue;
      }
      const int64_t width = panel_width<T>(at.count);
      T* const out = to + tile * kColumns * depth + k * width;
      for (int64_t v = at.count / kLanes * kLanes; v < width; v += kLanes) store(out + v, splat<T>(0));
      at.each(p.image, [&](int64_t j, int64_t n, int64_t rest, int64_t length) {
        const T* const x = from + n * p.b_jump + rest;
        for (int64_t v = 0; v < length; v += kLanes) {
          const int count = int(smaller(kLanes, length - v));
          store_partial(out + j + v, load_partial(x + v, count), count);
        }
      });
    }
  }
}

}  // namespace
}  // namespace xcorr
