#include "dispatch.h"

#include <stdlib.h>

#include "cpu.h"

namespace xcorr {

extern const KernelTable generic_kernels;
#if defined(__x86_64__)
extern const KernelTable avx2_kernels, avx512_kernels;
#elif defined(__aarch64__)
extern const KernelTable neon_kernels;
#endif

const std::vector<const KernelTable*>& usable_targets() {
  static const std::vector<const KernelTable*> usable = [] {
    std::vector<const KernelTable*> list;
#if defined(__x86_64__)
    if (cpu_has_avx512()) list.push_back(&avx512_kernels);
    if (cpu_has_avx2()) list.push_back(&avx2_kernels);
#elif defined(__aarch64__)
    list.push_back(&neon_kernels);
#endif
    list.push_back(&generic_kernels);
    return list;
  }();
  return usable;
}

const KernelTable* find_target(const std::string& name, std::string* error) {
  std::string names;
  for (const KernelTable* table : usable_targets()) {
    if (name == table->target) return table;
    names += (names.empty() ? "" : ", ") + std::string(table->target);
  }
  *error = "instruction set \"" + name + "\" cannot be used on this machine; usable: " + names;
  return nullptr;
}

const KernelTable* default_target(std::string* error) {
  const char* forced = getenv("XCORR_TARGET");
  if (!forced || !*forced) return usable_targets().front();
  const KernelTable* table = find_target(forced, error);
  if (!table) *error = "XCORR_TARGET: " + *error;
  return table;
}

}  // namespace xcorr
