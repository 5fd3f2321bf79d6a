// Compiled once per instruction set with -DXCORR_TARGET=<name> and that target's flags (native/build.json). Exports one
// symbol, xcorr::<name>_kernels; everything else has internal linkage, so that the linker cannot pick a function built
// for this instruction set in place of another target's.
//
// A kernel of abi.h is `template <class T> int64_t name(const Sizes&, const Runtime&, void* const* operands)` in a file
// of native/kernels/. Each file there starts with #pragma once, includes the .inl files it needs, and puts everything
// into namespace xcorr { namespace { ... } }.
#define XCORR_STRING(x) #x
// clang-format off
#define XCORR_HEADER(target) XCORR_STRING(../simd/target.h)
// clang-format on
#include XCORR_HEADER(XCORR_TARGET)

#ifdef XCORR_KERNEL_LIST
#include XCORR_KERNEL_LIST  // scripts/compile-target.sh: some of the kernels; the others trap
#else
#include "kernels.h"
#endif
#include "fma_burst.h"

namespace xcorr {
namespace {

#define XCORR_SLOTS_F(name) {name<float>, name<double>, nullptr, nullptr, nullptr},
#define XCORR_SLOTS_N(name) {name<float>, name<double>, name<int32_t>, nullptr, nullptr},
#define XCORR_SLOTS_A(name) {name<float>, name<double>, name<int32_t>, name<uint8_t>, name<bool>},
#define XCORR_SLOTS(name, Sizes, types, ...) XCORR_SLOTS_##types(name)
// Inside the anonymous namespace, where `reduce` means the kernel and not the codes of abi.h.
constexpr KernelTable kTable = {kTargetName, XCORR_KERNELS(XCORR_SLOTS, XCORR_NOTHING, XCORR_NOTHING, XCORR_NOTHING,
                                                           XCORR_NOTHING, XCORR_NOTHING) fma_burst};

}  // namespace

#define XCORR_PASTE(a, b) a##b
#define XCORR_TABLE(target) XCORR_PASTE(target, _kernels)
extern const KernelTable XCORR_TABLE(XCORR_TARGET);
constinit const KernelTable XCORR_TABLE(XCORR_TARGET) = kTable;

}  // namespace xcorr
