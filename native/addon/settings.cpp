#include <stdlib.h>
#include <string.h>

#include "../runtime/cpu.h"
#include "../runtime/dispatch.h"
#include "../runtime/slice.h"
#include "../runtime/threads.h"
#include "values.h"

namespace xcorr {
namespace {

constexpr const char* kPrecisions[] = {"exact", "tight", "default"};  // in the order of Precision

}  // namespace

bool settings_from_environment(Environment* environment, Text* error) {
  std::string message;
  environment->settings.table = default_target(&message);
  if (!environment->settings.table) {
    error->print("%s", message.c_str());
    return false;
  }
  if (const char* text = getenv("XCORR_NUM_THREADS"); text && *text) {
    char* end;
    const long count = strtol(text, &end, 10);
    if (*end || count < 1 || count > kMostThreads) {
      error->print("XCORR_NUM_THREADS must be an integer from 1 to %d, not \"%s\"", kMostThreads, text);
      return false;
    }
    static const bool set = (set_thread_count((int)count), true);  // later environments keep what the first set since
    (void)set;
  }
  if (const char* text = getenv("XCORR_PRECISION"); text && *text) {
    int code = 0;
    while (code <= kDefault && strcmp(text, kPrecisions[code])) code++;
    if (code > kDefault) {
      error->print("XCORR_PRECISION must be exact, tight or default, not \"%s\"", text);
      return false;
    }
    environment->settings.precision = code;
  }
  return true;
}

// targets(): string[], the usable ones, best first
napi_value targets(napi_env env, napi_callback_info) {
  napi_value list;
  napi_create_array(env, &list);
  uint32_t i = 0;
  for (const KernelTable* table : usable_targets()) napi_set_element(env, list, i++, string(env, table->target));
  return list;
}

// target(): string, of this environment
napi_value target(napi_env env, napi_callback_info info) {
  return string(env, Arguments<0>(env, info).environment->settings.table->target);
}

// setTarget(name): for this environment
napi_value set_target(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  char name[64];
  size_t length;
  if (napi_get_value_string_utf8(env, arguments.value[0], name, sizeof name, &length) != napi_ok)
    return throw_type_error(env, "setTarget takes the name of an instruction set");
  std::string error;
  const KernelTable* table = find_target(name, &error);
  if (!table) {
    napi_throw_error(env, nullptr, error.c_str());
    return nullptr;
  }
  arguments.environment->settings.table = table;
  return nullptr;
}

// threads(): number, of the process
napi_value threads(napi_env env, napi_callback_info) { return number(env, thread_count()); }

// setThreads(n): for the process
napi_value set_threads(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int64_t count;
  if (integer_argument(env, arguments.value[0], "setThreads: the number of threads", 1, kMostThreads, &count))
    set_thread_count((int)count);
  return nullptr;
}

napi_value available_threads(napi_env env, napi_callback_info) { return number(env, available_parallelism()); }

// standAside(on): whether one compute thread of the process makes room for this environment's thread, which has work
// for longer than a short slice: with those it would be sent off its processor by whatever else wakes there.
napi_value stand_aside(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  bool& aside = environment->aside;
  bool on;
  if (napi_get_value_bool(env, arguments.value[0], &on) != napi_ok)
    return throw_type_error(env, "standAside takes a boolean");
  if (on && !aside) begin_aside();
  if (!on && aside) end_aside();
  if (on != aside && environment->programs > 0) {
    if (on)
      restore_slices(environment->slices);
    else
      shorten_slices();
  }
  aside = on;
  return nullptr;
}

// threadsRefused(): boolean, whether the system refused a thread since the last time of asking
napi_value threads_refused(napi_env env, napi_callback_info) {
  napi_value result = nullptr;
  napi_get_boolean(env, take_thread_failure(), &result);
  return result;
}

void warn_of_refused_threads(napi_env env) {
  if (!take_thread_failure()) return;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value global, process, warn, ignored;
  Text message;
  message.print(
      "xcorr: the system refused a compute thread (a limit of processes or memory); computing with the threads there "
      "are, "
      "of %d wanted. setNumThreads(n) with a smaller n, or XCORR_NUM_THREADS, silences this",
      thread_count());
  napi_value text = string(env, message.c_str());
  if (napi_get_global(env, &global) == napi_ok &&
      napi_get_named_property(env, global, "process", &process) == napi_ok &&
      napi_get_named_property(env, process, "emitWarning", &warn) == napi_ok)
    napi_call_function(env, process, warn, 1, &text, &ignored);
  napi_close_handle_scope(env, scope);
}

// setPrecision(0 exact | 1 tight | 2 default): for this environment
napi_value set_precision(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  int64_t code;
  if (integer_argument(env, arguments.value[0], "setPrecision: the mode", kExact, kDefault, &code))
    arguments.environment->settings.precision = (int)code;
  return nullptr;
}

// setTrace(on): for the process
napi_value set_tracing(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  bool on;
  if (napi_get_value_bool(env, arguments.value[0], &on) != napi_ok)
    return throw_type_error(env, "setTrace takes a boolean");
  set_trace(on);
  return nullptr;
}

// describe(): string, JSON of abi.h
napi_value describe_kernels(napi_env env, napi_callback_info) {
  Text text;
  describe(text);
  return string(env, text.c_str());
}

}  // namespace xcorr
