//===- RepackedWeights.h - weights that lie as another target wants them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A file for a CPU and a GPU holds each matrix once. Codes of 4 and 8 bits lie in words, as CPUs map them; section "repacked" says which tensors of a GPU's
// plan are made of them, by a kernel of the artifact, when it is loaded. These have places behind the weight section, as if it went on.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_REPACKEDWEIGHTS_H
#define LLMOPT_LIB_ARTIFACT_REPACKEDWEIGHTS_H

#include "llmopt/lib/Artifact/QuantizedPanels.h"
#include "llmopt/lib/Support/Json.h"

#include <array>
#include <span>
#include <vector>

namespace llmopt {

class Artifact;

struct RepackedWeight {
  std::string name;
  QuantizedPanels panels;  ///< as the GPU takes them
  uint64_t outputs = 0, inputs = 0;
  uint64_t zero = 0;       ///< code of 0 where blocks have no zero points of their own
  uint64_t from = 0;       ///< the words in the weight section
  uint64_t offset = 0;     ///< as plan::Weight::offset

  QuantizedPanels words() const;
  uint64_t panelCount() const { return (outputs + 15) / 16; }
  uint64_t panelBytes() const { return uint64_t(panels.panelBytes(int64_t(inputs))); }
  uint64_t wordPanelBytes() const { return uint64_t(words().panelBytes(int64_t(inputs))); }
  uint64_t bytes() const { return panelCount() * panelBytes(); }
  uint64_t wordBytes() const { return panelCount() * wordPanelBytes(); }
};

/// Makes fragments of words (codegen/CUDA/kernels/repack.cuh); the runtime launches it for each such weight, no plan does.
inline constexpr const char *kRepackKernel = "llmopt_repack";
/// What it is told behind the addresses of words and panels, 8 bytes each, in this order.
inline constexpr const char *kRepackNumbers[] = {"panels",    "outputs",     "stored",     "bits",       "block",     "blocks",     "scaleBytes", "zero",
                                                 "wordPanel", "groupBlocks", "groupBytes", "groupZeros", "groupHead", "blockBytes", "pieces",     "allBlocks"};
/// For `panels` of them, of which panel `first` is the first.
std::array<uint64_t, std::size(kRepackNumbers)> repackNumbers(const RepackedWeight &weight, uint64_t first, uint64_t panels);

Json toJson(std::span<const RepackedWeight> weights);
/// Of an artifact without the section: none. E0208 for words outside of the weight section.
Result<std::vector<RepackedWeight>> readRepackedWeights(const Artifact &artifact);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_REPACKEDWEIGHTS_H
