//===- CompareTensors.cpp - is a tensor what was expected -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/CompareTensors.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

using namespace llmopt;

static bool isClose(double got, double want, double rtol, double atol) {
  if (std::isnan(want) || std::isnan(got))
    return std::isnan(want) && std::isnan(got);
  if (std::isinf(want) || std::isinf(got))
    return got == want;
  return std::fabs(got - want) <= atol + rtol * std::fabs(want);
}

Status llmopt::compareTensors(const Tensor &got, const Tensor &want, double rtol, double atol, const std::string &name) {
  if (got.typeName() != want.typeName())
    return verificationFailed("E0501", "'" + name + "' is " + got.typeName() + ", expected " + want.typeName());
  bool exact = !isFloat(want.dtype());
  int64_t wrong = 0, worst = 0;
  double worstError = -1;
  for (int64_t i = 0; i < want.elements(); ++i) {
    double g = got.at(i), w = want.at(i);
    if (exact ? g == w : isClose(g, w, rtol, atol))
      continue;
    ++wrong;
    double error = std::isfinite(g - w) ? std::fabs(g - w) : INFINITY;
    if (error > worstError) {
      worstError = error;
      worst = i;
    }
  }
  if (!wrong)
    return {};
  char text[160];
  std::snprintf(text, sizeof(text), " differs in %lld of %lld elements; worst at %lld: %.9g, expected %.9g", (long long)wrong,
                (long long)want.elements(), (long long)worst, got.at(worst), want.at(worst));
  return verificationFailed("E0502", "'" + name + "'" + text);
}

Status llmopt::compareTensorsByNorm(const Tensor &got, const Tensor &want, double tolerance, const std::string &name) {
  if (!isFloat(want.dtype()) || got.typeName() != want.typeName())
    return compareTensors(got, want, 0, 0, name);
  double wrong = 0, norm = 0;
  for (int64_t i = 0; i < want.elements(); ++i) {
    double g = got.at(i), w = want.at(i);
    if (g == w) // infinities
      continue;
    wrong += (g - w) * (g - w);
    norm += std::isinf(w) ? 0 : w * w;
  }
  double count = double(std::max<int64_t>(want.elements(), 1));
  double error = std::sqrt(wrong / count), scale = std::sqrt(norm / count);
  if (error <= tolerance * std::max(scale, 1e-2))
    return {};
  // The element that tells most.
  Status worst = compareTensors(got, want, tolerance, tolerance * scale, name);
  char text[96];
  std::snprintf(text, sizeof(text), " (root mean square of the difference %.3g, of the values %.3g)", error, scale);
  return verificationFailed("E0502", (worst ? "'" + name + "' differs" : worst.error().message) + text);
}
