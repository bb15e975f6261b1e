//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Architecture.h"
#include "EmbeddedArchitectures.h"

#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <filesystem>
#include <set>

using namespace llmopt;
using namespace llmopt::hf;
namespace fs = std::filesystem;

static constexpr int kMaxExtends = 8;

/// A name that can be a file name and nothing more.
static bool isPlain(const std::string &name) {
  return !name.empty() && name.size() < 100 &&
         std::all_of(name.begin(), name.end(), [](char c) { return std::isalnum(uint8_t(c)) || c == '_' || c == '-' || c == '.'; });
}

/// Null when no folder and no built-in description has this name.
static Result<Json> readOne(const std::string &name, const std::vector<std::string> &folders) {
  if (!isPlain(name))
    return Json();
  for (const std::string &folder : folders) {
    std::error_code problem;
    if (!fs::exists(fs::path(folder) / (name + ".json"), problem))
      continue;
    LLMOPT_ASSIGN(MappedFile file, MappedFile::openBeneath(folder, name + ".json"));
    return Json::parse(file.text(), folder + "/" + name + ".json");
  }
  for (const EmbeddedArchitecture &embedded : embeddedArchitectures())
    if (embedded.name == name)
      return Json::parse(embedded.text, "the built-in architecture '" + name + "'");
  return Json();
}

/// `overlay` onto `base`: objects member by member, lists of ignored things joined, anything else replaced; null removes.
static void merge(Json &base, const Json &overlay) {
  for (const auto &[key, value] : overlay.asObject()) {
    const Json *old = base.find(key);
    bool joins = old && old->isArray() && value.isArray() && (key == "ignored" || key == "unused_tensors");
    if (old && old->isObject() && value.isObject()) {
      Json inner = *old;
      merge(inner, value);
      base.set(key, std::move(inner));
    } else if (joins) {
      Json list = *old;
      for (const Json &element : value.asArray())
        list.push(element);
      base.set(key, std::move(list));
    } else if (value.isNull()) {
      std::erase_if(base.asObject(), [&](const Json::Member &member) { return member.first == key; });
    } else {
      base.set(key, value);
    }
  }
}

static Result<Json> readExtended(const std::string &name, const std::vector<std::string> &folders, int depth) {
  LLMOPT_ASSIGN(Json description, readOne(name, folders));
  if (!description.isObject())
    return description;
  const Json *parent = description.find("extends");
  if (!parent)
    return description;
  if (depth == kMaxExtends || !parent->isString())
    return badInput("E0420", "invalid description: 'extends' must name another description, in no circle", name);
  LLMOPT_ASSIGN(Json base, readExtended(parent->asString(), folders, depth + 1));
  if (!base.isObject())
    return badInput("E0420", "invalid description: it extends '" + parent->asString() + "', which is not known", name);
  merge(base, description);
  std::erase_if(base.asObject(), [](const Json::Member &member) { return member.first == "extends"; });
  return base;
}

static Status unknownType(const std::string &modelType, const std::vector<std::string> &folders) {
  std::set<std::string> known;
  for (const EmbeddedArchitecture &embedded : embeddedArchitectures())
    known.emplace(embedded.name);
  std::error_code problem;
  for (const std::string &folder : folders)
    for (const fs::directory_entry &entry : fs::directory_iterator(folder, problem))
      if (entry.path().extension() == ".json")
        known.insert(entry.path().stem().string());
  known.erase("common");
  std::string list;
  for (const std::string &name : known)
    list += (list.empty() ? "" : ", ") + name;
  Error error{"E0410", ErrorKind::Unsupported, "model type '" + modelType + "' has no architecture description; known types: " + list, {}, {}};
  error.notes.push_back("an architecture made of known features needs only a data file: docs/HowToAddAnArchitecture.md");
  return error;
}

Result<Json> hf::findDescription(const std::string &modelType, const std::vector<std::string> &folders) {
  LLMOPT_ASSIGN(Json description, readExtended(modelType, folders, 0));
  if (!description.isObject() || modelType == "common")
    return unknownType(modelType, folders);
  LLMOPT_ASSIGN(Json common, readOne("common", {}));
  merge(common, description);
  return common;
}
