#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "../runtime/room.h"
#include "record.h"
#include "values.h"

namespace xcorr {
namespace {

constexpr int64_t kMostBlocks = 1 << 24;
constexpr int64_t kHugePages = int64_t(4) << 20;  // blocks from here on are asked to use them

bool is_shared(napi_env env, napi_value buffer) {
  bool plain = true;
  return napi_is_arraybuffer(env, buffer, &plain) == napi_ok && !plain;
}

// Whether the memory of a buffer stays where it is and as long as it is: neither detached nor resizable. Shared memory
// can only grow, in its place.
bool stays(const Environment& environment, napi_value buffer) {
  const napi_env env = environment.env;
  if (is_shared(env, buffer)) return true;
  bool detached = true, resizable = true;
  if (napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) return false;
  if (!environment.resizable) return true;
  napi_value getter, flag;
  return napi_get_reference_value(env, environment.resizable, &getter) == napi_ok &&
         napi_call_function(env, buffer, getter, 0, nullptr, &flag) == napi_ok &&
         napi_get_value_bool(env, flag, &resizable) == napi_ok && !resizable;
}

// The bytes of a typed array of this type, over memory that stays; false after throwing.
bool typed_array(const Environment& environment, napi_value value, napi_typedarray_type wanted, const char* message,
                 void** data, size_t* length, napi_value* buffer) {
  napi_typedarray_type type;
  if (napi_get_typedarray_info(environment.env, value, &type, length, data, buffer, nullptr) == napi_ok &&
      type == wanted && (*data || *length == 0) && stays(environment, *buffer))
    return true;
  throw_type_error(environment.env, message);
  return false;
}

// A user more of a buffer: of the one registered last, or of its own. Null if no reference could be made.
Memory* use(Environment* environment, napi_value buffer, bool asked) {
  const napi_env env = environment->env;
  Memory* const latest = environment->latest;
  napi_value value = nullptr;
  bool same = false;
  if (latest && latest->asked == asked && napi_get_reference_value(env, latest->buffer, &value) == napi_ok && value &&
      napi_strict_equals(env, value, buffer, &same) == napi_ok && same) {
    latest->users++;
    return latest;
  }
  napi_ref reference;
  if (napi_create_reference(env, buffer, 1, &reference) != napi_ok) return nullptr;
  return environment->latest = new Memory{reference, asked, 1};
}

void use_huge_pages(unsigned char* data, int64_t bytes) {
#if defined(MADV_HUGEPAGE)
  const intptr_t page = sysconf(_SC_PAGESIZE), start = reinterpret_cast<intptr_t>(data);
  const intptr_t first = (start + page - 1) & -page, last = (start + bytes) & -page;
  if (last > first) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);  // refusal does not matter
#else
  (void)data, (void)bytes;
#endif
}

}  // namespace

void release(Environment* environment, Memory* memory) {
  if (--memory->users > 0) return;
  if (environment->latest == memory) environment->latest = nullptr;
  napi_delete_reference(environment->env, memory->buffer);
  delete memory;
}

void release(Environment* environment, Block* block) {
  if (--block->holders > 0) return;
  release(environment, block->memory);
  delete block;
}

bool attached(const Environment& environment, const Memory& memory) {
  if (!memory.asked) return true;
  napi_value buffer;
  bool detached = true;
  return napi_get_reference_value(environment.env, memory.buffer, &buffer) == napi_ok &&
         napi_is_detached_arraybuffer(environment.env, buffer, &detached) == napi_ok && !detached;
}

bool attached(const Environment& environment, const Record& record, Text* error) {
  const Memory* asked = nullptr;
  for (int i = 0; i < record.named; i++) {
    const Block* block = record.blocks[i];
    if (!block || block->memory == asked) continue;
    asked = block->memory;
    if (attached(environment, *asked)) continue;
    error->print("%s: the buffer of operand %d was detached (transferred) since its block was registered",
                 kKernel[record.call.kernel].name, i);
    return false;
  }
  return true;
}

void find_resizable(Environment* environment) {
  const napi_env env = environment->env;
  napi_value global, object, find, prototype, descriptor, getter;
  const auto get = [&](napi_value from, const char* name, napi_value* to) {
    return napi_get_named_property(env, from, name, to) == napi_ok;
  };
  if (napi_get_global(env, &global) != napi_ok || !get(global, "Object", &object) ||
      !get(object, "getOwnPropertyDescriptor", &find) || !get(global, "ArrayBuffer", &prototype) ||
      !get(prototype, "prototype", &prototype))
    return;
  napi_value arguments[2] = {prototype, string(env, "resizable")};
  napi_valuetype type;
  if (napi_call_function(env, object, find, 2, arguments, &descriptor) == napi_ok &&
      napi_typeof(env, descriptor, &type) == napi_ok && type == napi_object && get(descriptor, "get", &getter))
    napi_create_reference(env, getter, 1, &environment->resizable);
}

// attach(calls: Float64Array): the buffer that run() reads calls from. Over shared memory nobody can detach it; over
// any other run() asks.
napi_value attach(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  void* data;
  size_t length;
  napi_value buffer;
  if (!typed_array(*environment, arguments.value[0], napi_float64_array,
                   "attach takes a Float64Array over memory that is neither detached nor resizable", &data, &length,
                   &buffer))
    return nullptr;
  Memory* memory = use(environment, buffer, !is_shared(env, buffer));
  if (!memory) return throw_type_error(env, "attach: no reference could be made");
  if (environment->calls_memory) release(environment, environment->calls_memory);
  environment->calls_memory = memory;
  environment->calls = static_cast<const double*>(data);
  environment->calls_length = (int64_t)length;
  return nullptr;
}

// misalignment(bytes: Uint8Array): the address of the first byte modulo a cache line of 64 bytes.
napi_value misalignment(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  void* data;
  size_t length;
  napi_value buffer;
  if (!typed_array(*arguments.environment, arguments.value[0], napi_uint8_array,
                   "misalignment takes a Uint8Array over memory that is neither detached nor resizable", &data, &length,
                   &buffer))
    return nullptr;
  return number(env, double(reinterpret_cast<uintptr_t>(data) % 64));
}

// registerBlock(id, bytes: Uint8Array, looks?: boolean): `looks` promises that no call names the block after its buffer
// was detached; without it, every call that does asks.
napi_value register_block(napi_env env, napi_callback_info info) {
  const Arguments<3> arguments(env, info);
  std::vector<Block*>& blocks = arguments.environment->blocks;
  int64_t id;
  void* data;
  size_t length;
  napi_value buffer;
  if (!integer_argument(env, arguments.value[0], "registerBlock: id", 0, double(kMostBlocks - 1), &id) ||
      !typed_array(*arguments.environment, arguments.value[1], napi_uint8_array,
                   "registerBlock takes a Uint8Array over memory that is neither detached nor resizable", &data,
                   &length, &buffer))
    return nullptr;
  if (id < (int64_t)blocks.size() && blocks[id]) {
    Text message;
    message.print("registerBlock: block %lld is in use", (long long)id);
    return throw_error(env, message);
  }
  if (id >= (int64_t)blocks.size()) {
    const int64_t count = std::max(id + 1, 2 * (int64_t)blocks.size());
    if (!room_for(count * (int64_t)sizeof(Block*)))
      return throw_type_error(env, "registerBlock: the system has no memory for so many blocks");
    blocks.resize(count);
  }
  bool looks = false;
  napi_get_value_bool(env, arguments.value[2], &looks);  // anything but true: false
  Memory* memory = use(arguments.environment, buffer, !looks && !is_shared(env, buffer));
  if (!memory) return throw_type_error(env, "registerBlock: no reference could be made");
  blocks[id] = new Block{memory, static_cast<unsigned char*>(data), (int64_t)length, 1};
  if ((int64_t)length >= kHugePages) use_huge_pages(blocks[id]->data, (int64_t)length);
  return nullptr;
}

// unregisterBlock(id): its number may be used again; programs in flight keep its memory until they are done.
napi_value unregister_block(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  int64_t id;
  if (!integer_argument(env, arguments.value[0], "unregisterBlock: id", 0, double(kMostBlocks - 1), &id))
    return nullptr;
  if (id >= (int64_t)environment->blocks.size() || !environment->blocks[id]) {
    Text message;
    message.print("unregisterBlock: there is no block %lld", (long long)id);
    return throw_error(env, message);
  }
  release(environment, environment->blocks[id]);
  environment->blocks[id] = nullptr;
  return nullptr;
}

}  // namespace xcorr
