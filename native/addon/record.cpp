#include "record.h"

#include <string.h>

#include "../runtime/room.h"

namespace xcorr {

namespace {

bool is_kernel(double number) { return number >= 0 && number < int(kKernels) && number == (int)number; }

// The memory behind the operands.
bool read_kept(const Environment& environment, const double* place, Record* record, Text* error) {
  const double id = place[0], offset = place[1];
  const int64_t blocks = (int64_t)environment.blocks.size();
  const bool there = id >= 0 && id < (double)blocks && id == (double)(int64_t)id && environment.blocks[(int64_t)id];
  Block* const block = there ? environment.blocks[(int64_t)id] : nullptr;
  const bool inside = there && offset >= 0 && offset <= (double)block->bytes && offset == (double)(int64_t)offset;
  if (!inside || reinterpret_cast<uintptr_t>(block->data + (int64_t)offset) % 64) {
    error->print("%s: kept memory at byte %g of block %g is not registered, or not aligned to 64 bytes",
                 kKernel[record->call.kernel].name, offset, id);
    return false;
  }
  record->blocks[record->named - 1] = block;
  record->kept = {block->data + (int64_t)offset, block->bytes - (int64_t)offset};
  return true;
}

bool is_step(int kernel) {
  return kernel == k_sgd_step || kernel == k_adam_step || kernel == k_rmsprop_step || kernel == k_adagrad_step ||
         kernel == k_nadam_step;
}

// Whether a call writes operand `i`: what the contract says, and the optional buffers of optimisers.
bool is_written(int kernel, int i) { return kKernel[kernel].parameter[i].written() || (i >= 2 && is_step(kernel)); }

// Whether the elements of operand `in` are those of the written operand `out`, one for one, and the kernel reads each
// before it writes it (abi.h): the only way in which operands may share memory.
bool in_place(const Record& record, int in, int out) {
  const Region &reads = record.call.region[in], &writes = record.call.region[out];
  const bool same = record.operands[in] == record.operands[out] && reads.element_bytes == writes.element_bytes &&
                    reads.low == writes.low && reads.high == writes.high;
  const int kernel = record.call.kernel;
  if (!same || is_written(kernel, in)) return false;
  if (kernel == k_unary || is_step(kernel)) return true;
  if (kernel != k_binary) return false;
  BinarySizes s;
  memcpy(&s, record.call.sizes, sizeof s);
  const int64_t* stride = in == 0 ? s.a_stride : s.b_stride;
  int64_t step = 1;
  for (int64_t i = s.rank - 1; i >= 0; step *= s.shape[i--])
    if (s.shape[i] != 1 && stride[i] != step) return false;
  return true;
}

bool apart(const void* a, const Region& x, const void* b, const Region& y) {
  const unsigned char *p = static_cast<const unsigned char*>(a), *q = static_cast<const unsigned char*>(b);
  return p + x.high <= q + y.low || q + y.high <= p + x.low || x.low == x.high || y.low == y.high;
}

// Kernels write while they still read, on several threads, so nothing that is written may lie in another operand.
bool check_overlaps(const Record& record, Text* error) {
  const Kernel& kernel = kKernel[record.call.kernel];
  for (int i = 0; i < kernel.parameters; i++) {
    if (!record.operands[i]) continue;
    if (record.keeps &&
        !apart(record.operands[i], record.call.region[i], record.kept.memory, {1, 0, record.kept.bytes})) {
      error->print("%s: operand %s lies in the memory where the call keeps its weights", kernel.name,
                   kernel.parameter[i].name);
      return false;
    }
    if (!is_written(record.call.kernel, i)) continue;
    for (int j = 0; j < kernel.parameters; j++) {
      if (j == i || !record.operands[j] ||
          apart(record.operands[i], record.call.region[i], record.operands[j], record.call.region[j]) ||
          in_place(record, j, i))
        continue;
      error->print("%s: operand %s lies in the memory of %s, which is written; copy it first", kernel.name,
                   kernel.parameter[j].name, kernel.parameter[i].name);
      return false;
    }
  }
  return true;
}

}  // namespace

int64_t read_record(const Environment& environment, const double* numbers, int64_t length, Record* record,
                    Text* error) {
  if (length < kHeader) {
    error->print("a call of %lld numbers has no header", (long long)length);
    return 0;
  }
  const double slots = numbers[2], parameters = numbers[3];
  if (!(slots >= 0 && slots <= kMostSlots && parameters >= 0 && parameters <= kMostParameters + 1) ||
      slots != (int)slots || parameters != (int)parameters) {
    error->print("no kernel takes %g sizes and %g operands", slots, parameters);
    return 0;
  }
  const int count = (int)parameters;
  const int64_t used = kHeader + (int64_t)slots + 2 * count;
  if (used > length) {
    error->print("a call of %lld numbers ends after %lld", (long long)used, (long long)length);
    return 0;
  }
  const double* sizes = numbers + kHeader;
  const double* places = sizes + (int)slots;
  bool given[kMostParameters + 1] = {};
  for (int i = 0; i < count; i++) given[i] = places[2 * i] != -1;
  record->keeps = is_kernel(numbers[0]) && count == kKernel[(int)numbers[0]].parameters + 1;
  const int operands = record->keeps ? count - 1 : count;
  if (!decode(numbers[0], numbers[1], sizes, slots, operands, given, &record->call, error)) return 0;

  record->named = count;
  if (record->keeps && !read_kept(environment, places + 2 * operands, record, error)) return 0;
  for (int i = 0; i < operands; i++) {
    record->operands[i] = nullptr;
    record->blocks[i] = nullptr;
    if (!given[i]) continue;
    const double id = places[2 * i], offset = places[2 * i + 1];
    const Region& region = record->call.region[i];
    const char* kernel = kKernel[record->call.kernel].name;
    const char* name = kKernel[record->call.kernel].parameter[i].name;
    const int64_t blocks = (int64_t)environment.blocks.size();
    if (!(id >= 0 && id < (double)blocks) || id != (double)(int64_t)id || !environment.blocks[(int64_t)id]) {
      error->print("%s: operand %s names block %g, which is not registered", kernel, name, id);
      return 0;
    }
    Block* block = environment.blocks[(int64_t)id];
    if (!(offset >= 0 && offset <= (double)block->bytes) || offset != (double)(int64_t)offset) {
      error->print("%s: operand %s starts at byte %g of a block of %lld", kernel, name, offset,
                   (long long)block->bytes);
      return 0;
    }
    const int64_t start = (int64_t)offset;
    if (start + region.low < 0 || start + region.high > block->bytes) {
      error->print("%s: operand %s reaches from byte %lld to %lld of a block of %lld", kernel, name,
                   (long long)(start + region.low), (long long)(start + region.high), (long long)block->bytes);
      return 0;
    }
    unsigned char* first = block->data + start;
    if (reinterpret_cast<uintptr_t>(first) % (unsigned)region.element_bytes) {
      error->print("%s: operand %s at byte %lld is not aligned to its elements", kernel, name, (long long)start);
      return 0;
    }
    record->operands[i] = first;
    record->blocks[i] = block;
  }
  return check_overlaps(*record, error) ? used : 0;
}

bool read_records(const Environment& environment, const double* numbers, int64_t length, std::vector<Record>* records,
                  Text* error) {
  constexpr int64_t kShortest = kHeader + 2;
  records->reserve(length / kShortest < 64 ? length / kShortest : 64);
  for (int64_t at = 0; at < length;) {
    const double announced = numbers[at++];
    if (records->size() == records->capacity() && !room_for(2 * (int64_t)records->size() * (int64_t)sizeof(Record))) {
      error->print("the system has no memory for more than %lld records", (long long)records->size());
      return false;
    }
    Record& record = records->emplace_back();
    Text wrong;
    int64_t used = 0;
    if (!(announced >= 0 && announced <= (double)(length - at)))
      wrong.print("%g numbers announced where %lld are left", announced, (long long)(length - at));
    else if ((used = read_record(environment, numbers + at, (int64_t)announced, &record, &wrong)) &&
             (double)used != announced)
      wrong.print("%lld numbers, announced as %g", (long long)used, announced);
    if (wrong.size() > 0) {
      error->print("record %lld: %s", (long long)records->size() - 1, wrong.c_str());
      return false;
    }
    at += used;
  }
  return true;
}

}  // namespace xcorr
