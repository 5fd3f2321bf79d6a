// Vectors of Winograd's tiles whose pixels lie in whole rows: read and written where they lie, without gathers, copies
// and masks.
//
// A row of the tiles' samples is kStep vectors of adjacent pixels, kStep pixels a tile; a row of their outputs kWritten
// vectors. Each vector is one run of pixels, or two of half the length. What a tile shares with its neighbours in the
// row is their pixel, a lane further.
#pragma once
#include "conv_plan.inl"
#include "lines_to_come.inl"

namespace xcorr {
namespace {

alignas(64) constexpr float kZeroPixels[Simd<float>::lanes] = {};

enum class Runs { none, whole, halves };
// Rows of `width` pixels, in tiles whose rows make up vectors: as vectors.
XCORR_INLINE Runs runs_of(int64_t width, int64_t tiles_w) {
  constexpr int64_t kLanes = Simd<float>::lanes;
  if (width * 2 == kLanes) return Runs::halves;
  return width % kLanes == 0 && kLanes % tiles_w == 0 ? Runs::whole : Runs::none;
}

// The tiles of a convolution, and the planes that they read and write.
struct TileGrid {
  int64_t tiles_h, tiles_w, tiles;
  int64_t offset_h;  // first row that tile 0 reads
  int64_t source_h, source_w, x_image;
  int64_t size_h, size_w, y_image;
};

template <int kStep, int kRead, int kWritten>
struct TileRows {
  static constexpr int kLanes = Simd<float>::lanes;

  // Bytes from the first image's first channel, or of no place.
  struct Place {
    int64_t bytes, exists;  // -1, or 0: then zeros are read
  };
  alignas(64) int32_t before[kLanes], after[kLanes];  // -1 where a tile has a neighbour in its row
  Place place[kRead][kStep][2];
  int64_t to[kWritten][2],
      rows[kWritten][2];  // the first output, from the first image's first channel; rows that exist

  // For the tiles from `first` on; images are counted from `first_image`. Lane l holds tile l, or with `turned` the one
  // that transposes of blocks of kStep x kStep put there.
  void locate(const TileGrid& grid, Runs reads, Runs writes, int64_t first, int64_t first_image, bool turned) {
    // Divisions of 32 bits, which are quicker: this is done for every vector of tiles.
    const uint32_t an_image = uint32_t(grid.tiles_h * grid.tiles_w), tiles_w = uint32_t(grid.tiles_w);
    const int64_t image_of_first = first / an_image;
    const uint32_t first_of_image = uint32_t(first % an_image);
    for (int l = 0; l < kLanes; l++) {
      const uint32_t column =
          (first_of_image + uint32_t(turned ? l % kStep * (kLanes / kStep) + l / kStep : l)) % tiles_w;
      before[l] = -int32_t(column > 0);
      after[l] = -int32_t(column < tiles_w - 1);
    }
    // Tile first + `tile`: its image, row and column of tiles.
    struct Found {
      int64_t image, row, column;
    };
    const auto find = [&](int tile) __attribute__((always_inline)) {
      const uint32_t i = first_of_image + uint32_t(tile);
      return Found{image_of_first - first_image + i / an_image, i % an_image / tiles_w, i % tiles_w};
    };
    const int read_runs = reads == Runs::halves ? 2 : 1, write_runs = writes == Runs::halves ? 2 : 1;
    for (int p = 0; p < kStep; p++)
      for (int r = 0; r < read_runs; r++) {
        const int tile = (p * read_runs + r) * (kLanes / kStep / read_runs);
        const Found at = find(tile);
        const int64_t top = at.row * kStep + grid.offset_h, rows_left = first + tile < grid.tiles ? grid.source_h : 0;
        const int64_t from = at.image * grid.x_image + top * grid.source_w + at.column * kStep;
        for (int i = 0; i < kRead; i++)
          place[i][p][r] = {(from + i * grid.source_w) * int64_t(sizeof(float)),
                            -int64_t(top + i >= 0 && top + i < rows_left)};
      }
    for (int p = 0; p < kWritten; p++)
      for (int r = 0; r < write_runs; r++) {
        const int tile = (p * write_runs + r) * (kLanes / kWritten / write_runs);
        const Found at = find(tile);
        to[p][r] = at.image * grid.y_image + at.row * kWritten * grid.size_w + at.column * kWritten;
        rows[p][r] = first + tile < grid.tiles ? smaller(kWritten, grid.size_h - at.row * kWritten) : 0;
      }
  }

  // Pixels of row i of the samples, of a channel whose plane of the first image is at x.
  template <bool kHalves>
  XCORR_MEMBER void read(const float* x, int i, VectorF32 (&pixels)[kStep]) const {
#pragma GCC unroll 4
    for (int p = 0; p < kStep; p++)
      pixels[p] =
          kHalves ? load_halves<kLanes>(at(place[i][p][0], x), at(place[i][p][1], x)) : load(at(place[i][p][0], x));
  }

  // Row i of the outputs, to a channel whose plane of the first image is at y: finish(pixels, low, high) is what is
  // stored at a place, or at two in halves.
  template <class Finish>
  XCORR_MEMBER void write(const VectorF32 (&pixels)[kWritten], int i, Runs runs, float* y, int64_t width,
                          const Finish& finish) const {
#pragma GCC unroll 4
    for (int p = 0; p < kWritten; p++) {
      const int64_t low = to[p][0] + i * width, high = to[p][1] + i * width;
      if (runs == Runs::whole) {
        if (i < rows[p][0]) store(y + low, finish(pixels[p], low, low + kLanes / 2));
      } else if (i < rows[p][1]) {
        // The first run may be an image's last tiles, of which fewer rows exist: then its half goes nowhere.
        alignas(64) float nowhere[kLanes];
        const bool both = i < rows[p][0];
        store_halves<kLanes>(both ? y + low : nowhere, y + high, finish(pixels[p], both ? low : high, high));
      } else if (i < rows[p][0]) {
        store_partial(y + low, finish(pixels[p], low, low), kLanes / 2);
      }
    }
  }

  // The pixels that tiles [first, end) read, of channels whose first image's first plane is at x; that they write, at
  // y.
  static void add_read(const TileGrid& grid, int64_t first, int64_t end, const float* x, int64_t channels,
                       LinesToCome& ahead) {
    const int64_t an_image = grid.tiles_h * grid.tiles_w;
    for (int64_t tile = first, next; tile < end; tile = next) {
      next = smaller(end, (tile / an_image + 1) * an_image);
      const int64_t top = tile % an_image / grid.tiles_w * kStep + grid.offset_h;
      const int64_t bottom = (next - 1) % an_image / grid.tiles_w * kStep + grid.offset_h + kRead;
      const int64_t row = larger(0, top), rows_read = smaller(bottom, grid.source_h) - row;
      ahead.add(x + tile / an_image * grid.x_image + row * grid.source_w, grid.source_h * grid.source_w, channels,
                rows_read * grid.source_w);
    }
  }
  static void add_written(const TileGrid& grid, int64_t first, int64_t end, const float* y, int64_t channels,
                          LinesToCome& ahead) {
    const int64_t an_image = grid.tiles_h * grid.tiles_w;
    for (int64_t tile = first, next; tile < end; tile = next) {
      next = smaller(end, (tile / an_image + 1) * an_image);
      const int64_t top = tile % an_image / grid.tiles_w * kWritten;
      const int64_t bottom = smaller(grid.size_h, ((next - 1) % an_image / grid.tiles_w + 1) * kWritten);
      ahead.add(y + tile / an_image * grid.y_image + top * grid.size_w, grid.size_h * grid.size_w, channels,
                (bottom - top) * grid.size_w);
    }
  }

 private:
  XCORR_MEMBER static const float* at(const Place& p, const float* x) {
    const uintptr_t zeros = uintptr_t(kZeroPixels);
    return reinterpret_cast<const float*>(zeros + ((uintptr_t(x) - zeros + uintptr_t(p.bytes)) & uintptr_t(p.exists)));
  }
};

}  // namespace
}  // namespace xcorr
