#!/usr/bin/env bash
# Builds everything and runs the tests.   tools/test.sh [quick|long]   (default: quick, what every change must pass)
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release
exec python3 tools/checks/run_tests.py --build build --label "${1:-quick}"
