// What a product's tiles fetch from far away while they multiply: columns of b that come next, and the lines of c that
// are about to be written.
//
// Neither arrives by itself: both lie in short pieces of many rows, more than the hardware follows, and a row of c that
// is stored to without its line at hand stalls the core for the time of a read. 64>256@56 out of memory took 1.4 times
// as long as out of the third-level cache.
#pragma once
#include "product_pack.inl"

namespace xcorr {
namespace {

// Rows of an operand, handed out whole, in equal shares, to tiles that read theirs where they lie.
template <class T>
struct RowsToCome {
  static constexpr int64_t kLine = 64 / sizeof(T);
  const T* next = nullptr;
  int64_t rows = 0, rows_a_tile = 0, lines = 1, stride = 0;

  static int64_t lines_of(const T* first, int64_t elements, int64_t stride) {
    const int64_t before = int64_t(reinterpret_cast<uintptr_t>(first) / sizeof(T)) % kLine;
    return ceil_div(before + elements, kLine) + (stride % kLine != 0);
  }
  RowsToCome() = default;
  RowsToCome(const T* first, int64_t rows_, int64_t elements, int64_t stride_, int64_t tiles)
      : next(first),
        rows(rows_),
        rows_a_tile(ceil_div(rows_, larger(1, tiles))),
        lines(lines_of(first, elements, stride_)),
        stride(stride_) {}
  void share(Ahead<T>& ahead) {
    if (rows <= 0) return;
    ahead.row = next;
    ahead.left = ahead.lines = lines;
    ahead.jump = stride;
    ahead.due = smaller(rows, rows_a_tile) * lines;
    next += rows_a_tile * stride;
    rows -= rows_a_tile;
  }
};

// A range of b's terms and columns, handed out line by line to the tiles of a pass: image by image, row by row.
template <class T>
class ColumnsToCome {
 public:
  ColumnsToCome() = default;
  // Terms [k0, k0 + depth) of columns [first, end), to tiles that have so many steps each.
  ColumnsToCome(const Product<T>& product, int64_t k0, int64_t depth_, int64_t first, int64_t end, int64_t tiles,
                int64_t steps)
      : p(&product), column(first), end_column(end), term(k0), depth(depth_) {
    int64_t lines = 0, parts = 0;
    if (p->b_pixels) {
      // A line for as many pixels as it would hold if all counted: short rows of few terms would else come in bursts.
      lines = depth * ceil_div(larger(0, smaller(end, p->n) - first), kLine);
    } else {
      for (; next_part(); parts++) lines += left_in_part;
    }
    column = first;
    left_in_part = 0;
    lines_a_tile = ceil_div(lines, larger(1, tiles));
    // A tile's share ends with a part; several lines a step are more than enough.
    if (lines_a_tile < steps) lines_a_tile += ceil_div(parts * lines_a_tile, 2 * larger(1, tiles));
  }

  // The pace of tiles that have so many steps, and so many rows of results to fetch in the first of them: as even as
  // may be, but every second step at most if that is enough, and often enough that branches are foreseen.
  XCORR_MEMBER void pace(int64_t steps, int64_t rows) {
    if (steps == paced_steps && rows == paced_rows) return;
    paced_steps = steps;
    paced_rows = rows;
    burst = 0;
    if (steps == 0 || lines_a_tile == 0) return;
    const bool often = steps < 2 * rows || lines_a_tile > steps;
    const int64_t left = often ? steps : steps - rows;
    apart = often ? 1 : smaller(kFarApart, larger(2, left / lines_a_tile));
    burst = ceil_div(lines_a_tile * apart, left);
    least = left / apart;
  }
  // What the next tile fetches.
  XCORR_MEMBER void share(Ahead<T>& ahead) {
    ahead.row = nullptr;
    ahead.burst = 1;
    ahead.apart = kNever;
    due += lines_a_tile;
    if (burst == 0 || (burst == 1 && 2 * due < least) || (left_in_part <= 0 && !next_part())) return;
    ahead.row = part.row;
    ahead.left = part.left;
    ahead.lines = part.lines;
    ahead.jump = part.jump;
    ahead.burst = burst == 1 || 2 * due > lines_a_tile ? burst : burst - 1;
    ahead.apart = apart;
  }
  // After it was given its share.
  XCORR_MEMBER void go_on(const Ahead<T>& ahead) {
    if (!ahead.row) return;
    part.row = ahead.row;
    part.left = ahead.left;
    left_in_part -= ahead.fetched;
    due -= ahead.fetched;
  }

 private:
  static constexpr int64_t kLine = 64 / sizeof(T), kFarApart = 8, kNever = int64_t(1) << 32;
  const Product<T>* p = nullptr;
  int64_t column = 0, end_column = 0, term = 0, depth = 0;  // what comes after the part at hand
  Ahead<T> part;
  int64_t left_in_part = 0, lines_a_tile = 0, due = 0;  // lines
  int64_t burst = 0, apart = 1, least = 0;              // of a tile that fetches at all
  int64_t paced_steps = 0, paced_rows = 0;

  void start_part(const T* first, int64_t rows, int64_t elements, int64_t stride) {
    part.row = first;
    part.left = part.lines = RowsToCome<T>::lines_of(first, elements, stride);
    part.jump = stride;
    left_in_part = rows * part.lines;
  }
  // The columns of the next image, or of the next row of pixels.
  bool next_part() {
    const int64_t rest_columns = p ? smaller(end_column, p->n) - column : 0;
    if (rest_columns <= 0) return false;
    int64_t count = rest_columns;
    if (p->trans_b) {
      start_part(p->b + column * p->b_term + term, count, depth, p->b_term);
    } else {
      const int64_t image = column / p->image, rest = column - image * p->image;
      int64_t place = rest, length;
      if (p->b_pixels) {
        const auto row = p->b_pixels->row_of(rest);
        count = smaller(count, p->b_pixels->out[2] - row.w);
        place = p->b_pixels->place(row);
        length = count * p->b_pixels->stride[2];
      } else {
        length = count = smaller(count, p->image - rest);
      }
      start_part(p->b + term * p->b_term + image * p->b_jump + place, depth, length, p->b_term);
    }
    column += count;
    return true;
  }
};

}  // namespace
}  // namespace xcorr
