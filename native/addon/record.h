// A call as doubles, the form in which TypeScript passes it:
//
//   [0] kernel number (its line in abi.h)   [1] element type   [2] number of sizes   [3] number of operands
//   sizes, flat, in the order of abi.h, then per operand: block id (-1: not given), byte offset in the block
//
// One operand more than the kernel has is the memory in which it keeps what it makes of its constant operands (Kept in
// abi.h): all of the block from the offset on.
#pragma once

#include "environment.h"

namespace xcorr {

constexpr int kHeader = 4;

struct Record {
  Record() {}  // left as it is: read_record fills what counts
  Call call;
  void* operands[kMostParameters];
  int named;                           // how many of `blocks` count
  Block* blocks[kMostParameters + 1];  // of the operands, null where not given, and of what is kept
  bool keeps;
  Kept kept;
};

// Decodes the record in numbers[0, length) and checks everything that a kernel relies on: abi.h's rules (checks.h) and
// that each operand's elements lie in its block, aligned. Doubles of the record, or 0 after printing what is wrong.
int64_t read_record(const Environment& environment, const double* numbers, int64_t length, Record* record, Text* error);

// The records of a program in numbers[0, length): each its length, then itself. False after printing what is wrong.
bool read_records(const Environment& environment, const double* numbers, int64_t length, std::vector<Record>* records,
                  Text* error);

}  // namespace xcorr
