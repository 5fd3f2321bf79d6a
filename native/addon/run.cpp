#include "record.h"
#include "values.h"

namespace xcorr {
namespace {

// The record at the start of the call buffer; false after printing what is wrong.
bool read_calls(const Environment& environment, Record* record, Text* error) {
  if (!attached(environment, *environment.calls_memory)) {
    error->print("the call buffer was detached (transferred): attach() another");
    return false;
  }
  return read_record(environment, environment.calls, environment.calls_length, record, error) > 0 &&
         attached(environment, *record, error);
}

}  // namespace

// run(): number. Runs the call at the start of the call buffer and returns its status. The only function on the way of
// every operation: it reads no JavaScript value and makes one.
napi_value run_call(napi_env env, napi_callback_info info) {
  void* data = nullptr;
  napi_get_cb_info(env, info, nullptr, nullptr, nullptr, &data);
  const Environment* environment = static_cast<const Environment*>(data);
  if (!environment->calls) return throw_type_error(env, "run needs a call buffer: attach() one first");
  Record record;
  Text error;
  if (!read_calls(*environment, &record, &error)) return throw_error(env, error);
  const int64_t status =
      run(record.call, environment->settings, record.operands, record.keeps ? &record.kept : nullptr);
  warn_of_refused_threads(env);
  return number(env, (double)status);
}

// keeps(): number. How many bytes the call at the start of the call buffer would keep; runs nothing.
napi_value keeps(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Environment& environment = *arguments.environment;
  if (!environment.calls) return throw_type_error(env, "keeps needs a call buffer: attach() one first");
  Record record;
  Text error;
  if (!read_calls(environment, &record, &error)) return throw_error(env, error);
  Kept asked = {nullptr, 0};
  run(record.call, environment.settings, record.operands, &asked);
  return number(env, (double)asked.bytes);
}

}  // namespace xcorr
