//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ConfigCheck.h"

#include <algorithm>
#include <set>

using namespace llmopt;
using namespace llmopt::hf;

bool hf::matchesPattern(std::string_view pattern, std::string_view text) {
  size_t star = pattern.find('*');
  if (star == pattern.npos)
    return pattern == text;
  std::string_view head = pattern.substr(0, star), rest = pattern.substr(star + 1);
  if (!text.starts_with(head))
    return false;
  text.remove_prefix(head.size());
  for (size_t skipped = 0; skipped <= text.size(); ++skipped)
    if (matchesPattern(rest, text.substr(skipped)))
      return true;
  return false;
}

namespace {

class Checker {
public:
  Checker(const Architecture &architecture, Problems &problems)
      : architecture_(architecture), problems_(problems),
        mentioned_(architecture.mentionedKeys.begin(), architecture.mentionedKeys.end()) {}

  void check(const std::string &path, const Json &value) {
    auto allowed = architecture_.requirements.find(path);
    if (value.isNull() || mentioned_.contains(path) || isIgnored(path))
      return;
    if (allowed != architecture_.requirements.end())
      return checkAllowed(path, value, allowed->second);
    if (value.isObject() && hasMentionedMember(path)) {
      for (const auto &[key, member] : value.asObject())
        check(path + "." + key, member);
      return;
    }
    problems_.unsupported("config key '" + path + "' = " + shortened(value) + " is not understood for model type '" +
                          architecture_.modelType + "' and may change the result");
  }

private:
  bool isIgnored(const std::string &path) const {
    return std::any_of(architecture_.ignoredKeys.begin(), architecture_.ignoredKeys.end(),
                       [&](const std::string &pattern) { return matchesPattern(pattern, path); });
  }

  bool hasMentionedMember(const std::string &path) const {
    auto isMember = [&](const std::string &key) { return key.starts_with(path + "."); };
    return std::any_of(mentioned_.begin(), mentioned_.end(), isMember) ||
           std::any_of(architecture_.requirements.begin(), architecture_.requirements.end(),
                       [&](const auto &entry) { return isMember(entry.first); });
  }

  void checkAllowed(const std::string &path, const Json &value, const Json::Array &allowed) {
    std::string list;
    for (const Json &candidate : allowed) {
      if (candidate.str() == value.str())
        return;
      list += (list.empty() ? "" : " or ") + candidate.str();
    }
    problems_.unsupported("config key '" + path + "' = " + shortened(value) + " is not supported, only " + list);
  }

  static std::string shortened(const Json &value) {
    std::string text = value.str();
    return text.size() <= 60 ? text : text.substr(0, 57) + "...";
  }

  const Architecture &architecture_;
  Problems &problems_;
  std::set<std::string> mentioned_;
};

} // namespace

/// A classifier's class name means a head that would silently be left away.
static void checkClasses(const Json &config, const Architecture &architecture, Problems &problems, std::vector<std::string> &warnings) {
  const Json *classes = config.find("architectures");
  if (!classes || !classes->isArray() || architecture.classes.empty())
    return;
  std::string known;
  for (const std::string &name : architecture.classes)
    known += (known.empty() ? "" : ", ") + name;
  for (const Json &name : classes->asArray()) {
    if (!name.isString() || std::find(architecture.classes.begin(), architecture.classes.end(), name.asString()) == architecture.classes.end())
      problems.unsupported("architecture class " + name.str() + " is not supported for model type '" + architecture.modelType +
                           "', only " + known);
    else if (architecture.kind == "encoder" && !name.asString().ends_with("Model"))
      warnings.push_back("the head of " + name.asString() + " is left to the caller: the artifact gives the last hidden states; for the whole model, export it to ONNX");
  }
}

static void checkDType(const Json &config, Problems &problems) {
  const Json *older = config.find("torch_dtype"), *newer = config.find("dtype");
  if (older && newer && !older->isNull() && !newer->isNull() && older->str() != newer->str())
    problems.invalid("config keys 'torch_dtype' = " + older->str() + " and 'dtype' = " + newer->str() + " contradict each other");
}

void hf::checkConfig(const Json &config, const Architecture &architecture, Problems &problems, std::vector<std::string> &warnings) {
  Checker checker(architecture, problems);
  for (const auto &[key, value] : config.asObject())
    if (key != "quantization_config" && key != "compression_config")
      checker.check(key, value);
  checkClasses(config, architecture, problems, warnings);
  checkDType(config, problems);
  const Json *autoMap = config.find("auto_map");
  if (autoMap && !autoMap->isNull())
    warnings.push_back("config.json names custom code (auto_map); it is never run, the description of model type '" +
                       architecture.modelType + "' is used instead");
}
