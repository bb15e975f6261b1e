//===- Reduce.cpp - a small graph that still fails ----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "lib/Workbench/ReducibleGraph.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/ScratchFolder.h"
#include "llmopt/lib/Workbench/Differential.h"

#include <algorithm>
#include <filesystem>
#include <unistd.h>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

class Reducer {
public:
  Reducer(std::unique_ptr<ReducibleGraph> graph, const std::string &output, const StillFails &fails, const std::function<void(size_t)> &progress)
      : best_(std::move(graph)), output_(output), fails_(fails), progress_(progress),
        path_((fs::path(temporaryFolder()) / ("llmopt-reduce-" + std::to_string(getpid()) + best_->extension())).string()) {}
  ~Reducer() {
    std::error_code ignored;
    fs::remove(path_, ignored);
  }

  Status run() {
    LLMOPT_ASSIGN(bool fails, test(*best_));
    if (!fails)
      return usageError("E0515", "the whole graph does not show the failure; is the test command right?");
    oneResult();
    earlierResult();
    do
      dropOperations();
    while (simplify());
    return write(*best_, output_);
  }

private:
  static Status write(const ReducibleGraph &graph, const std::string &path) {
    LLMOPT_ASSIGN(std::string contents, graph.contents());
    LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
    LLMOPT_RETURN_IF_ERROR(file.write(contents));
    return file.commit();
  }

  Result<bool> test(const ReducibleGraph &graph) {
    LLMOPT_RETURN_IF_ERROR(write(graph, path_));
    return fails_(path_);
  }

  /// Changes a copy; takes it if it is valid and still fails.
  bool attempt(const ReducibleGraph::Change &change) {
    std::unique_ptr<ReducibleGraph> candidate = best_->clone();
    if (!change(*candidate) || !candidate->settle())
      return false;
    Result<bool> fails = test(*candidate);
    if (!fails || !*fails)
      return false;
    best_ = std::move(candidate);
    progress_(best_->operations());
    (void)write(*best_, output_); // for who has seen enough and interrupts
    return true;
  }

  void oneResult() {
    size_t results = best_->results();
    for (size_t i = 0; results > 1 && i < results; ++i)
      if (attempt([&](ReducibleGraph &graph) { return graph.keepResult(i); }))
        return;
  }

  /// Returns what is computed on the way, as early as it is wrong: halving first, which is right if errors stay.
  void earlierResult() {
    size_t low = 0;
    while (low + 1 < best_->operations()) {
      size_t before = best_->operations(), middle = low + (before - low) / 2 - 1;
      bool taken = attempt([&](ReducibleGraph &graph) { return graph.returnOperation(middle); });
      if (!taken || best_->operations() >= before)
        low = middle + 1;
    }
  }

  void dropOperations() {
    for (size_t before = SIZE_MAX; before != best_->operations();) {
      before = best_->operations();
      cut();
      bypass();
    }
  }

  /// Runs of operations become inputs, long runs first.
  void cut() {
    for (size_t length = std::max<size_t>(1, best_->operations() / 2); length > 0; length /= 2)
      for (size_t end = best_->operations(); end > 0; end = std::min(end - std::min(end, length), best_->operations()))
        attempt([&](ReducibleGraph &graph) { return graph.cut(end - std::min(end, length), end); });
  }

  void bypass() {
    for (size_t i = best_->operations(); i-- > 0;)
      for (size_t k = 0; i < best_->operations() && k < best_->operandsOf(i); ++k)
        if (attempt([&](ReducibleGraph &graph) { return graph.bypass(i, k); }))
          break;
  }

  /// True if any of it was taken.
  bool simplify() {
    bool changed = false;
    for (const ReducibleGraph::Change &change : best_->simplifications())
      changed |= attempt(change);
    return changed;
  }

  std::unique_ptr<ReducibleGraph> best_;
  const std::string &output_;
  const StillFails &fails_;
  const std::function<void(size_t)> &progress_;
  std::string path_;
};

} // namespace

Status llmopt::reduceModel(const std::string &path, const std::string &output, const StillFails &fails,
                           const std::function<void(size_t)> &progress) {
  bool isOnnx = fs::path(path).extension() != ".mlir" && fs::path(output).extension() != ".mlir";
  if (!isOnnx && fs::path(output).extension() == ".onnx")
    return usageError("E0517", "a module of the llm dialect is not written as ONNX; give an output that ends in .mlir", path);
  LLMOPT_ASSIGN(std::unique_ptr<ReducibleGraph> graph, isOnnx ? openReducibleOnnx(path) : openReducibleIr(path));
  return Reducer(std::move(graph), output, fails, progress).run();
}
