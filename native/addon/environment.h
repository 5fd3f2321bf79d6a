// What one JavaScript environment (the main thread or a worker_thread) keeps: instance data, freed with it. Nothing
// of Node-API is static, so that environments can come and go.
#pragma once

#include <node_api.h>

#include <memory>
#include <vector>

#include "../runtime/call.h"
#include "../runtime/runner.h"
#include "../runtime/text.h"
#include "outcome.h"

namespace xcorr {

// A buffer that calls read or write. Unless it cannot be detached (shared memory), or TypeScript promises to look
// before every call, where that costs next to nothing, it is asked before each call whether it still has its memory.
struct Memory {
  napi_ref buffer;  // strong
  bool asked;
  int users;  // blocks cut from one slab share it
};

// Memory that calls may name: a Uint8Array's. Kept alive by the table and by every program in flight.
struct Block {
  Memory* memory;
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

  napi_ref resizable = nullptr;  // the getter of ArrayBuffer.prototype, before anybody could replace it; null: none

  Memory* calls_memory = nullptr;
  const double* calls = nullptr;  // the call buffer, see run.cpp
  int64_t calls_length = 0;

  std::vector<Block*> blocks;  // by id
  Memory* latest = nullptr;    // of the block registered last, if it is still in use

  std::vector<Watched> watched;      // by id
  std::vector<int32_t> watched_ids;  // those in use, in any order
  napi_ref canary = nullptr;         // to an object that the next collection of any kind takes

  std::unique_ptr<Runner> runner;  // of programs, with the first
  napi_threadsafe_function settler = nullptr;
  std::vector<HeldOutcome> outcomes;  // of programs in flight, and of those that came to nothing
  int programs = 0;                   // in flight
  int64_t slices = 0;                 // what to restore when none is
  int state = -1;                     // of the environment's thread (answering.h), with the first program
  bool aside = false;                 // a compute thread stands aside for JavaScript
};

void release(Environment* environment, Block* block);
void release(Environment* environment, Memory* memory);
// Whether the memory behind a call is still there; prints whose is not.
bool attached(const Environment& environment, const Memory& memory);
bool attached(const Environment& environment, const struct Record& record, Text* error);

// ---- Exported functions, by file ----

napi_value attach(napi_env, napi_callback_info);  // blocks.cpp
void find_resizable(Environment* environment);
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

napi_value trim(napi_env, napi_callback_info);  // system.cpp
napi_value room_for_bytes(napi_env, napi_callback_info);

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
