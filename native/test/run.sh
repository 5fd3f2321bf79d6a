#!/bin/sh
# Native tests without Node:
#   sh native/test/run.sh [plain|asan|tsan|neon] [rounds]
# asan: AddressSanitizer and UndefinedBehaviorSanitizer. neon: cross-compiled, under qemu-aarch64, and its bits compared
# with this machine's (if it has fma).
#
# The addon under a sanitizer, in a Node that is not: several environments at once, ended in the middle of everything
# (environments.mjs):
#   sh native/test/run.sh [asan|tsan] environments [seconds] [seed]
set -e
cd "$(dirname "$0")/../.."
mode=${1:-plain}
rounds=$2
environments=
if [ "$rounds" = environments ]; then
  environments=yes
  seconds=${3:-20}
  seed=${4:-1}
  rounds=
fi
CXX=${CXX:-g++}
runner=
case $mode in
  plain) flags="-O2"; rounds=${rounds:-40} ;;
  asan) flags="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"; rounds=${rounds:-15} ;;
  tsan) flags="-O1 -g -fsanitize=thread"; rounds=${rounds:-5} ;;
  neon) CXX=${CROSS_CXX:-aarch64-linux-gnu-g++}; flags="-O2"; runner="qemu-aarch64-static -L /usr/aarch64-linux-gnu"; rounds=${rounds:-10} ;;
  *) echo "usage: $0 [plain|asan|tsan|neon] [rounds]" >&2; exit 2 ;;
esac
case $mode-$(uname -m) in
  neon-*) targets="generic neon" ;;
  *-x86_64) targets="generic avx2 avx512" ;;
  *-aarch64) targets="generic neon" ;;
  *) targets="generic" ;;
esac

# build.json's flags of one name.
flags_of() {
  tr -d '\n' < native/build.json | sed 's/.*"'"$1"'": *\[\([^]]*\)\].*/\1/; s/[",]/ /g'
}

build=build/test/$mode
mkdir -p "$build"
objects=
compilers=
for target in $targets; do
  object=$build/$target.o
  objects="$objects $object"
  changed=$(find native/abi.h native/simd native/kernels native/targets native/build.json -newer "$object" 2>/dev/null | head -1 || true)
  [ -f "$object" ] && [ -z "$changed" ] && continue
  echo "compiling $target ($mode)"
  $CXX $(flags_of xcorr_kernel_flags) $(flags_of xcorr_${target}_flags) $flags -DXCORR_TARGET="$target" \
    -c native/targets/target.cpp -o "$object" &
  compilers="$compilers $!"
done
for compiler in $compilers; do wait "$compiler"; done
runtime=$(flags_of xcorr_runtime_sources)

if [ "$environments" ]; then
  case $mode in asan|tsan) ;; *) echo "environments: asan or tsan" >&2; exit 2 ;; esac
  package=$build/package
  mkdir -p "$package/build/Release"
  rm -rf "$package/dist"
  cp -r package.json dist "$package"
  echo "compiling the addon ($mode)"
  # shellcheck disable=SC2086
  $CXX $(flags_of xcorr_flags) $flags -DNAPI_VERSION=8 -DBUILDING_NODE_EXTENSION -Inode_modules/node-api-headers/include \
    $runtime $(flags_of xcorr_addon_sources) $objects -shared -rdynamic -pthread -Wl,-z,nodelete \
    -o "$package/build/Release/xcorr.node"
  # Of Node itself neither leaks nor races are looked for.
  export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" TSAN_OPTIONS="ignore_noninstrumented_modules=1:$TSAN_OPTIONS"
  export UBSAN_OPTIONS="print_stacktrace=1:$UBSAN_OPTIONS"
  library=$($CXX -print-file-name=lib$mode.so)
  exec env LD_PRELOAD="$library" node native/test/environments.mjs "$package" "$seconds" "$seed"
fi

echo "compiling the tests ($mode)"
$CXX -std=c++20 -fno-rtti -Wall -Wextra $flags native/test/parity.cpp native/test/random_calls.cpp $runtime $objects \
  -pthread -o "$build/parity"
$CXX -std=c++20 -Wall -Wextra $flags native/test/threads.cpp native/runtime/threads.cpp native/runtime/runner.cpp \
  native/runtime/answering.cpp native/runtime/processor.cpp native/runtime/cpu.cpp native/runtime/turns.cpp \
  -pthread -o "$build/threads"
$CXX -std=c++20 -Wall -Wextra $flags native/test/math_check.cpp $objects -o "$build/math_check"
$CXX -std=c++20 -Wall -Wextra $flags native/test/convolution_check.cpp $objects -pthread -o "$build/convolution_check"

if [ "$mode" != neon ]; then
  $CXX -std=c++20 -fno-rtti -Wall -Wextra $flags -Inode_modules/node-api-headers/include native/test/fuzz_calls.cpp \
    native/test/random_calls.cpp native/addon/record.cpp $runtime $objects -pthread -o "$build/fuzz_calls"
fi

status=0
if [ "$mode" != neon ]; then
  "$build/threads" || status=1
  "$build/fuzz_calls" 5 || status=1
fi
# A fixed seed, so that CI repeats. Under emulation only the neon functions: generic has no fma and larger errors in far tails.
math_targets=
[ "$mode" = neon ] && math_targets=neon
$runner "$build/math_check" $((rounds * 200)) 1 $math_targets || status=1
$runner "$build/convolution_check" $((rounds * 8)) 1 || status=1
$runner "$build/parity" "$rounds" || status=1
if [ "$mode" = neon ] && grep -q ' fma ' /proc/cpuinfo 2>/dev/null; then
  sh "$0" plain 1 > "$build/plain.log" || { cat "$build/plain.log"; status=1; }
  build/test/plain/parity --hash > "$build/here.txt"
  $runner "$build/parity" --hash > "$build/neon.txt"
  if cmp -s "$build/here.txt" "$build/neon.txt"; then
    echo "neon and this machine give the same bits: $(wc -l < "$build/neon.txt") hashes of kernel and type"
  else
    echo "FAILED: neon and this machine give different bits:"
    diff "$build/here.txt" "$build/neon.txt" || true
    status=1
  fi
fi
exit $status
