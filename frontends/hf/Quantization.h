//===- Quantization.h - folders of quantized weights ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_QUANTIZATION_H
#define LLMOPT_FRONTENDS_HF_QUANTIZATION_H

#include "Architecture.h"
#include "Problems.h"
#include "llmopt/lib/Support/Json.h"

#include <optional>
#include <string>
#include <vector>

namespace llmopt::hf {

/// Linear layers whose weights are e4m3 with one scale (`X.weight_scale`), one for each output, or one for each block of outputs and inputs. Which layers those are
/// the files tell by their types.
struct Float8Scheme {
  enum class Input {
    Float, ///< inputs stay what they are
    Fixed, ///< rounded to e4m3 by one scale, `X.input_scale`
    Token  ///< each token by its largest element
  };
  Input input = Input::Float;
  int64_t blockOutputs = 0, blockInputs = 0; ///< that share a scale; 0: not in blocks
  std::string scaleName = ".weight_scale";
  bool operator==(const Float8Scheme &) const = default;
};

/// What config.json says of quantized weights: nothing (or what the description's experts take), a scheme, or a problem.
std::optional<Float8Scheme> readQuantization(const Json &config, const Architecture &architecture, Problems &problems, std::vector<std::string> &warnings);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_QUANTIZATION_H
