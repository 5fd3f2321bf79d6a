#!/bin/sh
# Compiles one target's kernels alone, in one command:
#   sh scripts/compile-target.sh avx512                      all of native/kernels/
#   sh scripts/compile-target.sh avx2 gemm.inl conv.inl      these files (and what they include)
#   OPT=-O0 sh scripts/compile-target.sh generic             other optimisation
# (g++ 12 calls the undefined operands of its own AVX-512 intrinsics uninitialised: hence the two -Wno.)
# Leaves build/check/<target>.o and complains if it exports anything but its table.
set -e
cd "$(dirname "$0")/.."
target=$1
shift
case $target in
  generic) flags="" ;;
  avx2) flags="-mavx2 -mfma -mf16c" ;;
  avx512) flags="-mavx512f -mavx512bw -mavx512dq -mavx512vl -mfma -mprefer-vector-width=512" ;;
  neon) flags=""; CXX=${CXX:-aarch64-linux-gnu-g++}; NM=${NM:-aarch64-linux-gnu-nm} ;;
  *) echo "usage: $0 generic|avx2|avx512|neon [file.inl ...]" >&2; exit 2 ;;
esac
mkdir -p build/check
absent=
list=build/check/kernels-$$.h
object=build/check/$target.o
[ $# -gt 0 ] && object=build/check/$target-$$.o
trap 'rm -f build/check/*-$$.*' EXIT
if [ $# -eq 0 ]; then set -- $(cd native/kernels && ls | grep '\.inl$' || true); fi
compile="${CXX:-g++} -std=c++20 ${OPT:--O3} -fPIC -ffp-contract=off -fno-math-errno -fno-trapping-math -fno-exceptions
  -fno-rtti -fvisibility=hidden -Wall -Wextra -Wno-psabi -Wno-maybe-uninitialized -Wno-uninitialized -fmax-errors=10 -ftrack-macro-expansion=0 $flags"
echo "#include \"../../native/simd/$target.h\"" > "$list"
for file in "$@"; do echo "#include \"../../native/kernels/$(basename "$file")\"" >> "$list"; done
# Kernels that these files do not define trap when called.
$compile -E -P "$list" | tr '\n' ' ' | grep -oE 'int64_t [a-z0-9_]+\( *const [A-Za-z]+Sizes *&' |
  sed 's/int64_t //; s/(.*//' | sort -u > "$list.names"
sed -n 's/^  K(\([a-z0-9_]*\), \([A-Za-z]*\),.*/\1 \2/p' native/abi.h > "$list.all"
echo "namespace xcorr { namespace {" >> "$list"
while read -r name sizes; do
  grep -qx "$name" "$list.names" && continue
  absent="$absent $name"
  echo "template <class T> int64_t $name(const $sizes&, const Runtime&, void* const*) { __builtin_trap(); }" >> "$list"
done < "$list.all"
echo "} }" >> "$list"
[ -n "$absent" ] && echo "not there:$absent"
$compile -DXCORR_TARGET="$target" -DXCORR_KERNEL_LIST="\"../../$list\"" -c native/targets/target.cpp -o "$object"
exported=$(${NM:-nm} --extern-only --defined-only -C "$object" | sed 's/^[0-9a-f]* //')
if [ "$(echo "$exported" | wc -l)" -ne 1 ]; then
  echo "$object must export its table alone (no std headers, everything in the anonymous namespace):" >&2
  echo "$exported" >&2
  exit 1
fi
echo "$object: $exported"
