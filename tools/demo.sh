#!/usr/bin/env bash
# The main job on a real model: builds llmopt, compiles the storyteller model of this repository, and lets it tell a story.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/build.sh release llmopt-compile llmopt-run
mkdir -p build/models
build/bin/llmopt-compile test/models/storyteller -O3 --target native -o build/models/storyteller.llmopt
build/bin/llmopt-run build/models/storyteller.llmopt --prompt "${1:-One morning}" --max-tokens 120 --temperature 0
