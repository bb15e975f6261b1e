//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "TokenizerMatcher.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

using namespace llmopt;
using namespace llmopt::text;

namespace {

constexpr uint32_t kMatchLimit = 10'000'000;
constexpr uint32_t kHeapLimitKiB = 256 * 1024;
constexpr size_t kJitStackBytes = size_t(8) << 20;

template <auto Free> struct Freeing {
  void operator()(auto *object) const { Free(object); }
};
using Code = std::unique_ptr<pcre2_code, Freeing<pcre2_code_free>>;
using MatchData = std::unique_ptr<pcre2_match_data, Freeing<pcre2_match_data_free>>;
using Context = std::unique_ptr<pcre2_match_context, Freeing<pcre2_match_context_free>>;
using JitStack = std::unique_ptr<pcre2_jit_stack, Freeing<pcre2_jit_stack_free>>;

class RegexMatcher final : public text::Matcher {
public:
  explicit RegexMatcher(Code code) : code_(std::move(code)) { pcre2_jit_compile(code_.get(), PCRE2_JIT_COMPLETE); }

  // What a search needs beside the code is made for each text, so that threads share nothing.
  Status findAll(std::string_view text, std::vector<Found> &found) const override {
    JitStack stack(pcre2_jit_stack_create(32 * 1024, kJitStackBytes, nullptr));
    Searcher searcher{code_.get(), MatchData(pcre2_match_data_create(1, nullptr)),
                      Context(pcre2_match_context_create(nullptr))};
    pcre2_set_match_limit(searcher.context.get(), kMatchLimit);
    pcre2_set_heap_limit(searcher.context.get(), kHeapLimitKiB);
    pcre2_jit_stack_assign(searcher.context.get(), nullptr, stack.get());
    return searcher.findAll(text, found);
  }

private:
  struct Searcher final : text::Matcher {
    Searcher(pcre2_code *code, MatchData data, Context context)
        : code(code), data(std::move(data)), context(std::move(context)) {}
    Search next(std::string_view text, size_t from, Found &place) const override {
      auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
      int count = pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK, data.get(), context.get());
      if (count == PCRE2_ERROR_JIT_STACKLIMIT) // the interpreter keeps its state on the heap
        count =
            pcre2_match(code, subject, text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, data.get(), context.get());
      if (count == PCRE2_ERROR_NOMATCH)
        return Search::None;
      if (count < 0)
        return Search::GaveUp;
      const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(data.get());
      // \K may move the begin behind the end; such a place would never let the search go on.
      if (ends[0] > ends[1] || ends[1] < from)
        return Search::GaveUp;
      place = {ends[0], ends[1]};
      return Search::Found;
    }
    pcre2_code *code;
    MatchData data;
    Context context;
  };

  Search next(std::string_view, size_t, Found &) const override { return Search::None; }

  Code code_;
};

} // namespace

Result<std::unique_ptr<text::Matcher>> text::createRegexMatcher(const std::string &expression) {
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(expression.data()), expression.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr));
  if (!code)
    return badInput("E1401",
                    "tokenizer section is damaged: PCRE2 refuses a split expression at byte " + std::to_string(offset));
  return std::unique_ptr<Matcher>(std::make_unique<RegexMatcher>(std::move(code)));
}
