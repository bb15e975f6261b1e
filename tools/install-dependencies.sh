#!/usr/bin/env bash
# Installs what llmopt needs on Debian 12: build tools, LLVM/MLIR 22 and a few libraries. Does nothing where all is there.
set -euo pipefail
packages=(
  build-essential ca-certificates cmake ninja-build ccache git pkg-config python3 python3-venv
  libmlir-22-dev mlir-22-tools llvm-22-dev llvm-22-tools clang-22 lld-22 liblld-22-dev libclang-rt-22-dev
  nlohmann-json3-dev libprotobuf-dev protobuf-compiler libpcre2-dev libutf8proc-dev libxxhash-dev libcli11-dev libgtest-dev
  zlib1g-dev libzstd-dev
)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
echo "installing: ${missing[*]}" >&2
sudo=""
if [ "$(id -u)" -ne 0 ]; then
  sudo="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q >&2
$sudo apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
