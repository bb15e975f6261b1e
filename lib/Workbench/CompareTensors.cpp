//===- CompareTensors.cpp - is a tensor what was expected -------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/CompareTensors.h"

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
  std::snprintf(text, sizeof(text), " differs in %lld of %lld elements, most at %lld: %.9g, expected %.9g", (long long)wrong,
                (long long)want.elements(), (long long)worst, got.at(worst), want.at(worst));
  return verificationFailed("E0502", "'" + name + "'" + text);
}
