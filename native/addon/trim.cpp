#include "values.h"

#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace xcorr {

// trim(): gives back to the system what the C library holds free. V8's compilers and collectors leave some megabytes in
// arenas of their helper threads; about a quarter of a millisecond for a small process.
napi_value trim(napi_env, napi_callback_info) {
#if defined(__GLIBC__)
  malloc_trim(0);
#endif
  return nullptr;
}

}  // namespace xcorr
