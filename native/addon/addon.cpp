// The addon: exports of native/addon/*.cpp, one Environment for each JavaScript environment that loads it.
#include <string.h>

#include "../runtime/threads.h"
#include "values.h"

namespace xcorr {
namespace {

struct Export {
  const char* name;
  napi_callback function;
};

constexpr Export kExports[] = {
    {"attach", attach},
    {"misalignment", misalignment},
    {"registerBlock", register_block},
    {"unregisterBlock", unregister_block},
    {"run", run_call},
    {"keeps", keeps},
    {"runProgram", run_program},
    {"runProgramSync", run_program_sync},
    {"takeBack", take_back},
    {"watch", watch},
    {"unwatch", unwatch},
    {"sweep", sweep},
    {"trim", trim},
    {"roomFor", room_for_bytes},
    {"targets", targets},
    {"target", target},
    {"setTarget", set_target},
    {"threads", threads},
    {"setThreads", set_threads},
    {"availableThreads", available_threads},
    {"standAside", stand_aside},
    {"threadsRefused", threads_refused},
    {"setPrecision", set_precision},
    {"setTrace", set_tracing},
    {"describe", describe_kernels},
    {"fmaPeak", fma_peak},
};

// Runs when the environment ends (worker.terminate() included), after end_runner().
void close_environment(napi_env env, void* data, void*) {
  Environment* environment = static_cast<Environment*>(data);
  if (environment->aside) end_aside();
  for (Block* block : environment->blocks)
    if (block) release(environment, block);
  for (const Watched& each : environment->watched)
    if (each.weak) napi_delete_reference(env, each.weak);
  if (environment->canary) napi_delete_reference(env, environment->canary);
  if (environment->calls_memory) release(environment, environment->calls_memory);
  if (environment->resizable) napi_delete_reference(env, environment->resizable);
  delete environment;
}

}  // namespace
}  // namespace xcorr

NAPI_MODULE_INIT() {
  using namespace xcorr;
  Environment* environment = new Environment;
  environment->env = env;
  Text error;
  if (!settings_from_environment(environment, &error)) {
    delete environment;
    return throw_error(env, error);
  }
  if (napi_set_instance_data(env, environment, close_environment, nullptr) != napi_ok) {
    delete environment;
    return throw_type_error(env, "xcorr: the environment takes no instance data");
  }
  find_resizable(environment);
  constexpr size_t count = sizeof kExports / sizeof *kExports;
  napi_property_descriptor properties[count];
  for (size_t i = 0; i < count; i++)
    properties[i] = {kExports[i].name, nullptr, kExports[i].function, nullptr,
                     nullptr,          nullptr, napi_enumerable,      environment};
  napi_define_properties(env, exports, count, properties);
  return exports;
}
