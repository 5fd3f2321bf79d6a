#!/bin/sh
# Native tests without Node:
#   sh native/test/run.sh [plain|asan|tsan|neon] [full] [rounds]
#   sh native/test/run.sh [asan|tsan] environments [seconds] [seed]
# plain: the addon's own objects. asan: AddressSanitizer and UndefinedBehaviorSanitizer. tsan: ThreadSanitizer. neon:
# cross-compiled, under qemu-aarch64, and its bits compared with this machine's (if it has fma). environments: the addon
# under a sanitizer, in a Node that is not: several environments at once, ended in the middle of everything
# (environments.mjs).
#
# Most of the time is the compiler's. So asan leaves out checks of the kernels' pointers (null, alignment, size of objects,
# overflow), two fifths of it, which but for alignment find nothing that AddressSanitizer does not see as soon as they are
# used; and it takes the addon's generic kernels, which are the same source as those of avx2 and avx512. `full` leaves out
# nothing. In every mode it makes four times as many calls.
#   XCORR_JOBS=4     compilations and tests at a time (as many as there are processors)
set -e
cd "$(dirname "$0")/../.."
mode=${1:-plain}
[ $# -gt 0 ] && shift
full=
environments=
case $1 in
  full) full=yes; shift ;;
  environments) environments=yes; shift ;;
esac
given=$1
jobs=${XCORR_JOBS:-$(nproc)}
CXX=${CXX:-g++}
CROSS_CXX=${CROSS_CXX:-aarch64-linux-gnu-g++}

# build.json's list of one name.
list_of() {
  tr -d '\n' < native/build.json | sed 's/.*"'"$1"'": *\[\([^]]*\)\].*/\1/; s/", *"/ /g; s/"//g'
}

# build FOLDER "TARGETS" "TARGETS AS THE ADDON HAS THEM" "FLAGS OF OTHER KERNELS" "FLAGS" "PROGRAMS"
build() {
  echo "compiling for $1: $6"
  make --silent --file native/test/Makefile --jobs "$jobs" OUT="build/test/$1" CXX="$compiler" TARGETS="$2" \
    AS_BUILT="$3" MODE_KERNEL_FLAGS="$4" FLAGS="$5" PROGRAMS="$6" KERNEL_FLAGS="$(list_of xcorr_kernel_flags)" \
    generic_FLAGS="$(list_of xcorr_generic_flags)" avx2_FLAGS="$(list_of xcorr_avx2_flags)" \
    avx512_FLAGS="$(list_of xcorr_avx512_flags)" neon_FLAGS="$(list_of xcorr_neon_flags)" \
    SOURCE_FLAGS="$(list_of xcorr_flags)" LINK_FLAGS="$(list_of xcorr_link_flags)" \
    RUNTIME="$(list_of xcorr_runtime_sources)" ADDON="$(list_of xcorr_addon_sources)"
}

case $(uname -m) in
  x86_64) targets="avx512 avx2 generic" ;;  # the one that compiles longest first
  aarch64) targets="generic neon" ;;
  *) targets="generic" ;;
esac
programs="parity convolution_check math_check fuzz_calls threads"
[ "$environments" ] && programs=xcorr.node
folder=$mode
compiler=$CXX
runner=
math_targets=
case $mode in
  plain)
    build "$folder" "$targets" "$targets" "" "-O2" "$programs"
    rounds=40
    ;;
  asan)
    flags="-O1 -g1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer"
    checks="-fno-sanitize=null,alignment,object-size,pointer-overflow"
    as_built=generic
    [ "$targets" = generic ] && as_built=
    if [ "$full" ]; then
      folder=asan-full
      checks=
      as_built=
    fi
    build "$folder" "$targets" "$as_built" "$flags $checks" "$flags" "$programs"
    rounds=15
    ;;
  tsan)
    flags="-O1 -g1 -fsanitize=thread"
    build "$folder" "$targets" "" "$flags" "$flags" "$programs"
    rounds=5
    ;;
  neon)
    compiler=$CROSS_CXX
    runner="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
    # Under emulation only the functions of neon: generic has no fma and larger errors in far tails.
    math_targets=neon
    build "$folder" "neon generic" "" "-O2" "-O2" "parity convolution_check math_check"
    rounds=10
    ;;
  *) echo "usage: $0 [plain|asan|tsan|neon] [full] [rounds]" >&2; exit 2 ;;
esac
folder=build/test/$folder

if [ "$environments" ]; then
  case $mode in asan|tsan) ;; *) echo "environments: asan or tsan" >&2; exit 2 ;; esac
  package=$folder/package
  rm -rf "$package"
  mkdir -p "$package/build/Release"
  cp -r package.json dist "$package"
  cp "$folder/xcorr.node" "$package/build/Release"
  # Of Node itself neither leaks nor races are looked for.
  export ASAN_OPTIONS="detect_leaks=0:$ASAN_OPTIONS" TSAN_OPTIONS="ignore_noninstrumented_modules=1:$TSAN_OPTIONS"
  export UBSAN_OPTIONS="print_stacktrace=1:$UBSAN_OPTIONS"
  library=$($CXX -print-file-name=lib$mode.so)
  exec env LD_PRELOAD="$library" node native/test/environments.mjs "$package" "${given:-20}" "${2:-1}"
fi

[ "$full" ] && rounds=$((rounds * 4))
rounds=${given:-$rounds}

# Everything at once, `jobs` at a time, the longest first; parity and convolutions in parts with seeds of their own. A
# part's output comes whole. Fixed seeds, so that CI repeats.
half=$(((rounds + 1) / 2))
cases=$((half * 8))
list=$folder/list.txt
{
  echo "$runner $folder/parity $half 1"
  echo "$runner $folder/parity $half 2"
  echo "$runner $folder/convolution_check $cases 1"
  echo "$runner $folder/convolution_check $cases $((cases + 1))"
  if [ "$mode" = neon ]; then
    echo "$runner $folder/parity --hash > $folder/hashes.txt"
  else
    echo "$folder/threads"
    echo "$folder/fuzz_calls 5"
  fi
  echo "$runner $folder/math_check $((rounds * 200)) 1 $math_targets"
} > "$list"
status=0
# shellcheck disable=SC2016
xargs -P "$jobs" -I{} sh -c '
  output=$0.$$
  status=0
  { {} ; } > "$output" 2>&1 || { status=1; echo "FAILED: {}" >> "$output"; }
  cat "$output"
  rm "$output"
  exit $status' "$folder/output" < "$list" || status=1

if [ "$mode" = neon ] && grep -q ' fma ' /proc/cpuinfo 2>/dev/null; then
  compiler=$CXX
  build plain "$targets" "$targets" "" "-O2" parity
  build/test/plain/parity --hash > build/test/plain/hashes.txt
  if cmp -s "$folder/hashes.txt" build/test/plain/hashes.txt; then
    echo "neon and this machine give the same bits: $(wc -l < "$folder/hashes.txt") hashes of kernel and type"
  else
    echo "FAILED: neon and this machine give different bits:"
    diff build/test/plain/hashes.txt "$folder/hashes.txt" || true
    status=1
  fi
fi
exit $status
