//===- QuantizedPanels.cpp - weights of 4 and 8 bits as kernels read them -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/Common/QuantizedPanels.h"

#include "codegen/Common/WeightPacking.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;

namespace {

constexpr int64_t kPiece = 64, kLaneBytes = 16, kLanes = 32;

int64_t pieces(int64_t inputs) { return (inputs + kPiece - 1) / kPiece; }

void storeScale(DType type, float value, std::byte *to) {
  uint16_t half = type == DType::BF16 ? floatToBf16(value) : floatToF16(value);
  if (type == DType::F32)
    std::memcpy(to, &value, sizeof value);
  else
    std::memcpy(to, &half, sizeof half);
}

/// Where the parts of a panel lie.
struct Places {
  Places(const QuantizedPanels &panels, int64_t inputs) : panels(panels), inputs(inputs), words(panels.order == CodeOrder::Words) {
    padded = words ? panels.blocks(inputs) * panels.blockInputs(inputs) : pieces(inputs) * kPiece;
    blocks = panels.blocks(padded);
  }
  const QuantizedPanels &panels;
  int64_t inputs, padded, blocks;
  bool words;

  int64_t group(int64_t block) const { return block / panels.groupBlocks(inputs) * panels.groupBytes(inputs); }
  int64_t inGroup(int64_t block) const { return block % panels.groupBlocks(inputs); }
  int64_t scale(int64_t block, int64_t n) const {
    int64_t bytes = int64_t(dtypeSize(panels.scale));
    return words ? group(block) + (inGroup(block) * kPanelColumns + n) * bytes : padded * kPanelColumns * panels.bits / 8 + (block * kPanelColumns + n) * bytes;
  }
  int64_t zero(int64_t block, int64_t n) const {
    return words ? group(block) + panels.scaleBytes(inputs) + inGroup(block) * kPanelColumns + n : scale(blocks, 0) + block * kPanelColumns + n;
  }
  int64_t codes(int64_t block) const { return group(block) + panels.headBytes(inputs) + inGroup(block) * panels.blockBytes(inputs); }
};

/// Stores an output's codes of a block, whole words of them.
void storeWords(int bits, int64_t n, std::span<const uint8_t> codes, std::byte *block) {
  uint8_t word[4];
  for (size_t k = 0; k < codes.size(); k += 32 / size_t(bits)) {
    for (size_t i = 0; i < 4; ++i)
      word[i] = bits == 4 ? uint8_t(codes[k + i] | codes[k + 4 + i] << 4) : codes[k + i];
    std::memcpy(block + (int64_t(k) * bits / 32 * kPanelColumns + n) * 4, word, 4);
  }
}

/// Adds a code at its place among a panel's.
void storeFragmentCode(int bits, int64_t n, int64_t k, uint8_t code, std::byte *panel) {
  int64_t lane = n % 8 * 4 + k % 16 / 4, j = n / 8, r = k / 2 % 2, e = k % 2;
  if (bits == 4) {
    std::byte &to = panel[(k / kPiece * kLanes + lane) * kLaneBytes + k % kPiece / 16 * 4 + j + e * 2];
    to |= std::byte(code << (r * 4));
  } else {
    panel[(k / 32 * kLanes + lane) * kLaneBytes + (k % 32 / 16 * 2 + r) * 4 + j * 2 + e] = std::byte(code);
  }
}

} // namespace

Status llmopt::packQuantized(const QuantizedPanels &panels, const QuantizedMatrix &matrix, std::span<std::byte> packed) {
  Places places(panels, matrix.inputs);
  int64_t blocks = panels.blocks(matrix.inputs), panelBytes = panels.panelBytes(matrix.inputs);
  if (packed.size() != size_t(panels.bytes(matrix.outputs, matrix.inputs)) || int64_t(matrix.scales.size()) != matrix.outputs * blocks ||
      int64_t(matrix.zeros.size()) != (panels.zeros ? matrix.outputs * blocks : 1))
    return internalError("E0922", "a quantized weight to be packed has another size than its shape says");
  std::fill(packed.begin(), packed.end(), std::byte(0));
  int largest = (1 << panels.bits) - 1;
  std::vector<uint8_t> codes; // of a block
  for (int64_t n = 0; n < matrix.outputs; ++n) {
    std::byte *panel = packed.data() + n / kPanelColumns * panelBytes;
    int64_t column = n % kPanelColumns;
    for (int64_t block = 0; block < places.blocks; ++block) {
      // Inputs beyond K lie in a block of scale 0, or are zero points of the last.
      bool real = block < blocks;
      uint8_t zero = panels.zeros ? (real ? matrix.zeros[size_t(n * blocks + block)] : 0) : matrix.zeros[0];
      if (zero > largest)
        return badInput("E0922", "a zero point is " + std::to_string(zero) + ", beyond " + std::to_string(panels.bits) + " bits");
      storeScale(panels.scale, real ? matrix.scales[size_t(n * blocks + block)] : 0, panel + places.scale(block, column));
      if (panels.zeros)
        panel[places.zero(block, column)] = std::byte(zero);
      int64_t first = panels.block * block, end = panels.block ? std::min(first + panels.block, places.padded) : places.padded;
      codes.assign(size_t(end - first), zero);
      for (int64_t k = first; k < std::min(end, matrix.inputs); ++k)
        codes[size_t(k - first)] = uint8_t(matrix.codes[n * matrix.outputStride + k * matrix.inputStride] + matrix.offset);
      if (int code = *std::max_element(codes.begin(), codes.end()); code > largest)
        return badInput("E0922", "a code is " + std::to_string(code) + ", beyond " + std::to_string(panels.bits) + " bits");
      if (places.words)
        storeWords(panels.bits, column, codes, panel + places.codes(block));
      for (int64_t k = first; !places.words && k < end; ++k)
        storeFragmentCode(panels.bits, column, k, codes[size_t(k - first)], panel);
    }
  }
  return {};
}
