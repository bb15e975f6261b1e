//===- Plugin.h - fusions from outside of the tree ------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A plugin is a shared library that llmopt-compile and llmopt-opt load with --load-pass-plugin. It is built against the install tree
// (`llmopt_add_plugin` of find_package(LLMOpt)), links nothing of llmopt, and finds its symbols in the program that loads it.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_PASSES_PLUGIN_H
#define LLMOPT_PASSES_PLUGIN_H

#include "llmopt/passes/Fusion.h"

#include "mlir/Tools/Plugins/PassPlugin.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/Compiler.h"

namespace llmopt {

/// What a plugin was built for; programs refuse plugins of another version. There is no stable ABI between versions.
inline constexpr const char kPluginVersion[] = "llmopt 0.1, LLVM " LLVM_VERSION_STRING;

} // namespace llmopt

/// LLMOPT_FUSION_PLUGIN("fuse-something", 1, "what it does", addPatterns): once a plugin.
#define LLMOPT_FUSION_PLUGIN(name, level, summary, addPatterns)                                                        \
  extern "C" LLVM_ATTRIBUTE_VISIBILITY_DEFAULT ::mlir::PassPluginLibraryInfo mlirGetPassPluginInfo() {                 \
    return {MLIR_PLUGIN_API_VERSION, name, ::llmopt::kPluginVersion,                                                   \
            [] { ::llmopt::registerFusion({name, level, summary}, addPatterns); }};                                    \
  }

#endif // LLMOPT_PASSES_PLUGIN_H
