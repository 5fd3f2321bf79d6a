// Programs: calls one after the other, checked as a whole before the first runs.
//
//   program = { length, record of `length` doubles } ...      (record.h)
//
// Result: { status, record }: 0 and -1, or the first status that is not ok and the position of its record; the records
// after it are not run.
#include <memory>

#include "../runtime/scratch.h"
#include "../runtime/slice.h"
#include "record.h"
#include "values.h"

namespace xcorr {
namespace {

struct Program {
  Environment* environment;
  Settings settings;
  std::vector<Record> records;
  napi_async_work work = nullptr;
  napi_deferred deferred = nullptr;
  int64_t status = kOk, failed = -1;
};

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
  return true;
}

void run_records(Program* program) {
  for (size_t i = 0; i < program->records.size(); i++) {
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

// Any of the host's threads: what kernels need beside their operands is lent, else each would come to hold its own.
void execute(napi_env, void* data) {
  const LentScratch scratch;
  run_records(static_cast<Program*>(data));
}

// While programs compute, the environment's thread takes the processor from compute threads as soon as it wakes: timers
// and requests are on time.
void count_programs(Environment* environment, int more) {
  const int before = environment->programs;
  environment->programs += more;
  if (before == 0) environment->slices = shorten_slices();
  if (environment->programs == 0) restore_slices(environment->slices);
}

// On the environment's thread, also while it ends: then no promise can be settled, but the blocks are given back.
void complete(napi_env env, napi_status status, void* data) {
  const std::unique_ptr<Program> program(static_cast<Program*>(data));
  count_programs(program->environment, -1);
  for (const Record& record : program->records)
    for (int i = 0; i < record.named; i++)
      if (record.blocks[i]) release(program->environment, record.blocks[i]);
  napi_delete_async_work(env, program->work);
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return;
  if (status == napi_ok) {
    warn_of_refused_threads(env);
    napi_resolve_deferred(env, program->deferred, result(env, *program));
  } else {
    napi_value error = nullptr;
    napi_create_error(env, nullptr, string(env, "the program was cancelled"), &error);
    napi_reject_deferred(env, program->deferred, error);
  }
  napi_close_handle_scope(env, scope);
}

}  // namespace

// runProgram(program: Float64Array): Promise<{ status, record }>, run on a thread of its own. The blocks it names stay
// alive until it is done; what is in them in the meantime is the caller's business.
napi_value run_program(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  std::unique_ptr<Program> program(new Program{arguments.environment, arguments.environment->settings, {}});
  if (!read_program(env, arguments.value[0], program.get())) return nullptr;
  napi_value promise, name = string(env, "xcorr.runProgram");
  if (napi_create_async_work(env, nullptr, name, execute, complete, program.get(), &program->work) != napi_ok)
    return throw_type_error(env, "runProgram: no work could be made");
  if (napi_create_promise(env, &program->deferred, &promise) != napi_ok) {
    napi_delete_async_work(env, program->work);
    return throw_type_error(env, "runProgram: no promise could be made");
  }
  for (const Record& record : program->records)
    for (int i = 0; i < record.named; i++)
      if (record.blocks[i]) record.blocks[i]->holders++;
  napi_queue_async_work(env, program.release()->work);
  count_programs(arguments.environment, 1);  // after the host has made its threads, which inherit slices
  return promise;
}

// runProgramSync(program: Float64Array): { status, record }, on the calling thread.
napi_value run_program_sync(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Program program{arguments.environment, arguments.environment->settings, {}};
  if (!read_program(env, arguments.value[0], &program)) return nullptr;
  run_records(&program);
  warn_of_refused_threads(env);
  return result(env, program);
}

}  // namespace xcorr
