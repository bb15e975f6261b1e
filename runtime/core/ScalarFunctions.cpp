//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "runtime/core/ScalarFunctions.h"

#include <cmath>

template <double (*F)(double)>
static double unary(double a, double) {
  return F(a);
}

// In the order of ScalarFunctionId.
const llmopt::ScalarFunction llmopt::kScalarFunctions[] = {
    unary<std::exp>,  unary<std::log>,  unary<std::sin>,  unary<std::cos>,   unary<std::tan>,   unary<std::asin>,
    unary<std::acos>, unary<std::atan>, unary<std::sinh>, unary<std::cosh>,  unary<std::asinh>, unary<std::acosh>,
    unary<std::atanh>, unary<std::tanh>, unary<std::erf>,
    [](double a, double b) { return std::pow(a, b); },
    [](double a, double b) { return std::fmod(a, b); },
};
