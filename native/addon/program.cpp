// Programs: calls one after the other, checked as a whole before the first runs.
//
//   program = { length, record of `length` doubles } ...      (record.h)
//
// Result: { status, record }: 0 and -1, or the first status that is not ok and the position of its record; the records
// after it are not run.
#include <memory>

#include "../runtime/answering.h"
#include "../runtime/runner.h"
#include "../runtime/slice.h"
#include "record.h"
#include "values.h"

namespace xcorr {
namespace {

struct Program : Work {
  Program(Environment* e) : environment(e), settings(e->settings) {}
  Environment* environment;
  Settings settings;
  std::vector<Record> records;
  napi_deferred deferred = nullptr;
  int64_t status = kOk, failed = -1;
};

constexpr int64_t kTakenBack = -1;  // in the place of a status

// The records of a Float64Array; false after throwing.
bool read_program(napi_env env, napi_value value, Program* program) {
  napi_typedarray_type type;
  size_t length;
  void* data;
  if (napi_get_typedarray_info(env, value, &type, &length, &data, nullptr, nullptr) != napi_ok ||
      type != napi_float64_array) {
    throw_type_error(env, "a program is a Float64Array");
    return false;
  }
  Text error;
  if (!read_records(*program->environment, static_cast<const double*>(data), (int64_t)length, &program->records,
                    &error)) {
    throw_error(env, error);
    return false;
  }
  for (const Record& record : program->records)
    if (!attached(*program->environment, record, &error)) {
      throw_error(env, error);
      return false;
    }
  return true;
}

void run_records(Program* program, const std::atomic<bool>& stop) {
  for (size_t i = 0; i < program->records.size() && !stop.load(std::memory_order_relaxed); i++) {
    Record& record = program->records[i];
    program->status = run(record.call, program->settings, record.operands, record.keeps ? &record.kept : nullptr);
    if (program->status == kOk) continue;
    program->failed = (int64_t)i;
    return;
  }
}

napi_value result(napi_env env, const Program& program) {
  napi_value object;
  napi_create_object(env, &object);
  napi_set_named_property(env, object, "status", number(env, (double)program.status));
  napi_set_named_property(env, object, "record", number(env, (double)program.failed));
  return object;
}

// While programs compute, the environment's thread gets the processor from compute threads as soon as it wakes: timers
// and requests are on time.
void count_programs(Environment* environment, int more) {
  const int before = environment->programs;
  environment->programs += more;
  if (before == 0) {
    environment->slices = shorten_slices();
    begin_answering(environment->state);
    napi_ref_threadsafe_function(environment->env, environment->settler);
  }
  if (environment->programs > 0) return;
  restore_slices(environment->slices);
  end_answering(environment->state);
  napi_unref_threadsafe_function(environment->env, environment->settler);
}

void let_go(const Program& program) {
  for (const Record& record : program.records)
    for (int i = 0; i < record.named; i++)
      if (record.blocks[i]) release(program.environment, record.blocks[i]);
}

void settle(napi_env env, Program* finished) {
  const std::unique_ptr<Program> program(finished);
  let_go(*program);
  if (program->taken_back) program->status = kTakenBack;
  napi_resolve_deferred(env, program->deferred, result(env, *program));
}

// On the environment's thread.
void settle_finished(napi_env env, napi_value, void* data, void*) {
  Environment* environment = static_cast<Environment*>(data);
  if (!env) return;  // it ends: nobody waits any more
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  warn_of_refused_threads(env);
  while (Work* work = environment->runner->finished()) {
    settle(env, static_cast<Program*>(work));
    count_programs(environment, -1);
  }
  napi_close_handle_scope(env, scope);
}

// On the environment's thread when it ends, before what its calls are settled with ends.
void end_runner(void* data) {
  Environment* environment = static_cast<Environment*>(data);
  for (Work* work = environment->runner->end(); work;) {
    const std::unique_ptr<Program> program(static_cast<Program*>(work));
    work = work->next;
    let_go(*program);
  }
  end_answering(environment->state);
  close_state(environment->state);
  napi_release_threadsafe_function(environment->settler, napi_tsfn_release);
  environment->runner.reset();
}

// Whether there is a thread for programs; false if the system refuses it.
bool start_runner(napi_env env, Environment* environment) {
  if (!environment->runner) {
    if (napi_create_threadsafe_function(env, nullptr, nullptr, string(env, "xcorr.runProgram"), 0, 1, nullptr, nullptr,
                                        environment, settle_finished, &environment->settler) != napi_ok)
      return false;
    napi_unref_threadsafe_function(env, environment->settler);
    const auto compute = [](Work* work, const std::atomic<bool>& stop) {
      run_records(static_cast<Program*>(work), stop);
    };
    const auto done = [](void* e) {
      napi_call_threadsafe_function(static_cast<Environment*>(e)->settler, nullptr, napi_tsfn_nonblocking);
    };
    environment->runner = std::make_unique<Runner>(compute, done, environment);
    environment->state = open_state();
    napi_add_env_cleanup_hook(env, end_runner, environment);
  }
  return environment->runner->start();
}

}  // namespace

// runProgram(program: Float64Array, ticket: number): Promise<{ status, record }>, run on a thread of its own, after all
// that came before. The blocks it names stay alive until it is done; what is in them in the meantime is the caller's
// business. Where the system refuses the thread it has run on the calling one when the call returns.
napi_value run_program(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Environment* environment = arguments.environment;
  std::unique_ptr<Program> program(new Program(environment));
  if (napi_get_value_double(env, arguments.value[1], &program->ticket) != napi_ok)
    return throw_type_error(env, "runProgram takes a program and a number");
  if (!read_program(env, arguments.value[0], program.get())) return nullptr;
  napi_value promise;
  if (napi_create_promise(env, &program->deferred, &promise) != napi_ok)
    return throw_type_error(env, "runProgram: no promise could be made");
  for (const Record& record : program->records)
    for (int i = 0; i < record.named; i++)
      if (record.blocks[i]) record.blocks[i]->holders++;
  if (start_runner(env, environment)) {
    count_programs(environment, 1);  // after the thread was made, which would inherit slices
    environment->runner->add(program.release());
  } else {
    run_records(program.get(), false);
    settle(env, program.release());
    warn_of_refused_threads(env);
  }
  return promise;
}

// takeBack(ticket: number): boolean, whether the program of that ticket had not begun; it resolves with status -1.
napi_value take_back(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Environment* environment = arguments.environment;
  double ticket;
  if (napi_get_value_double(env, arguments.value[0], &ticket) != napi_ok)
    return throw_type_error(env, "takeBack takes a number");
  const bool taken = environment->runner && environment->runner->take_back(ticket);
  if (taken) napi_call_threadsafe_function(environment->settler, nullptr, napi_tsfn_nonblocking);
  napi_value value = nullptr;
  napi_get_boolean(env, taken, &value);
  return value;
}

// runProgramSync(program: Float64Array): { status, record }, on the calling thread.
napi_value run_program_sync(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Program program(arguments.environment);
  if (!read_program(env, arguments.value[0], &program)) return nullptr;
  run_records(&program, false);
  warn_of_refused_threads(env);
  return result(env, program);
}

}  // namespace xcorr
