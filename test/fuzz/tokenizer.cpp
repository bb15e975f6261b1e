//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// The first byte says what the rest is: 0 a tokenizer.json, 1 a SentencePiece model, 2 a section, 3 a split expression.
// Whatever is accepted has to load, encode the rest of the input as a text, and decode what came out, in one go and as
// a stream.

#include "ScratchFile.h"
#include "frontends/tokenizer/Expression.h"
#include "llmopt/frontends/Tokenizer.h"
#include "llmopt/lib/Support/Utf8.h"
#include "llmopt/runtime/Tokenizer.h"

using namespace llmopt;

static void use(const std::string &section, std::string_view text, bool ownSection) {
  auto tokenizer = Tokenizer::load(std::as_bytes(std::span(section.data(), section.size())));
  if (!tokenizer)
    return;
  for (std::string_view input :
       {text.substr(0, 4096), std::string_view("Hello  wor\xCC\x81ld\n <s> 123 \xE4\xBD\xA0")}) {
    std::vector<int32_t> ids = (*tokenizer)->encode(input);
    Result<std::string> decoded = (*tokenizer)->decode(ids, false);
    // A damaged section may name ids in its layout that it has no piece for.
    if (ownSection && decoded && !isUtf8(*decoded))
      std::abort();
    StreamDecoder stream(*tokenizer);
    for (int32_t id : ids)
      if (Result<std::string> part = stream.push(id); part && !isUtf8(*part))
        std::abort();
    stream.flush();
  }
}

static void importAs(const std::string &name, std::string_view bytes) {
  if (Result<std::string> section = importTokenizerFile(fuzz::writeScratch(name, bytes)))
    use(*section, bytes, true);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  std::string rest(reinterpret_cast<const char *>(data) + 1, size - 1);
  if (data[0] % 4 == 0) {
    importAs("tokenizer.json", rest);
  } else if (data[0] % 4 == 1) {
    importAs("tokenizer.model", rest);
  } else if (data[0] % 4 == 2) {
    use(rest, rest, false);
  } else if (isUtf8(rest)) {
    std::vector<tokenizer::CharRanges> sets;
    (void)frontend::compileExpression(rest, sets);
  }
  return 0;
}
