//===- RemarkText.cpp - remarks as text, JSON and YAML -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Compiler/Remarks.h"

#include "llvm/Support/Regex.h"

#include <algorithm>

using namespace llmopt;

const std::string *CompileRemark::find(std::string_view key) const {
  auto it = std::find_if(facts.begin(), facts.end(), [&](auto &fact) { return fact.first == key; });
  return it == facts.end() ? nullptr : &it->second;
}

/// "missed fuse-gelu at '/h/Mul_3' (llm.mul)
///     blocked by llm.erf '/h/Erf': the argument is not x / sqrt(2) [OtherConstant]
///     change: use the constants of the published formulas"
static std::string asText(const CompileRemark &remark) {
  std::string text = remark.kind + " " + remark.name;
  if (!remark.node.empty())
    text += " at '" + remark.node + "'";
  auto fact = [&](std::string_view key) { return remark.find(key) ? *remark.find(key) : std::string(); };
  if (std::string root = fact("Root"); !root.empty())
    text += " (" + root + (fact("Op").empty() ? "" : " -> " + fact("Op")) + ")";
  text += '\n';
  if (std::string reason = fact("Reason"); !reason.empty()) {
    std::string blocker = fact("Blocker"), node = fact("BlockerNode"), kind = fact("Kind");
    text += "    ";
    if (!blocker.empty())
      text += "blocked by " + blocker + (node.empty() ? "" : " '" + node + "'") + ": ";
    text += reason + (kind.empty() ? "" : " [" + kind + "]") + "\n";
  }
  if (std::string change = fact("Suggestion"); !change.empty())
    text += "    change: " + change + "\n";
  std::string others;
  for (const auto &[key, value] : remark.facts)
    if (key != "Root" && key != "Op" && key != "Reason" && key != "Blocker" && key != "BlockerNode" && key != "Kind" && key != "Suggestion")
      others += (others.empty() ? "" : ", ") + (key == "Remark" ? value : key + " = " + value);
  return others.empty() ? text : text + "    " + others + "\n";
}

static Json asJson(const CompileRemark &remark) {
  Json json, facts{Json::Object{}};
  json.set("kind", remark.kind).set("category", remark.category).set("name", remark.name).set("node", remark.node);
  for (const auto &[key, value] : remark.facts)
    facts.set(key, value);
  return json.set("facts", facts);
}

static std::string quoted(const std::string &text) {
  std::string result = "'";
  for (char c : text)
    result += c == '\'' ? std::string("''") : std::string(1, c == '\n' ? ' ' : c);
  return result + "'";
}

static std::string asYaml(const CompileRemark &remark) {
  std::string kind = remark.kind == "failed" ? "failure" : remark.kind;
  kind[0] = char(std::toupper(kind[0]));
  std::string text = "--- !" + kind + "\nPass: " + quoted(remark.category) + "\nName: " + quoted(remark.name) +
                     "\nFunction: " + quoted(remark.node) + "\nArgs:" + (remark.facts.empty() ? " []" : "") + "\n";
  for (const auto &[key, value] : remark.facts)
    text += "  - " + key + ": " + quoted(value) + "\n";
  return text + "...\n";
}

std::string llmopt::printRemarks(std::span<const CompileRemark> remarks, RemarkFormat format) {
  std::string text;
  Json all{Json::Array{}};
  for (const CompileRemark &remark : remarks) {
    if (format == RemarkFormat::Json)
      all.push(asJson(remark));
    else
      text += format == RemarkFormat::Yaml ? asYaml(remark) : asText(remark);
  }
  return format == RemarkFormat::Json ? all.str(1) + "\n" : text;
}

Status llmopt::checkExpression(const std::string &expression) {
  std::string why;
  if (expression.empty() || llvm::Regex(expression).isValid(why))
    return {};
  return usageError("E0306", "'" + expression + "' is no regular expression: " + why);
}

bool llmopt::matches(const CompileRemark &remark, const std::string &expression) {
  llvm::Regex regex(expression);
  auto found = [&](const std::string *text) { return text && regex.match(*text); };
  return found(&remark.name) || found(&remark.node) || found(&remark.category) || found(remark.find("Root")) || found(remark.find("Op")) ||
         found(remark.find("BlockerNode")) || found(remark.find("Blocker"));
}
