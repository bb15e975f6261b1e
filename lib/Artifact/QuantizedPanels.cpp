//===- QuantizedPanels.cpp - layouts of weights of 4 and 8 bits -----------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/QuantizedPanels.h"

#include "llmopt/lib/Support/CheckedMath.h"

#include <algorithm>
#include <charconv>

using namespace llmopt;

namespace {

constexpr std::string_view kPrefix = "panel16";
constexpr int64_t kPanelColumns = 16, kPiece = 64;

template <typename Number>
bool takeNumber(std::string_view &text, Number &number) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(size_t(end - text.data()));
  return error == std::errc();
}

} // namespace

std::string QuantizedPanels::layout() const {
  return std::string(kPrefix) + (order == CodeOrder::Words ? "w" : "q") + std::to_string(bits) + "b" + std::to_string(block) + std::string(dtypeName(scale)) + (zeros ? "z" : "");
}

std::optional<QuantizedPanels> QuantizedPanels::ofLayout(std::string_view layout) {
  QuantizedPanels panels;
  if (!layout.starts_with(kPrefix))
    return std::nullopt;
  layout.remove_prefix(kPrefix.size());
  if (!layout.starts_with("q") && !layout.starts_with("w"))
    return std::nullopt;
  panels.order = layout.front() == 'w' ? CodeOrder::Words : CodeOrder::Fragments;
  layout.remove_prefix(1);
  if (!takeNumber(layout, panels.bits) || !layout.starts_with("b"))
    return std::nullopt;
  layout.remove_prefix(1);
  // The block's digits and "f32" or "bf16" cannot run into each other.
  if (!takeNumber(layout, panels.block))
    return std::nullopt;
  panels.zeros = layout.ends_with("z");
  std::optional<DType> scale = parseDType(layout.substr(0, layout.size() - size_t(panels.zeros)));
  if (!scale || (*scale != DType::F32 && *scale != DType::BF16 && *scale != DType::F16) || (panels.bits != 4 && panels.bits != 8) || panels.block < 0 ||
      (panels.block % 64 != 0 && panels.block != 16 && panels.block != 32))
    return std::nullopt;
  panels.scale = *scale;
  return panels;
}

int64_t QuantizedPanels::blockInputs(int64_t inputs) const { return block ? block : roundUp(inputs, inputs <= 256 ? 16 : 256); }
int64_t QuantizedPanels::blockBytes(int64_t inputs) const { return blockInputs(inputs) * kPanelColumns * bits / 8; }
int64_t QuantizedPanels::groupBlocks(int64_t inputs) const { return std::min<int64_t>(blocks(inputs), zeros ? 4 : dtypeSize(scale) == 2 ? 2 : 1); }
int64_t QuantizedPanels::scaleBytes(int64_t inputs) const { return roundUp(groupBlocks(inputs) * kPanelColumns * int64_t(dtypeSize(scale)), 64); }
int64_t QuantizedPanels::headBytes(int64_t inputs) const { return scaleBytes(inputs) + (zeros ? roundUp(groupBlocks(inputs) * kPanelColumns, 64) : 0); }

int64_t QuantizedPanels::panelBytes(int64_t inputs) const {
  if (order == CodeOrder::Words) {
    int64_t last = blocks(inputs) - 1, groups = groupBlocks(inputs);
    return last / groups * groupBytes(inputs) + headBytes(inputs) + (last % groups + 1) * blockBytes(inputs);
  }
  int64_t padded = roundUp(inputs, kPiece);
  return padded * kPanelColumns * bits / 8 + blocks(padded) * kPanelColumns * (int64_t(dtypeSize(scale)) + zeros);
}

int64_t QuantizedPanels::bytes(int64_t outputs, int64_t inputs) const { return ceilDiv(outputs, kPanelColumns) * panelBytes(inputs); }
