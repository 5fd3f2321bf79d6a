#include "../runtime/room.h"
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

// roomFor(bytes, fresh?): boolean, whether the system would give so many and have some left for the host; unless they
// must be fresh, what the C library holds free will do
napi_value room_for_bytes(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  int64_t bytes;
  if (!integer_argument(env, arguments.value[0], "roomFor: bytes", 0, 0x1p53, &bytes)) return nullptr;
  bool host = false;
  napi_get_value_bool(env, arguments.value[1], &host);  // anything but true: false
  napi_value result = nullptr;
  napi_get_boolean(env, host ? room_for_host(bytes) : room_for(bytes), &result);
  return result;
}

}  // namespace xcorr
