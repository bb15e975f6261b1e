//===- LoadPlugin.cpp - fusions from shared libraries ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/passes/Plugin.h"

using namespace llmopt;

Status llmopt::loadPassPlugin(const std::string &path) {
  auto plugin = mlir::PassPlugin::load(path);
  if (!plugin)
    return badInput("E0307", "cannot load the plugin: " + llvm::toString(plugin.takeError()), path);
  if (plugin->getPluginVersion() != kPluginVersion)
    return unsupported("E0308", "the plugin was built for '" + plugin->getPluginVersion().str() + "', this is '" + kPluginVersion +
                                    "'; build it again against this install tree", path);
  size_t before = allFusions().size();
  plugin->registerPassRegistryCallbacks();
  if (plugin->getPluginName().starts_with("fuse-") && allFusions().size() == before)
    return usageError("E0309", "there is a fusion '" + plugin->getPluginName().str() + "' already; give the plugin's another name", path);
  return {};
}
