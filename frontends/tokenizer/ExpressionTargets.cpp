//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Expression.h"

#include <algorithm>

using namespace llmopt;
using namespace llmopt::frontend;
using Node = ExpressionNode;
using tokenizer::ProgramStep;

namespace {

/// Program steps for a tree, as far as there are any: single sets repeated, alternatives, optional groups, one
/// character of lookahead, line anchors.
class Lowering {
public:
  Lowering(std::vector<CharRanges> &sets, std::vector<ProgramStep> &program) : sets_(sets), program_(program) {}

  bool lower(const Node &node) {
    switch (node.kind) {
    case Node::Set:
      run(node, 1, 1, false);
      return true;
    case Node::Capture:
    case Node::Sequence:
      return std::all_of(node.children.begin(), node.children.end(), [&](const Node &child) { return lower(child); });
    case Node::Alternatives:
      return alternatives(node);
    case Node::Repeat:
      return repeat(node);
    case Node::Look:
      return look(node);
    case Node::Anchor:
      if (node.anchor != '^' && node.anchor != '$')
        return false;
      add(node.anchor == '^' ? ProgramStep::LineBegin : ProgramStep::LineEnd);
      return true;
    case Node::Atomic:
    case Node::BackReference:
      return false;
    }
    return false;
  }

private:
  size_t add(ProgramStep::Op op) {
    program_.push_back({});
    program_.back().op = op;
    return program_.size() - 1;
  }

  void run(const Node &set, uint32_t min, uint32_t max, bool keep) {
    ProgramStep &step = program_[add(ProgramStep::Run)];
    step.set = internSet(set.set, sets_);
    step.min = min;
    step.max = max;
    step.keep = keep;
  }

  bool alternatives(const Node &node) {
    std::vector<size_t> ends;
    for (size_t i = 0; i < node.children.size(); ++i) {
      bool last = i + 1 == node.children.size();
      size_t choice = last ? 0 : add(ProgramStep::Alternative);
      if (!lower(node.children[i]))
        return false;
      if (last)
        break;
      ends.push_back(add(ProgramStep::Jump));
      program_[choice].target = uint32_t(program_.size());
    }
    for (size_t end : ends)
      program_[end].target = uint32_t(program_.size());
    return true;
  }

  bool repeat(const Node &node) {
    const Node *child = &node.children[0];
    while ((child->kind == Node::Sequence || child->kind == Node::Capture) && child->children.size() == 1)
      child = &child->children[0];
    if (node.greed == Node::Lazy)
      return false;
    if (child->kind == Node::Set) {
      run(*child, node.min, node.max, node.greed == Node::Possessive);
      return true;
    }
    if (node.min != 0 || node.max != 1 || node.greed != Node::Greedy)
      return false;
    size_t choice = add(ProgramStep::Alternative);
    bool good = lower(*child);
    program_[choice].target = uint32_t(program_.size());
    return good;
  }

  bool look(const Node &node) {
    const Node *child = &node.children[0];
    while (child->kind == Node::Sequence && child->children.size() == 1)
      child = &child->children[0];
    if (node.behind || child->kind != Node::Set)
      return false;
    size_t step = add(node.negative ? ProgramStep::NotAhead : ProgramStep::Ahead);
    program_[step].set = internSet(child->set, sets_);
    return true;
  }

  std::vector<CharRanges> &sets_;
  std::vector<ProgramStep> &program_;
};

void writeChar(std::string &out, uint32_t c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string hex;
  for (; c > 0 || hex.empty(); c >>= 4)
    hex.insert(hex.begin(), kDigits[c & 15]);
  out += "\\x{" + hex + '}';
}

void writeSet(std::string &out, const CharRanges &set) {
  bool negative = contains(set, 0x10FFFF);
  // PCRE2 refuses surrogates at the ends of ranges, and no text has them.
  CharRanges members = intersect(negative ? complement(set) : set, complement({{0xD800, 0xDFFF}}));
  if (members.empty()) {
    out += negative ? "(?s:.)" : "(*FAIL)";
    return;
  }
  out += negative ? "[^" : "[";
  for (const CharRange &range : members) {
    writeChar(out, range.first);
    if (range.last != range.first) {
      out += '-';
      writeChar(out, range.last);
    }
  }
  out += ']';
}

void write(std::string &out, const Node &node);

void writeAll(std::string &out, std::string_view open, const Node &node, std::string_view between) {
  out += open;
  for (size_t i = 0; i < node.children.size(); ++i) {
    out += i ? between : "";
    write(out, node.children[i]);
  }
  out += ')';
}

void writeRepeat(std::string &out, const Node &node) {
  out += "(?:";
  write(out, node.children[0]);
  out += "){" + std::to_string(node.min) + ',';
  if (node.max != tokenizer::kNoLimit)
    out += std::to_string(node.max);
  out += '}';
  out += node.greed == Node::Lazy ? "?" : node.greed == Node::Possessive ? "+" : "";
}

void writeAnchor(std::string &out, char anchor) {
  if (anchor != 'b' && anchor != 'B') {
    out += anchor == '^' || anchor == '$' ? std::string(1, anchor) : std::string("\\") + anchor;
    return;
  }
  std::string word;
  writeSet(word, expressionWordChars());
  out += anchor == 'b' ? "(?:(?<=" + word + ")(?!" + word + ")|(?<!" + word + ")(?=" + word + "))"
                       : "(?:(?<=" + word + ")(?=" + word + ")|(?<!" + word + ")(?!" + word + "))";
}

void write(std::string &out, const Node &node) {
  switch (node.kind) {
  case Node::Set:
    return writeSet(out, node.set);
  case Node::Sequence:
    return writeAll(out, "(?:", node, "");
  case Node::Alternatives:
    return writeAll(out, "(?:", node, "|");
  case Node::Repeat:
    return writeRepeat(out, node);
  case Node::Look:
    return writeAll(out, node.behind ? (node.negative ? "(?<!" : "(?<=") : node.negative ? "(?!" : "(?=", node, "");
  case Node::Atomic:
    return writeAll(out, "(?>", node, "");
  case Node::Capture:
    return writeAll(out, "(", node, "");
  case Node::BackReference:
    out += "\\" + std::to_string(node.number);
    return;
  case Node::Anchor:
    return writeAnchor(out, node.anchor);
  }
}

} // namespace

bool frontend::lowerToProgram(const Node &node, std::vector<CharRanges> &sets, std::vector<ProgramStep> &program) {
  return Lowering(sets, program).lower(node);
}

std::string frontend::writeForPcre(const Node &node) {
  std::string out;
  write(out, node);
  return out;
}
