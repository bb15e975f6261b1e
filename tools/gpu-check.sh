#!/usr/bin/env bash
# Checks compiled models on a machine with an NVIDIA GPU: tools/gpu-check.sh FOLDER [REPORT.json]; tools/gpu-check.sh --prepare FOLDER [MODEL ...] fills the
# folder beforehand, on a machine without one. tools/checks/gpu_check.py says more. LLMOPT_BIN: the programs, if not in build/bin.
exec python3 "$(dirname "$0")/checks/gpu_check.py" "$@"
