// What one JavaScript environment (the main thread or a worker_thread) keeps: instance data, freed with it. Nothing
// of Node-API is static, so that environments can come and go.
#pragma once

#include <node_api.h>

#include <memory>
#include <vector>

#include "../runtime/call.h"
#include "../runtime/runner.h"

namespace xcorr {

// Memory that calls may name: a Uint8Array's. TypeScript promises that nobody detaches or resizes its buffer while it
// is registered. Kept alive by the table and by every program in flight.
struct Block {
  napi_ref keeper;  // strong
  unsigned char* data;
  int64_t bytes;
  int holders;
};

// An entry of the watch list: a weak reference under a number.
struct Watched {
  napi_ref weak;     // null: unused
  int32_t position;  // in Environment::watched_ids
};

struct Environment {
  napi_env env = nullptr;
  Settings settings;

  napi_ref calls_keeper = nullptr;
  const double* calls = nullptr;  // the call buffer, see run.cpp
  int64_t calls_length = 0;

  std::vector<Block*> blocks;  // by id

  std::vector<Watched> watched;      // by id
  std::vector<int32_t> watched_ids;  // those in use, in any order
  napi_ref canary = nullptr;         // to an object that the next collection of any kind takes

  std::unique_ptr<Runner> runner;  // of programs, with the first
  napi_threadsafe_function settler = nullptr;
  int programs = 0;    // in flight
  int64_t slices = 0;  // what to restore when none is
  int state = -1;      // of the environment's thread (answering.h), with the first program
  bool aside = false;  // a compute thread stands aside for JavaScript
};

void release(Environment* environment, Block* block);

// ---- Exported functions, by file ----

napi_value attach(napi_env, napi_callback_info);  // blocks.cpp
napi_value misalignment(napi_env, napi_callback_info);
napi_value register_block(napi_env, napi_callback_info);
napi_value unregister_block(napi_env, napi_callback_info);

napi_value fma_peak(napi_env, napi_callback_info);  // peak.cpp

napi_value run_call(napi_env, napi_callback_info);  // run.cpp
napi_value keeps(napi_env, napi_callback_info);
napi_value run_program(napi_env, napi_callback_info);  // program.cpp
napi_value run_program_sync(napi_env, napi_callback_info);
napi_value take_back(napi_env, napi_callback_info);

napi_value watch(napi_env, napi_callback_info);  // watch.cpp
napi_value unwatch(napi_env, napi_callback_info);
napi_value sweep(napi_env, napi_callback_info);

napi_value trim(napi_env, napi_callback_info);  // trim.cpp

napi_value targets(napi_env, napi_callback_info);  // settings.cpp
napi_value target(napi_env, napi_callback_info);
napi_value set_target(napi_env, napi_callback_info);
napi_value threads(napi_env, napi_callback_info);
napi_value set_threads(napi_env, napi_callback_info);
napi_value available_threads(napi_env, napi_callback_info);
napi_value stand_aside(napi_env, napi_callback_info);
napi_value threads_refused(napi_env, napi_callback_info);
void warn_of_refused_threads(napi_env env);  // once for each refusal, by process.emitWarning
napi_value set_precision(napi_env, napi_callback_info);
napi_value set_tracing(napi_env, napi_callback_info);
napi_value describe_kernels(napi_env, napi_callback_info);
// XCORR_TARGET, XCORR_NUM_THREADS and XCORR_PRECISION; false and a message if one is wrong.
bool settings_from_environment(Environment* environment, Text* error);

}  // namespace xcorr
