#include <sys/mman.h>
#include <unistd.h>

#include "values.h"

namespace xcorr {
namespace {

constexpr int64_t kMostBlocks = 1 << 24;
constexpr int64_t kHugePages = int64_t(4) << 20;  // blocks from here on are asked to use them

// Whether the memory of a buffer stays where it is and as long as it is: neither detached nor resizable. Shared memory
// can only grow, in its place.
bool stays(napi_env env, napi_value buffer) {
  bool detached = false, resizable = false, shared = false;
  napi_value flag;
  shared = napi_is_arraybuffer(env, buffer, &shared) != napi_ok || !shared;
  if (shared) return true;
  if (napi_is_detached_arraybuffer(env, buffer, &detached) != napi_ok || detached) return false;
  if (napi_get_named_property(env, buffer, "resizable", &flag) == napi_ok) {
    napi_get_value_bool(env, flag, &resizable);  // not there before Node 20
  } else {
    napi_value error;  // a getter of the caller's own that throws
    napi_get_and_clear_last_exception(env, &error);
    return false;
  }
  return !resizable;
}

// The bytes of a typed array of this type, over memory that stays; false after throwing.
bool typed_array(napi_env env, napi_value value, napi_typedarray_type wanted, const char* message, void** data,
                 size_t* length) {
  napi_typedarray_type type;
  napi_value buffer;
  if (napi_get_typedarray_info(env, value, &type, length, data, &buffer, nullptr) == napi_ok && type == wanted &&
      (*data || *length == 0) && stays(env, buffer))
    return true;
  throw_type_error(env, message);
  return false;
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

void release(Environment* environment, Block* block) {
  if (--block->holders > 0) return;
  napi_delete_reference(environment->env, block->keeper);
  delete block;
}

// attach(calls: Float64Array): the buffer that run() reads calls from.
napi_value attach(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  void* data;
  size_t length;
  if (!typed_array(env, arguments.value[0], napi_float64_array,
                   "attach takes a Float64Array over memory that is neither detached nor resizable", &data, &length))
    return nullptr;
  napi_ref keeper;
  if (napi_create_reference(env, arguments.value[0], 1, &keeper) != napi_ok) return nullptr;
  if (environment->calls_keeper) napi_delete_reference(env, environment->calls_keeper);
  environment->calls_keeper = keeper;
  environment->calls = static_cast<const double*>(data);
  environment->calls_length = (int64_t)length;
  return nullptr;
}

// misalignment(bytes: Uint8Array): the address of the first byte modulo a cache line of 64 bytes.
napi_value misalignment(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  void* data;
  size_t length;
  if (!typed_array(env, arguments.value[0], napi_uint8_array,
                   "misalignment takes a Uint8Array over memory that is neither detached nor resizable", &data,
                   &length))
    return nullptr;
  return number(env, double(reinterpret_cast<uintptr_t>(data) % 64));
}

// registerBlock(id, bytes: Uint8Array)
napi_value register_block(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  std::vector<Block*>& blocks = arguments.environment->blocks;
  int64_t id;
  void* data;
  size_t length;
  if (!integer_argument(env, arguments.value[0], "registerBlock: id", 0, double(kMostBlocks - 1), &id) ||
      !typed_array(env, arguments.value[1], napi_uint8_array,
                   "registerBlock takes a Uint8Array over memory that is neither detached nor resizable", &data,
                   &length))
    return nullptr;
  if (id < (int64_t)blocks.size() && blocks[id]) {
    Text message;
    message.print("registerBlock: block %lld is in use", (long long)id);
    return throw_error(env, message);
  }
  napi_ref keeper;
  if (napi_create_reference(env, arguments.value[1], 1, &keeper) != napi_ok)
    return throw_type_error(env, "registerBlock: no reference could be made");
  if (id >= (int64_t)blocks.size()) blocks.resize(id + 1 > 2 * (int64_t)blocks.size() ? id + 1 : 2 * blocks.size());
  blocks[id] = new Block{keeper, static_cast<unsigned char*>(data), (int64_t)length, 1};
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
