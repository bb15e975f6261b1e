//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ToyModel.h"

#include "llmopt/lib/Support/TokenizerData.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <gtest/gtest.h>
#include <set>
#include <unistd.h>

using namespace llmopt;
using namespace llmopt::plan;

namespace {

struct Folder {
  // LLMOPT_TOY_FOLDER: keep the artifacts there, for tests of the tools.
  const char *kept = std::getenv("LLMOPT_TOY_FOLDER");
  std::filesystem::path path = kept ? std::filesystem::path(kept)
                                    : std::filesystem::temp_directory_path() / ("llmopt-toy-" + std::to_string(::getpid()));
  Folder() { std::filesystem::create_directories(path); }
  ~Folder() {
    if (!kept)
      std::filesystem::remove_all(path);
  }
};

/// Writes entries without counting indices by hand.
class EntryBuilder {
public:
  explicit EntryBuilder(std::string name) { entry_.name = std::move(name); }

  ExprId constant(int64_t value) { return add({.op = Expr::Op::Constant, .value = value}); }
  ExprId symbol(const std::string &name) {
    entry_.symbols.push_back(name);
    return add({.op = Expr::Op::Symbol, .value = int64_t(entry_.symbols.size()) - 1});
  }
  ExprId op(Expr::Op op, ExprId lhs, ExprId rhs) { return add({.op = op, .lhs = lhs, .rhs = rhs}); }
  /// Rounded up to whole cache lines, as the compiler does.
  ExprId bytesOf(ExprId elements) {
    return op(Expr::Op::Mul, op(Expr::Op::CeilDiv, elements, constant(16)), constant(128)); // up to 8 bytes each
  }

  uint32_t buffer(const std::string &name, BufferKind kind, DType dtype, std::vector<ExprId> shape, uint32_t index = 0) {
    ExprId elements = constant(1);
    for (ExprId dim : shape)
      elements = op(Expr::Op::Mul, elements, dim);
    entry_.buffers.push_back({.name = name, .kind = kind, .dtype = dtype, .shape = shape, .bytes = bytesOf(elements), .index = index});
    uint32_t id = uint32_t(entry_.buffers.size()) - 1;
    if (kind == BufferKind::Input)
      entry_.inputs.push_back(id);
    if (kind == BufferKind::Output)
      entry_.outputs.push_back(id);
    return id;
  }

  void stage(const std::string &kernel, ExprId units, std::vector<uint32_t> bindings, std::vector<ExprId> dims = {}, bool barrier = true) {
    uint32_t index = uint32_t(entry_.stages.size());
    for (uint32_t id : bindings) {
      if (!seen_.insert(id).second)
        entry_.buffers[id].lastStage = index;
      else
        entry_.buffers[id].firstStage = entry_.buffers[id].lastStage = index;
    }
    ExprId zero = constant(0);
    entry_.stages.push_back({.name = kernel, .family = "toy", .bindings = bindings, .dims = dims, .selector = units,
                             .variants = {{.kernel = kernel, .units = units, .scratchBytes = constant(64)}},
                             .barrier = barrier, .flops = zero, .bytesMoved = units});
  }

  Entry take() { return std::move(entry_); }

private:
  ExprId add(Expr expr) {
    entry_.expressions.push_back(expr);
    return ExprId(entry_.expressions.size()) - 1;
  }
  Entry entry_;
  std::set<uint32_t> seen_;
};

float embedding(int32_t id) { return float((id * 7 + 3) % 31); }

/// The whole encoder: its tokens' keys and values.
Entry encodeEntry() {
  EntryBuilder b("encode");
  ExprId tokens = b.symbol("tokens");
  uint32_t ids = b.buffer("token_ids", BufferKind::Input, DType::I32, {tokens});
  uint32_t positions = b.buffer("positions", BufferKind::Input, DType::I32, {tokens});
  uint32_t weight = b.buffer("embedding", BufferKind::Weight, DType::F32, {b.constant(toy::kVocabulary)}, 0);
  uint32_t state = b.buffer("encoder", BufferKind::State, DType::F32, {}, 2);
  uint32_t x = b.buffer("x", BufferKind::Arena, DType::F32, {tokens});
  b.stage("toy_embed", tokens, {ids, positions, weight, x});
  b.stage("toy_append_encoder", tokens, {x, state});
  return b.take();
}

Entry stepEntry(bool encoder) {
  EntryBuilder b("step");
  ExprId tokens = b.symbol("tokens"), rows = b.symbol("rows"), vocabulary = b.constant(toy::kVocabulary);
  uint32_t ids = b.buffer("token_ids", BufferKind::Input, DType::I32, {tokens});
  uint32_t positions = b.buffer("positions", BufferKind::Input, DType::I32, {tokens});
  uint32_t wanted = b.buffer("logit_rows", BufferKind::Input, DType::I32, {rows});
  uint32_t weight = b.buffer("embedding", BufferKind::Weight, DType::F32, {vocabulary}, 0);
  uint32_t x = b.buffer("x", BufferKind::Arena, DType::F32, {tokens});
  b.stage("toy_embed", tokens, {ids, positions, weight, x});
  for (uint32_t layer : {0u, 1u}) {
    uint32_t state = b.buffer("layers." + std::to_string(layer), BufferKind::State, DType::F32, {}, layer);
    uint32_t y = b.buffer("y", BufferKind::Arena, DType::F32, {tokens});
    b.stage("toy_append", tokens, {x, state});
    b.stage("toy_attend", tokens, {x, state, y});
    x = y;
  }
  if (encoder) {
    uint32_t state = b.buffer("encoder", BufferKind::State, DType::F32, {}, 2);
    uint32_t y = b.buffer("y", BufferKind::Arena, DType::F32, {tokens});
    b.stage("toy_attend_encoder", tokens, {x, state, y});
    x = y;
  }
  uint32_t logits = b.buffer("logits", BufferKind::Output, DType::F32, {rows, vocabulary});
  b.stage("toy_logits", rows, {x, wanted, logits}, {vocabulary});
  return b.take();
}

} // namespace

const std::filesystem::path &toy::folder() {
  static Folder folder;
  return folder.path;
}

std::string toy::codeImage() {
  std::ifstream in(LLMOPT_TOY_KERNELS, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string toy::write(const std::string &name, const Plan &plan, Json model, const Options &options) {
  std::string path = folder() / name;
  Result<ArtifactWriter> writer = ArtifactWriter::create(path);
  EXPECT_TRUE(writer.ok());
  EXPECT_TRUE(writer->addSection("plan/" + options.target, toJson(plan).str()).ok());
  EXPECT_TRUE(writer->addSection("code/" + options.target, options.code).ok());
  std::vector<float> weights(16 + 1024); // with the room before and after that kernels may read
  for (int32_t id = 0; id < kVocabulary; ++id)
    weights[size_t(16 + id)] = embedding(id);
  EXPECT_TRUE(writer->addSection("weights", {reinterpret_cast<char *>(weights.data()), weights.size() * 4}).ok());
  if (!options.tokenizer.empty())
    EXPECT_TRUE(writer->addSection("tokenizer", options.tokenizer).ok());
  writer->addTarget({options.target, options.features});
  writer->setModel(std::move(model));
  EXPECT_TRUE(writer->commit().ok());
  return path;
}

Plan toy::graphPlan() {
  EntryBuilder b("main");
  ExprId n = b.symbol("n"), two = b.constant(2), units = b.op(Expr::Op::CeilDiv, n, b.constant(16));
  ExprId rows = b.op(Expr::Op::FloorDiv, n, two);
  uint32_t a = b.buffer("a", BufferKind::Input, DType::F32, {n});
  uint32_t c = b.buffer("b", BufferKind::Input, DType::F32, {rows, two});
  uint32_t sum = b.buffer("sum", BufferKind::Output, DType::F32, {n});
  uint32_t z = b.buffer("z", BufferKind::Output, DType::F32, {rows, two});
  b.stage("toy_add", units, {a, c, sum}, {n});
  b.stage("toy_double", units, {sum, z}, {n});
  Plan plan;
  plan.entries.push_back(b.take());
  return plan;
}

Plan toy::decoderPlan(bool encoder) {
  Plan plan;
  plan.weights.push_back({.name = "embedding", .shape = {kVocabulary}, .layout = "row_major", .offset = 64, .bytes = kVocabulary * 4});
  for (int i = 0; i < (encoder ? 3 : 2); ++i)
    plan.states.push_back({.name = i == 2 ? "encoder" : "layers." + std::to_string(i), .group = uint8_t(i == 2), .kvHeads = 1,
                           .keySize = 1, .valueSize = 1, .blockBytes = 128 * 4});
  plan.entries.push_back(stepEntry(encoder));
  if (encoder)
    plan.entries.push_back(encodeEntry());
  return plan;
}

Json toy::decoderMetadata(bool encoder) {
  Json model;
  model.set("kind", encoder ? "encoder-decoder" : "decoder").set("vocab_size", kVocabulary).set("max_positions", kContext);
  return model.set("eos_token_id", Json::Array{Json(51)}).set("decoder_start_token_id", 2);
}

std::string toy::decoder() {
  static std::string path = write("decoder.llmopt", decoderPlan(), decoderMetadata());
  return path;
}

std::string toy::encoderDecoder() {
  static std::string path = write("encoder-decoder.llmopt", decoderPlan(true), decoderMetadata(true));
  return path;
}

std::string toy::graphDecoder() {
  EntryBuilder b("main");
  ExprId batch = b.symbol("batch"), sequence = b.symbol("sequence"), before = b.symbol("past");
  ExprId one = b.constant(1), two = b.constant(2), vocabulary = b.constant(kVocabulary), total = b.op(Expr::Op::Add, before, sequence);
  uint32_t ids = b.buffer("input_ids", BufferKind::Input, DType::I64, {batch, sequence});
  uint32_t past = b.buffer("past.0", BufferKind::Input, DType::F32, {batch, one, before, two});
  uint32_t mask = b.buffer("attention_mask", BufferKind::Input, DType::I64, {batch, total});
  uint32_t positions = b.buffer("position_ids", BufferKind::Input, DType::I64, {batch, sequence});
  uint32_t weight = b.buffer("embedding", BufferKind::Weight, DType::F32, {vocabulary}, 0);
  uint32_t logits = b.buffer("logits", BufferKind::Output, DType::F32, {batch, sequence, vocabulary});
  uint32_t present = b.buffer("present.0", BufferKind::Output, DType::F32, {batch, one, total, two});
  b.stage("toy_graph", batch, {ids, mask, positions, weight, past, present, logits}, {sequence, before, vocabulary});
  Plan plan;
  plan.weights = decoderPlan().weights;
  plan.entries.push_back(b.take());
  Json model;
  model.set("kind", "graph").set("eos_token_id", 51).set("max_positions", kContext);
  return write("graph-decoder.llmopt", plan, std::move(model));
}

std::string toy::textDecoder() {
  using namespace tokenizer;
  TokenizerData data;
  data.sets = {{{' ', ' '}}};
  data.preTokenize.push_back({.behavior = SplitBehavior::Removed, .text = {}, .text2 = {}, .matcher = {.kind = Matcher::Set, .text = {}, .program = {}}, .scripts = {}});
  data.model.kind = ModelKind::WordLevel;
  for (int64_t id = 0; id < kVocabulary; ++id)
    data.model.addPiece("w" + std::to_string(id));
  data.model.unkId = 0;
  data.decode.push_back({.op = DecodeStep::JoinSpaces, .text = {}, .text2 = {}, .matcher = {}});
  data.eosId = 51;
  Options options;
  options.tokenizer = serialize(data);
  return write("text-decoder.llmopt", decoderPlan(), decoderMetadata(), options);
}

static float attend(std::span<const float> x) {
  float sum = 0;
  for (size_t j = 0; j < x.size(); ++j)
    sum = std::fmod(sum + float(j % 5 + 1) * x[j] + std::fmod(x[j] * x[j], 101.0f), 1009.0f);
  return sum;
}

std::vector<float> toy::reference(std::span<const int32_t> tokens, std::span<const int32_t> encoderTokens) {
  auto embed = [](std::span<const int32_t> ids) {
    std::vector<float> x;
    for (size_t t = 0; t < ids.size(); ++t)
      x.push_back(embedding(ids[t]) + float(t % 7));
    return x;
  };
  std::vector<float> x = embed(tokens), memory = embed(encoderTokens);
  for (int layer = 0; layer < 2; ++layer) {
    std::vector<float> y;
    for (size_t t = 0; t < x.size(); ++t)
      y.push_back(x[t] + attend(std::span(x).first(t + 1)));
    x = y;
  }
  float last = x.back() + (encoderTokens.empty() ? 0 : attend(memory));
  std::vector<float> logits;
  for (int64_t v = 0; v < kVocabulary; ++v)
    logits.push_back(std::fmod((last + 1) * float(v + 3), 97.0f));
  return logits;
}

std::vector<int32_t> toy::greedy(std::vector<int32_t> tokens, size_t count, std::span<const int32_t> encoderTokens) {
  std::vector<int32_t> answer;
  while (answer.size() < count) {
    std::vector<float> logits = reference(tokens, encoderTokens);
    answer.push_back(int32_t(std::max_element(logits.begin(), logits.end()) - logits.begin()));
    tokens.push_back(answer.back());
    if (answer.back() == 51)
      break;
  }
  return answer;
}
