#!/usr/bin/env bash
# Installs dependencies, configures and builds: tools/build.sh [preset] [target...]   (default: release, all)
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install-dependencies.sh
preset="${1:-release}"
shift || true
cmake --preset "$preset" >&2
cmake --build --preset "$preset" ${@:+--target "$@"} >&2
