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

/// Linear layers whose weights are e4m3 with one scale (`X.weight_scale`), or one for each output. Which layers those are the files tell by their types.
struct Float8Scheme {
  enum class Input {
    Float, ///< inputs stay what they are
    Fixed, ///< rounded to e4m3 by one scale, `X.input_scale`
    Token  ///< each token by its largest element
  };
  Input input = Input::Float;
  bool operator==(const Float8Scheme &) const = default;
};

/// What config.json says of quantized weights: nothing (or what the description's experts take), a scheme, or a problem.
std::optional<Float8Scheme> readQuantization(const Json &config, const Architecture &architecture, Problems &problems, std::vector<std::string> &warnings);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_QUANTIZATION_H
