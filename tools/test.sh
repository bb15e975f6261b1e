#!/usr/bin/env bash
# Builds and runs the tests.   tools/test.sh [quick|long|asan|fuzz [SECONDS]]
#   quick  what every change must pass (default)
#   long   that, and what needs large Python witnesses
#   asan   unit tests, bad input and the fuzzers' seeds under AddressSanitizer and UndefinedBehaviorSanitizer
#   fuzz   every fuzzer for SECONDS (default 600) each; corpus and crashes are kept in build/asan/fuzz
set -euo pipefail
cd "$(dirname "$0")/.."
label="${1:-quick}"
case "$label" in
quick | long)
  tools/build.sh release
  exec python3 tools/checks/run_tests.py --build build --label "$label"
  ;;
asan | fuzz)
  # MLIR's libraries are not sanitized: their allocator's poison is not ours to judge, nor is what they keep until the end.
  export ASAN_OPTIONS="allow_user_poisoning=0:detect_leaks=0:detect_container_overflow=0" UBSAN_OPTIONS="print_stacktrace=1"
  export LLMOPT_SANITIZED=1 LLMOPT_BUILD="$PWD/build/asan"
  tools/build.sh asan llmopt-sanitized-tests
  if [ "$label" = fuzz ]; then
    mkdir -p build/asan/fuzz
    exec python3 test/fuzz/smoke.py --seconds "${2:-600}" --keep "$PWD/build/asan/fuzz"
  fi
  exec python3 tools/checks/run_tests.py --build build/asan --label quick --only 'Tests$|bad_input|fuzz/|runtime/tools_test'
  ;;
*)
  sed -n '2,6s/^# \?//p' "$0" >&2
  exit 2
  ;;
esac
