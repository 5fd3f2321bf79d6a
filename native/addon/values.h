// Arguments and results of exported functions.
#pragma once

#include <string>

#include "environment.h"

namespace xcorr {

// The arguments of a call and the environment it came from. Missing arguments are undefined.
template <int N>
struct Arguments {
  Environment* environment = nullptr;
  napi_value value[N > 0 ? N : 1];

  Arguments(napi_env env, napi_callback_info info) {
    size_t count = N;
    void* data = nullptr;
    napi_get_cb_info(env, info, &count, value, nullptr, &data);
    environment = static_cast<Environment*>(data);
  }
};

inline napi_value throw_error(napi_env env, const Text& message) {
  napi_throw_error(env, nullptr, message.c_str());
  return nullptr;
}

inline napi_value throw_type_error(napi_env env, const char* message) {
  napi_throw_type_error(env, nullptr, message);
  return nullptr;
}

// An integer in [low, high]; false after throwing. `what` starts the message.
inline bool integer_argument(napi_env env, napi_value value, const char* what, double low, double high, int64_t* out) {
  double number;
  if (napi_get_value_double(env, value, &number) == napi_ok && number >= low && number <= high) {
    *out = (int64_t)number;
    if ((double)*out == number) return true;
  }
  Text message;
  message.print("%s must be an integer from %.0f to %.0f", what, low, high);
  throw_error(env, message);
  return false;
}

// The elements of a typed array of the type `wanted`; false after throwing `message`.
inline bool typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, const char* message, void** data,
                        size_t* length) {
  napi_typedarray_type type;
  if (napi_get_typedarray_info(env, value, &type, length, data, nullptr, nullptr) == napi_ok && type == wanted)
    return true;
  throw_type_error(env, message);
  return false;
}

inline napi_value number(napi_env env, double value) {
  napi_value result = nullptr;
  napi_create_double(env, value, &result);
  return result;
}

inline napi_value string(napi_env env, const char* value) {
  napi_value result = nullptr;
  napi_create_string_utf8(env, value, NAPI_AUTO_LENGTH, &result);
  return result;
}

}  // namespace xcorr
