//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "Import.h"

using namespace llmopt;
using namespace llmopt::frontend;
using tokenizer::DecodeStep;
using tokenizer::TokenizerData;

static Status importMetaspace(const Component &component, DecodeStep &step) {
  step.op = DecodeStep::Metaspace;
  LLMOPT_ASSIGN(step.text, component.character("replacement"));
  LLMOPT_ASSIGN(std::string scheme, component.string("prepend_scheme", "always"));
  LLMOPT_ASSIGN(bool prefix, component.boolean("add_prefix_space", true));
  step.flag = prefix && scheme != "never";
  return {};
}

static Status importStrip(const Component &component, DecodeStep &step) {
  step.op = DecodeStep::Strip;
  LLMOPT_ASSIGN(step.text, component.character("content"));
  LLMOPT_ASSIGN(int64_t start, component.integer("start", 0, UINT32_MAX));
  LLMOPT_ASSIGN(int64_t stop, component.integer("stop", 0, UINT32_MAX));
  step.number = uint32_t(start);
  step.number2 = uint32_t(stop);
  return {};
}

static Status importWordPiece(const Component &component, DecodeStep &step) {
  step.op = DecodeStep::WordPiece;
  LLMOPT_ASSIGN(step.text, component.string("prefix"));
  LLMOPT_ASSIGN(step.flag, component.boolean("cleanup"));
  return {};
}

static Status importCtc(const Component &component, DecodeStep &step) {
  step.op = DecodeStep::Ctc;
  LLMOPT_ASSIGN(step.text, component.string("pad_token"));
  LLMOPT_ASSIGN(step.text2, component.string("word_delimiter_token"));
  LLMOPT_ASSIGN(step.flag, component.boolean("cleanup"));
  return {};
}

static Status importStep(const Component &component, const std::string &type, DecodeStep &step, TokenizerData &data) {
  if (type == "ByteLevel") {
    step.op = DecodeStep::Bytes;
  } else if (type == "WordPiece") {
    return importWordPiece(component, step);
  } else if (type == "Metaspace") {
    return importMetaspace(component, step);
  } else if (type == "CTC") {
    return importCtc(component, step);
  } else if (type == "Strip") {
    return importStrip(component, step);
  } else if (type == "BPEDecoder") {
    step.op = DecodeStep::BpeSuffix;
    LLMOPT_ASSIGN(step.text, component.string("suffix"));
  } else if (type == "Replace") {
    step.op = DecodeStep::Replace;
    LLMOPT_ASSIGN(step.text, component.string("content"));
    LLMOPT_ASSIGN(step.matcher, importPattern(component, data));
  } else if (type == "ByteFallback") {
    step.op = DecodeStep::ByteFallback;
  } else if (type != "Fuse") {
    return component.missing("type");
  }
  return {};
}

Status frontend::importDecoder(const Component &component, TokenizerData &data) {
  LLMOPT_ASSIGN(std::string type, component.string("type"));
  if (type == "Sequence") {
    LLMOPT_ASSIGN(std::vector<Component> parts, component.list("decoders"));
    for (const Component &part : parts)
      LLMOPT_RETURN_IF_ERROR(importDecoder(part, data));
    return {};
  }
  DecodeStep step;
  LLMOPT_RETURN_IF_ERROR(importStep(component, type, step, data));
  data.decode.push_back(std::move(step));
  return {};
}
