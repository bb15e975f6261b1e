//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// The layout follows Hugging Face's page "Hub Local Cache":
//   <cache>/models--org--name/refs/main          text: the revision
//   <cache>/models--org--name/snapshots/<revision>/config.json -> ../../blobs/<hash>

#include "llmopt/frontends/HuggingFace.h"
#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

using namespace llmopt;
namespace fs = std::filesystem;

static std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

static fs::path hubCache() {
  if (std::string cache = environment("HF_HUB_CACHE"); !cache.empty())
    return cache;
  if (std::string home = environment("HF_HOME"); !home.empty())
    return fs::path(home) / "hub";
  return fs::path(environment("HOME")) / ".cache" / "huggingface" / "hub";
}

/// "org/name" or "name", of the characters that the hub allows.
static bool isModelName(const std::string &name) {
  auto isAllowed = [](char c) { return std::isalnum(uint8_t(c)) || c == '-' || c == '_' || c == '.' || c == '/'; };
  return !name.empty() && std::count(name.begin(), name.end(), '/') <= 1 && name.find("..") == name.npos && name.front() != '/' &&
         name.back() != '/' && std::all_of(name.begin(), name.end(), isAllowed);
}

Result<std::string> llmopt::findInHubCache(const std::string &name) {
  if (!isModelName(name))
    return badInput("E0402", "neither a folder nor a model's name", name);
  std::string folder = "models--" + name;
  if (size_t slash = folder.find('/'); slash != folder.npos)
    folder.replace(slash, 1, "--");
  fs::path model = hubCache() / folder;
  Result<std::string> revision = readTextFile((model / "refs" / "main").string(), 256);
  while (revision && !revision->empty() && std::isspace(uint8_t(revision->back())))
    revision->pop_back();
  std::error_code problem;
  bool isPlain = revision && !revision->empty() && std::all_of(revision->begin(), revision->end(), [](char c) { return std::isalnum(uint8_t(c)); });
  fs::path snapshot = isPlain ? model / "snapshots" / *revision : fs::path();
  if (!isPlain || !fs::is_directory(snapshot, problem))
    return badInput("E0402", "no such folder, and no such model in the hub's cache; llmopt downloads nothing", (hubCache() / folder).string());
  return snapshot.string();
}
