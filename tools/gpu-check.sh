#!/usr/bin/env bash
# Checks compiled models on a machine with an NVIDIA GPU.   tools/gpu-check.sh ARTIFACT_DIR [REPORT.json]
#
# ARTIFACT_DIR holds artifacts with GPU code and, where results are to be compared, CPU code in the same file
# (llmopt-compile MODEL --target x86-64-v3 --target sm_90), and folders test_data_set_* beside an artifact NAME.llmopt in NAME.data.
# For each: the GPU's greedy ids against the CPU's, the data sets, then tokens per second. Nothing is installed or changed.
set -uo pipefail
folder="${1:?usage: tools/gpu-check.sh ARTIFACT_DIR [REPORT.json]}"
report="${2:-gpu-check.json}"
bin="${LLMOPT_BIN:-$(cd "$(dirname "$0")/.." && pwd)/build/bin}"
prompt="${LLMOPT_CHECK_IDS:-1 5 9 11 13}" steps="${LLMOPT_CHECK_TOKENS:-64}"
failures=0 rows=""

say() { printf '%s %s\n' "$1" "$2"; [ "$1" = FAIL ] && failures=$((failures + 1)); }
add() { rows="$rows${rows:+,}
  {\"artifact\": \"$1\", \"check\": \"$2\", \"result\": \"$3\"}"; }

ids() { "$bin/llmopt-run" "$1" --device "$2" --ids "$prompt" --no-echo --print-ids --ignore-eos -n "$steps" --temperature 0; }

shopt -s nullglob
for artifact in "$folder"/*.llmopt; do
  name="$(basename "$artifact" .llmopt)"
  kind="$("$bin/llmopt-inspect" "$artifact" --json | python3 -c 'import json,sys; print(json.load(sys.stdin)["model"].get("kind", "graph"))')"
  if [ "$kind" = decoder ]; then
    if ! gpu="$(ids "$artifact" cuda 2> /tmp/gpu-check.$$)"; then
      say FAIL "$name on the GPU: $(head -c 400 /tmp/gpu-check.$$)"; add "$name" ids "does not run"; continue
    fi
    if cpu="$(ids "$artifact" cpu 2> /dev/null)"; then
      if [ "$gpu" = "$cpu" ]; then say PASS "$name: $steps ids as on the CPU"; add "$name" ids equal
      else say FAIL "$name: ids differ from the CPU's"; add "$name" ids differ; fi
    else
      say SKIP "$name: no CPU code to compare with"; add "$name" ids "ran, not compared"
    fi
    if speed="$("$bin/llmopt-run" "$artifact" --device cuda --ids "$prompt" --no-echo --print-ids --ignore-eos -n "$steps" --perf 2>&1 > /dev/null)"; then
      say INFO "$name: $(tr '\n' ' ' <<< "$speed")"; add "$name" speed "$(tr '\n"' " '" <<< "$speed")"
    fi
  fi
  for data in "$folder/$name.data"/test_data_set_*; do
    if "$bin/llmopt-run" "$artifact" --device cuda --test-data "$data" --atol 1e-2 --rtol 1e-2 > /tmp/gpu-check.$$ 2>&1; then
      say PASS "$name: $(basename "$data")"; add "$name" "$(basename "$data")" equal
    else
      say FAIL "$name: $(basename "$data"): $(head -c 400 /tmp/gpu-check.$$)"; add "$name" "$(basename "$data")" differ
    fi
  done
done
rm -f /tmp/gpu-check.$$
gpu="$(nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2> /dev/null | head -1)"
printf '{"gpu": "%s", "results": [%s\n]}\n' "$gpu" "$rows" > "$report"
echo "$failures failed; report in $report"
exit $((failures > 0))
