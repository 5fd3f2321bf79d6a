// Objects whose end TypeScript wants to hear of inside a synchronous loop, where neither finalizers nor
// FinalizationRegistry callbacks run: weak references under small numbers, looked through on request.
#include <algorithm>

#include "../runtime/room.h"
#include "values.h"

namespace xcorr {
namespace {

constexpr double kMostWatched = 1 << 26;

void forget(napi_env env, Environment* environment, int32_t id) {
  Watched& entry = environment->watched[id];
  std::vector<int32_t>& ids = environment->watched_ids;
  ids[entry.position] = ids.back();
  environment->watched[ids.back()].position = entry.position;
  ids.pop_back();
  napi_delete_reference(env, entry.weak);
  entry.weak = nullptr;
}

// Whether nothing has been collected since the last complete sweep: an object that nobody holds is still there.
bool canary_lives(napi_env env, Environment* environment) {
  if (!environment->canary) return false;
  napi_handle_scope scope;
  if (napi_open_handle_scope(env, &scope) != napi_ok) return false;
  napi_value object = nullptr;
  napi_get_reference_value(env, environment->canary, &object);
  napi_close_handle_scope(env, scope);
  if (object) return true;
  napi_delete_reference(env, environment->canary);
  environment->canary = nullptr;
  return false;
}

void set_canary(napi_env env, Environment* environment) {
  napi_handle_scope scope;
  if (environment->canary || napi_open_handle_scope(env, &scope) != napi_ok) return;
  napi_value object;
  if (napi_create_object(env, &object) != napi_ok ||
      napi_create_reference(env, object, 0, &environment->canary) != napi_ok)
    environment->canary = nullptr;
  napi_close_handle_scope(env, scope);
}

}  // namespace

// watch(id, object)
napi_value watch(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Environment* environment = arguments.environment;
  int64_t id;
  if (!integer_argument(env, arguments.value[0], "watch: id", 0, kMostWatched - 1, &id)) return nullptr;
  std::vector<Watched>& watched = environment->watched;
  if (id >= (int64_t)watched.size()) {
    const int64_t count = std::max(id + 1, 2 * (int64_t)watched.size());
    if (!room_for(count * (int64_t)sizeof(Watched)))
      return throw_type_error(env, "watch: the system has no memory for so many numbers");
    watched.resize(count, {nullptr, 0});
  }
  if (watched[id].weak) {
    Text message;
    message.print("watch: number %lld is in use", (long long)id);
    return throw_error(env, message);
  }
  if (napi_create_reference(env, arguments.value[1], 0, &watched[id].weak) != napi_ok) {
    watched[id].weak = nullptr;
    return throw_type_error(env, "watch takes an object");
  }
  watched[id].position = (int32_t)environment->watched_ids.size();
  environment->watched_ids.push_back((int32_t)id);
  return nullptr;
}

// unwatch(id): nothing if it is not watched.
napi_value unwatch(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  int64_t id;
  if (!integer_argument(env, arguments.value[0], "unwatch: id", 0, kMostWatched - 1, &id)) return nullptr;
  if (id < (int64_t)environment->watched.size() && environment->watched[id].weak) forget(env, environment, (int32_t)id);
  return nullptr;
}

// sweep(out: Int32Array): number. Writes the numbers of objects that are gone, as many as fit, and forgets them. Looks
// at all objects only if V8 has collected something since the last time.
napi_value sweep(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Environment* environment = arguments.environment;
  size_t length;
  void* data;
  if (!typed_array(env, arguments.value[0], napi_int32_array, "sweep takes an Int32Array", &data, &length))
    return nullptr;
  if (canary_lives(env, environment)) return number(env, 0);
  int32_t* out = static_cast<int32_t*>(data);
  size_t found = 0;
  const std::vector<int32_t>& ids = environment->watched_ids;
  constexpr size_t kPerScope = 1024;  // handles of living objects are held until their scope closes
  for (size_t end = ids.size(); end > 0 && found < length;) {
    const size_t start = end > kPerScope ? end - kPerScope : 0;
    napi_handle_scope scope;
    if (napi_open_handle_scope(env, &scope) != napi_ok) break;
    // Downwards: forget() puts the last one, which has been looked at, in the place of the forgotten.
    for (; end > start && found < length; end--) {
      const int32_t id = ids[end - 1];
      napi_value object = nullptr;
      napi_get_reference_value(env, environment->watched[id].weak, &object);
      if (object) continue;
      out[found++] = id;
      forget(env, environment, id);
    }
    napi_close_handle_scope(env, scope);
  }
  if (found < length) set_canary(env, environment);  // else there may be more
  return number(env, (double)found);
}

}  // namespace xcorr
