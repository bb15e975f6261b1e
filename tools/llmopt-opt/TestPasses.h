//===- TestPasses.h - passes that exist for tests ---------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_TOOLS_LLMOPTOPT_TESTPASSES_H
#define LLMOPT_TOOLS_LLMOPTOPT_TESTPASSES_H

namespace llmopt {

/// --llmopt-decompose, --llmopt-interpret, --llmopt-print-shapes
void registerTestPasses();

} // namespace llmopt

#endif // LLMOPT_TOOLS_LLMOPTOPT_TESTPASSES_H
