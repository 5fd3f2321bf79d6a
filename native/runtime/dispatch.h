// The instruction sets this binary holds kernels for, and which of them this CPU can run.
#pragma once

#include <string>
#include <vector>

#include "../abi.h"

namespace xcorr {

// Usable on this machine, best first; never empty, the last is generic.
const std::vector<const KernelTable*>& usable_targets();

// The usable target of this name, or null and a message that lists the usable ones.
const KernelTable* find_target(const std::string& name, std::string* error);

// XCORR_TARGET if set (null and a message if it is not usable), else the best.
const KernelTable* default_target(std::string* error);

}  // namespace xcorr
