//===- Engine.h - a loaded artifact -----------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Three ways in, from simple to general:
//
//   Generator   (Generator.h)  text or ids in, text or ids out
//   Session     (Session.h)    one sequence: append tokens, get logits
//   Engine      (here)         tensors of a graph by name; steps over many sequences at once
//
//   auto engine = llmopt::Engine::load("model.llmopt");
//   if (!engine)
//     return report(engine.error());
//
// An Engine is a handle: copies share the model. It may be used from several threads; steps take turns, since each one
// uses the process's compute threads.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_RUNTIME_ENGINE_H
#define LLMOPT_RUNTIME_ENGINE_H

#include "llmopt/lib/Artifact/ModelInfo.h"
#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Support/Tensor.h"
#include "llmopt/runtime/Sequence.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace llmopt {

struct EngineOptions {
  unsigned threads = 0;       ///< 0: LLMOPT_NUM_THREADS, or the cores this process may use. Short calls use fewer where that is faster
  std::string target = {};    ///< name of a target in the artifact; empty: the best this machine runs
  std::string device = {};    ///< "cpu", "cuda", "cuda:1"; empty: a GPU if the artifact has code for one that is here, else the CPU
  bool verifyWeights = false; ///< check the weights' checksum too (reads all of them)
  uint64_t cacheBytes = 0;    ///< most memory for key-value blocks; 0: half of the device's
};

/// A dimension of a graph's tensor: a number, or an expression such as "past + sequence".
struct TensorSpec {
  std::string name;
  DType dtype = DType::F32;
  std::vector<std::string> shape;
  std::string typeName() const; ///< "i64[batch, 4]"
};

/// Where the time went, one row for each stage and kernel that it ran, in order of execution.
struct StageProfile {
  std::string entry, name, family, kernel;
  uint32_t stage = 0; ///< its number in the entry
  uint64_t calls = 0;
  double seconds = 0;
  double flops = 0, bytesMoved = 0; ///< of all calls
  std::string arithmetic;           ///< format of the flops: "f32", "bf16"
  bool barrier = false;             ///< without profiling, threads wait for each other behind it
};

/// One thread's work on one stage, in seconds since the first.
struct StageSpan {
  std::string_view name, family; ///< of the plan; valid while the engine is
  unsigned thread = 0;
  double begin = 0, end = 0;
};

class Engine {
public:
  /// Checks the artifact (E02xx) and that this machine runs one of its targets (E0206) before any code is mapped.
  static Result<Engine> load(const std::string &path, const EngineOptions &options = {});

  const std::string &path() const;
  const std::string &target() const; ///< the one in use
  std::string device() const;        ///< "cpu", or the GPU's name
  unsigned threads() const;
  const ModelInfo &model() const;
  const Json &metadata() const;
  /// The artifact's tokenizer, checked, for `loadTokenizer` (Generator.h); E1509 when it has none.
  Result<std::span<const std::byte>> tokenizerSection() const;

  /// E0105 once the artifact's file became shorter or unreadable under the engine. Every result is held back by it.
  Status intact() const;

  /// True for models that run ragged steps (`step`), false for graphs (`run`).
  bool hasStep() const;
  bool hasEncode() const;
  bool hasGraph() const;

  // Graphs: the ONNX file's own inputs and outputs.
  std::vector<TensorSpec> inputs() const;
  std::vector<TensorSpec> outputs() const;
  /// Inputs in any order; outputs in the graph's. E1503: a name, type or dimension does not fit.
  Result<std::vector<NamedTensor>> run(std::span<const NamedTensor> inputs) const;
  /// The same in signature order, without copying.
  Result<std::vector<Tensor>> run(std::span<const Tensor *const> inputs) const;

  // Sequences of a decoder, or of an encoder.
  Sequence newSequence() const;
  /// One step over any number of sequences: appends each one's tokens and computes the logits asked for. Nothing has
  /// changed when it fails. E1505 token ids, E1506 context length, E1502 memory.
  Status step(std::span<const SequenceInput> inputs, StepOutput &output) const;
  /// Runs the encoder. Encoder-decoders: fills the sequences' encoder states; their `step`s attend to them. Encoders:
  /// gives the last hidden states, one row for each token; sequences may be null then.
  Status encode(std::span<const EncodeInput> inputs, StepOutput *hidden = nullptr) const;

  /// Bytes of key-value blocks in use, by all sequences.
  uint64_t cacheBytesInUse() const;
  /// Bytes that one more block of 64 tokens takes in all layers.
  uint64_t cacheBytesPerBlock() const;

  /// Measures each stage from now on (which puts a barrier behind each); read with `profile`.
  void setProfiling(bool on) const;
  std::vector<StageProfile> profile() const;
  /// The same as a line of time: the first million stages of each thread.
  std::vector<StageSpan> trace() const;

  /// Binds the calling thread to a processor beside the compute threads. For programs that own their main thread.
  static void pinCallingThread();

private:
  friend class Sequence;
  explicit Engine(std::shared_ptr<EngineState> state) : state_(std::move(state)) {}
  std::shared_ptr<EngineState> state_;
};

} // namespace llmopt

#endif // LLMOPT_RUNTIME_ENGINE_H
