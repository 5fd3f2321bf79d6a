// Programs: calls one after the other, checked as a whole before the first runs.
//
//   program = { length, record of `length` doubles } ...      (record.h)
//
// Result: { status, record }: 0 and -1, or the first status that is not ok and the position of its record; the records
// after it are not run. kTakenBack and kMissing, without a record: nothing was run.
#include <algorithm>
#include <memory>

#include "../runtime/answering.h"
#include "../runtime/runner.h"
#include "../runtime/slice.h"
#include "../runtime/turns.h"
#include "record.h"
#include "values.h"

namespace xcorr {
namespace {

// In the place of a kernel's status: it was taken back; a program that it needs came to nothing.
constexpr int64_t kTakenBack = -2, kMissing = -3;

struct Program : Work {
  Program(Environment* e) : environment(e), settings(e->settings) {}
  Environment* environment;
  Settings settings;
  std::vector<Record> records;
  std::vector<HeldOutcome> needs;
  HeldOutcome outcome;  // of those that others may need
  napi_deferred deferred = nullptr;
  int64_t status = kOk, failed = -1;
};

// The records of a Float64Array; false after throwing.
bool read_program(napi_env env, napi_value value, Program* program) {
  size_t length;
  void* data;
  if (!typed_array(env, value, napi_float64_array, "a program is a Float64Array", &data, &length)) return false;
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

// The programs that it needs, of those in flight or failed; all others have ended well. False after throwing.
bool read_needs(napi_env env, napi_value value, Program* program) {
  napi_valuetype given;
  if (napi_typeof(env, value, &given) == napi_ok && given == napi_undefined) return true;
  size_t length;
  void* data;
  if (!typed_array(env, value, napi_float64_array,
                   "the tickets of the programs that a program needs are a Float64Array", &data, &length))
    return false;
  const double* const tickets = static_cast<const double*>(data);
  for (const HeldOutcome& each : program->environment->outcomes)
    if (std::find(tickets, tickets + length, each->ticket) != tickets + length) program->needs.push_back(each);
  return true;
}

// Programs run one after the other, so those that this one needs have ended, or been taken back, or were stopped.
void run_records(Program* program, const std::atomic<bool>& stop) {
  for (const HeldOutcome& each : program->needs)
    if (!each->good) {
      program->status = kMissing;
      return;
    }
  for (size_t i = 0; i < program->records.size(); i++) {
    if (i > 0) pass_turn();
    if (stop.load(std::memory_order_relaxed)) return;
    Record& record = program->records[i];
    program->status = run(record.call, program->settings, record.operands, record.keeps ? &record.kept : nullptr);
    if (program->status == kOk) continue;
    program->failed = (int64_t)i;
    return;
  }
  if (program->outcome) program->outcome->good = true;
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

// What came to nothing stays known, as programs that need it may be on their way; of many the latest.
void forget(const Program& program) {
  constexpr size_t kMostFailed = 4096;
  std::vector<HeldOutcome>& outcomes = program.environment->outcomes;
  program.outcome->ended = true;
  if (program.outcome->good)
    outcomes.erase(std::find(outcomes.rbegin(), outcomes.rend(), program.outcome).base() - 1);
  else if (outcomes.size() > kMostFailed + (size_t)program.environment->programs)
    outcomes.erase(std::find_if(outcomes.begin(), outcomes.end(), [](const auto& each) { return each->ended; }));
}

void settle(napi_env env, Program* finished) {
  const std::unique_ptr<Program> program(finished);
  let_go(*program);
  forget(*program);
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

// runProgram(program: Float64Array, ticket: number, needs?: Float64Array): Promise<{ status, record }>, run on a thread
// of its own, after all that came before, and not at all if one of those whose tickets `needs` names came to nothing.
// The blocks it names stay alive until it is done; what is in them in the meantime is the caller's business. Where the
// system refuses the thread it has run on the calling one when the call returns.
napi_value run_program(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  Environment* environment = arguments.environment;
  std::unique_ptr<Program> program(new Program(environment));
  if (napi_get_value_double(env, arguments.value[1], &program->ticket) != napi_ok)
    return throw_type_error(env, "runProgram takes a program and a number");
  if (!read_program(env, arguments.value[0], program.get()) || !read_needs(env, arguments.value[2], program.get()))
    return nullptr;
  napi_value promise;
  if (napi_create_promise(env, &program->deferred, &promise) != napi_ok)
    return throw_type_error(env, "runProgram: no promise could be made");
  for (const Record& record : program->records)
    for (int i = 0; i < record.named; i++)
      if (record.blocks[i]) record.blocks[i]->holders++;
  program->outcome = HeldOutcome(new Outcome(program->ticket));
  environment->outcomes.push_back(program->outcome);
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

// takeBack(ticket: number): boolean, whether the program of that ticket had not begun; it resolves with kTakenBack.
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
