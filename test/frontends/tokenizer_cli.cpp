//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Tokenizes for scripts:
//
//   tokenizer_cli FOLDER|FILE [--time] < texts
//
// Each line of the input is a JSON string, or an object {"text": ..., "special": bool, "literal": bool}, or
// {"decode": [ids], "skip": bool}, or {"stream": [ids], "skip": bool}. Each line of the output is a JSON list of ids or
// a JSON string; an error is an object {"error": code}. --time adds the seconds spent, to the standard error.

#include "llmopt/frontends/Tokenizer.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/runtime/Tokenizer.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <iostream>

using namespace llmopt;

static int fail(const Error &error) {
  std::fprintf(stderr, "%s\n", error.str().c_str());
  return int(error.kind);
}

static Result<std::string> importAny(const std::string &path) {
  if (!std::filesystem::is_directory(path))
    return importTokenizerFile(path);
  LLMOPT_ASSIGN(std::optional<std::string> section, importTokenizer(path));
  if (!section)
    return badInput("E0101", "no tokenizer in this folder", path);
  return *section;
}

static bool flag(const Json &request, std::string_view key, bool otherwise) {
  const Json *value = request.find(key);
  return value && value->isBool() ? value->asBool() : otherwise;
}

static std::vector<int32_t> idsOf(const Json &list) {
  std::vector<int32_t> ids;
  for (const Json &id : list.asArray())
    ids.push_back(int32_t(id.asInt()));
  return ids;
}

static Result<std::string> stream(const std::shared_ptr<Tokenizer> &tokenizer, const Json &list, bool skip) {
  StreamDecoder decoder(tokenizer, skip);
  std::string text;
  for (int32_t id : idsOf(list)) {
    LLMOPT_ASSIGN(std::string part, decoder.push(id));
    text += part;
  }
  return text + decoder.flush();
}

static Json answer(const std::shared_ptr<Tokenizer> &tokenizer, const Json &request) {
  const Json *decode = request.find("decode"), *streamed = request.find("stream");
  if (decode || streamed) {
    bool skip = flag(request, "skip", true);
    Result<std::string> text = decode ? tokenizer->decode(idsOf(*decode), skip) : stream(tokenizer, *streamed, skip);
    return text ? Json(*text) : std::move(Json().set("error", text.error().code));
  }
  EncodeOptions options{flag(request, "special", true), !flag(request, "literal", false)};
  const std::string &text = request.isString() ? request.asString() : request.find("text")->asString();
  Json ids{Json::Array()};
  for (int32_t id : tokenizer->encode(text, options))
    ids.push(id);
  return ids;
}

int main(int argc, char **argv) {
  if (argc < 2)
    return 2;
  auto start = std::chrono::steady_clock::now();
  Result<std::string> section = importAny(argv[1]);
  if (!section)
    return fail(section.error());
  auto imported = std::chrono::steady_clock::now();
  auto tokenizer = Tokenizer::load(std::as_bytes(std::span(section->data(), section->size())));
  if (!tokenizer)
    return fail(tokenizer.error());
  auto loaded = std::chrono::steady_clock::now();
  std::ios::sync_with_stdio(false);
  double work = 0;
  for (std::string line; std::getline(std::cin, line);) {
    Result<Json> request = Json::parse(line, "input");
    if (!request)
      return fail(request.error());
    auto before = std::chrono::steady_clock::now();
    Json result = answer(*tokenizer, *request);
    work += std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count();
    std::cout << result.str() << '\n';
  }
  if (argc > 2)
    std::fprintf(stderr, "import %.4f load %.4f work %.4f section %zu\n",
                 std::chrono::duration<double>(imported - start).count(),
                 std::chrono::duration<double>(loaded - imported).count(), work, section->size());
  return 0;
}
