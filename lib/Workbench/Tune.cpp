//===- Tune.cpp - measures what the cost model guesses ----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// First fused or apart, since that decides which kernels there are; then the strategies of the kernels.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Workbench/Tune.h"

#include "codegen/Common/TunedStrategy.h"
#include "lib/Workbench/TuneHarness.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/lib/Analysis/KernelSignature.h"
#include "llmopt/lib/Analysis/Projection.h"
#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/ScratchFolder.h"
#include "llmopt/passes/Alternatives.h"
#include "llmopt/runtime/MachineLimits.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Parser/Parser.h"

#include <cstdlib>
#include <filesystem>
#include <sched.h>
#include <set>

using namespace llmopt;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kMostWeightBytes = 128 << 20; ///< of all copies of a kernel's weights

class Tuner {
public:
  Tuner(const std::string &input, const CompileOptions &compile, const TuneOptions &options, ScratchFolder scratch)
      : input_(input), compile_(compile), options_(options), scratch_(std::move(scratch)) {
    context_.disableMultithreading();
    context_.loadDialect<llm::LLMDialect, exec::ExecDialect, strategy::StrategyDialect, mlir::func::FuncDialect>();
  }

  Status run(const Target &target, TuningDatabase &database) {
    target_ = &target;
    database_ = &database;
    LLMOPT_RETURN_IF_ERROR(forEach(Phase::Fused, [&](mlir::Operation *op, ShapeAnalysis &shapes) { takeFusion(op, shapes); }));
    return forEach(Phase::Strategy, [&](mlir::Operation *op, ShapeAnalysis &shapes) { takeKernel(op, shapes); });
  }
  TuneReport report;

private:
  struct Job {
    mlir::Operation *op;
    ShapeAnalysis *shapes;
    TuningKey key;
  };

  /// Compiles to a phase with what the database knows, collects what there is to measure, and measures it.
  template <typename Take>
  Status forEach(Phase phase, Take take) {
    LLMOPT_RETURN_IF_ERROR(database_->store(scratch_ / "known.json"));
    CompileOptions compile = quiet(compile_);
    compile.stopAfter = phase;
    compile.tuningFile = scratch_ / "known.json";
    std::string path = scratch_ / "model.mlir";
    LLMOPT_RETURN_IF_ERROR(compileModel(input_, path, compile).status());
    auto module = mlir::parseSourceFile<mlir::ModuleOp>(path, &context_);
    if (!module)
      return internalError("E0311", "the compiler cannot read its own output of phase " + std::string(phaseName(phase)), input_);
    terms_ = compile_.terms.value_or(usualTerms(*module, *target_));
    SymContext symbols;
    std::vector<std::unique_ptr<ShapeAnalysis>> analyses;
    jobs_.clear();
    for (auto function : module->getOps<mlir::func::FuncOp>()) {
      analyses.push_back(std::make_unique<ShapeAnalysis>(symbols));
      analyses.back()->run(function);
      function.walk([&](mlir::Operation *op) { take(op, *analyses.back()); });
    }
    for (size_t i = 0; i < jobs_.size(); ++i) {
      const Job &job = jobs_[i];
      if (compile_.progress)
        compile_.progress(Phase::Strategy, "tuning " + job.key.kernel + " " + job.key.shape, i + 1, jobs_.size());
      Result<TuningEntry> entry = phase == Phase::Fused ? measureFusion(job) : measureKernel(job);
      if (entry) {
        database_->set(std::move(*entry));
        ++report.measured;
      } else {
        report.skipped.push_back(job.key.kernel + " " + job.key.ops + " " + job.key.shape + ": " + entry.error().message);
      }
    }
    return {};
  }

  CompileOptions quiet(CompileOptions compile) const {
    compile.targets = {target_->name};
    compile.progress = nullptr;
    compile.remark = nullptr;
    compile.reportFile.clear();
    compile.dumpFolder.clear();
    compile.verifyRewrites = compile.dryRun = false;
    compile.requiredFusions.clear();
    compile.emit = EmitKind::Artifact;
    return compile;
  }

  void take(mlir::Operation *op, ShapeAnalysis &shapes, TuningKey key) {
    if (database_->find(key))
      report.known += seen_.insert(key).second;
    else if (seen_.insert(key).second)
      jobs_.push_back({op, &shapes, std::move(key)});
  }
  void takeFusion(mlir::Operation *op, ShapeAnalysis &shapes) {
    llvm::StringRef fusion = fusionThatMayLose(op);
    if (fusion.empty())
      return;
    KernelSignature signature = signatureOf(op, shapes);
    take(op, shapes, {target_->name, fusion.str(), signature.ops, signature.shape, signature.dtype});
  }
  void takeKernel(mlir::Operation *op, ShapeAnalysis &shapes) {
    auto kernel = mlir::dyn_cast<exec::KernelOp>(op);
    if (kernel && kernel.getStrategyAttr() && isTunable(kernel.getFamily()))
      take(op, shapes, tuningKey(kernel, shapes, *target_, strategyOptions()));
  }

  Result<Engine> build(const std::string &name, const std::string &text, const std::string &tuningFile) const {
    std::string source = scratch_ / (name + ".mlir"), artifact = scratch_ / (name + ".llmopt");
    LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(source));
    LLMOPT_RETURN_IF_ERROR(file.write(text));
    LLMOPT_RETURN_IF_ERROR(file.commit());
    CompileOptions compile;
    compile.targets = {target_->name};
    compile.embedTokenizer = false;
    compile.bf16Products = compile_.bf16Products;
    compile.int8Products = compile_.int8Products;
    compile.terms = terms_;
    compile.kvCache = compile_.kvCache;
    compile.tuningFile = tuningFile;
    LLMOPT_RETURN_IF_ERROR(compileModel(source, artifact, compile).status());
    Result<Engine> engine = Engine::load(artifact, {.threads = options_.threads});
    std::error_code ignored;
    fs::remove(artifact, ignored); // the mapping stays
    return engine;
  }

  static std::string describe(const SymbolValues &values) {
    std::string text;
    for (const auto &[name, value] : values)
      text += (text.empty() ? "" : ", ") + name + " = " + std::to_string(value);
    return text.empty() ? "known sizes" : text;
  }

  /// The same graph with the fusion and without it.
  Result<TuningEntry> measureFusion(const Job &job) {
    TuneGraph graph(job.op, *job.shapes);
    LLMOPT_RETURN_IF_ERROR(graph.check());
    std::vector<Engine> engines;
    for (const char *choice : {"fused", "apart"}) {
      TuningDatabase forced;
      forced.set({job.key, choice});
      std::string file = scratch_ / (std::string(choice) + ".json");
      LLMOPT_RETURN_IF_ERROR(forced.store(file));
      LLMOPT_ASSIGN(Engine engine, build(choice, graph.text({}, 1), file));
      engines.push_back(std::move(engine));
    }
    SymbolValues sizes = graph.typicalSizes();
    LLMOPT_ASSIGN(WayTimes times, measureEngines(engines, graph.inputs(sizes), options_));
    size_t best = bestWay(times, {1});
    report.changed += best != 0;
    return TuningEntry{job.key, best ? "apart" : "fused", {{describe(sizes), medianOf(times[best]), medianOf(times[1 - best])}}};
  }

  /// Which sizes of the rows to measure for each bucket.
  static std::vector<int64_t> rowsOf(strategy::GemmAttr gemm) {
    std::vector<int64_t> rows;
    int64_t before = 0;
    for (strategy::GemmBucketAttr bucket : gemm.getBuckets()) {
      int64_t typical = bucket.getMBlock() == 0 ? bucket.getRows() : bucket.getMaxM() ? (before + 1 + bucket.getMaxM()) / 2 + 2 : 128;
      rows.push_back(std::max(before + 1, typical));
      before = bucket.getMaxM();
    }
    return rows;
  }

  /// Symbols for `rows` rows of a projection's input: the last one that stands for rows, the others 1.
  static SymbolValues withRows(SymbolValues values, exec::KernelOp kernel, ShapeAnalysis &shapes, int64_t rows) {
    std::string last;
    kernel.getBody().walk([&](mlir::Operation *op) {
      Projection linear = Projection::of(op);
      if (!linear)
        return;
      for (SymExpr dim : llvm::ArrayRef(shapes.shapeOf(linear.getInput()).dims).drop_back())
        if (dim.node() && dim.node()->op == SymExpr::Node::Op::Symbol) {
          values[dim.node()->name] = 1;
          last = dim.node()->name;
        }
    });
    if (!last.empty())
      values[last] = rows;
    return values;
  }

  Result<TuningEntry> measureKernel(const Job &job) {
    auto kernel = mlir::cast<exec::KernelOp>(job.op);
    TuneGraph graph(job.op, *job.shapes);
    LLMOPT_RETURN_IF_ERROR(graph.check());
    llvm::SmallVector<mlir::Attribute> ways{kernel.getStrategyAttr()};
    llvm::append_range(ways, otherStrategies(ways.front(), *target_));
    int64_t weights = std::max<int64_t>(1, graph.weightBytes());
    int64_t copies = std::clamp<int64_t>(std::min(kMostWeightBytes, 3 * int64_t(target_->l3Bytes)) / weights, 1, 16);
    if (weights == 1)
      copies = 1;
    LLMOPT_ASSIGN(Engine engine, build("kernel", graph.text(ways, copies), ""));
    auto measureAt = [&](const SymbolValues &sizes) { return measureWays(engine, ways.size(), graph.inputs(sizes), options_); };
    auto gemm = mlir::dyn_cast<strategy::GemmAttr>(ways.front());
    return gemm ? chooseGemmWay(job, gemm, ways, graph, copies, measureAt) : chooseWay(job, ways, graph, measureAt);
  }

  template <typename MeasureAt>
  Result<TuningEntry> chooseWay(const Job &job, llvm::ArrayRef<mlir::Attribute> ways, const TuneGraph &graph, MeasureAt measureAt) {
    SymbolValues sizes = graph.typicalSizes();
    LLMOPT_ASSIGN(WayTimes times, measureAt(sizes));
    std::vector<size_t> candidates;
    for (size_t way = 1; way < ways.size(); ++way)
      candidates.push_back(way);
    size_t best = bestWay(times, candidates);
    report.changed += best != 0;
    return TuningEntry{job.key, print(ways[best]), {timeOf(describe(sizes), times, best, candidates, 1)}};
  }

  /// Buckets are independent: each takes the way that is fastest for its rows.
  template <typename MeasureAt>
  Result<TuningEntry> chooseGemmWay(const Job &job, strategy::GemmAttr usual, llvm::ArrayRef<mlir::Attribute> ways, const TuneGraph &graph,
                                    int64_t copies, MeasureAt measureAt) {
    auto kernel = mlir::cast<exec::KernelOp>(job.op);
    bool fixed = linearFacts(kernel, *job.shapes, *target_, strategyOptions())->rows.has_value();
    TuningEntry entry{job.key, {}};
    llvm::SmallVector<strategy::GemmBucketAttr> chosen;
    bool changed = false;
    for (auto [bucket, rows] : llvm::enumerate(rowsOf(usual))) {
      SymbolValues sizes = fixed ? graph.typicalSizes() : withRows(graph.typicalSizes(), kernel, *job.shapes, rows);
      LLMOPT_ASSIGN(WayTimes times, measureAt(sizes));
      std::vector<size_t> candidates;
      for (size_t way = 1; way < ways.size(); ++way)
        if (mlir::cast<strategy::GemmAttr>(ways[way]).getBuckets()[bucket] != usual.getBuckets()[bucket])
          candidates.push_back(way);
      size_t best = bestWay(times, candidates);
      changed |= best != 0;
      chosen.push_back(mlir::cast<strategy::GemmAttr>(ways[best]).getBuckets()[bucket]);
      if (!candidates.empty())
        entry.times.push_back(timeOf(describe(sizes), times, best, candidates, copies));
    }
    report.changed += changed;
    entry.choice = print(strategy::GemmAttr::get(&context_, chosen, usual.getVectorBits(), usual.getBf16Products(), usual.getInt8Products(), usual.getAmx(), usual.getTerms()));
    return entry;
  }

  StrategyOptions strategyOptions() const { return {.bf16Products = compile_.bf16Products, .int8Products = compile_.int8Products, .terms = terms_}; }

  static std::string print(mlir::Attribute attribute) {
    std::string text;
    llvm::raw_string_ostream(text) << attribute;
    return text;
  }

  /// The chosen against what the cost model takes, or against the best of the others where both are the same.
  static TuningTime timeOf(std::string sizes, const WayTimes &times, size_t best, const std::vector<size_t> &candidates, int64_t copies) {
    double other = medianOf(times[0]);
    if (best == 0 && !candidates.empty()) {
      other = medianOf(times[candidates.front()]);
      for (size_t way : candidates)
        other = std::min(other, medianOf(times[way]));
    }
    return {std::move(sizes), medianOf(times[best]) / double(copies), other / double(copies)};
  }

  const std::string &input_;
  const CompileOptions &compile_;
  int terms_ = 0; ///< the model's: those of one of its kernels alone would be others
  const TuneOptions &options_;
  ScratchFolder scratch_;
  mlir::MLIRContext context_;
  const Target *target_ = nullptr;
  TuningDatabase *database_ = nullptr;
  std::vector<Job> jobs_;
  std::set<TuningKey> seen_;
};

Result<TuningDatabase> openDatabase(const std::string &file, unsigned threads) {
  TuningDatabase database;
  std::error_code error;
  bool exists = fs::exists(file, error);
  if (exists) {
    LLMOPT_ASSIGN(database, TuningDatabase::load(file));
  }
  if (exists && (database.processor != processorName() || database.threads != threads))
    return usageError("E0319", "the tuning database was measured on '" + database.processor + "' with " + std::to_string(database.threads) +
                                   " threads; this is '" + processorName() + "' with " + std::to_string(threads) + "; give another file", file);
  database.processor = processorName();
  database.threads = threads;
  return database;
}

} // namespace

std::string llmopt::tuningFilePath() {
  if (const char *path = std::getenv("LLMOPT_TUNING_FILE"); path && *path)
    return path;
  fs::path machine = machineLimitsPath();
  std::string name = machine.filename().string();
  return (machine.parent_path() / ("tuning" + (name.starts_with("machine") ? name.substr(7) : "-" + name))).string();
}

Result<TuneReport> llmopt::tuneModel(const std::string &input, const CompileOptions &compile, const std::string &file, const TuneOptions &options) {
  cpu_set_t cpus;
  unsigned cores = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? unsigned(CPU_COUNT(&cpus)) : 1;
  TuneOptions measuring = options;
  measuring.threads = options.threads ? options.threads : cores;
  std::vector<Target> targets;
  for (const std::string &name : compile.targets) {
    LLMOPT_ASSIGN(Target target, findTarget(name));
    if (target.isGpu() || !missingFeatures(target.features).empty())
      return usageError("E0319", "--tune measures on this machine's processor, which does not run target " + target.name);
    targets.push_back(std::move(target));
  }
  LLMOPT_ASSIGN(TuningDatabase database, openDatabase(file, measuring.threads));
  LLMOPT_ASSIGN(ScratchFolder scratch, ScratchFolder::make("tune"));
  Tuner tuner(input, compile, measuring, std::move(scratch));
  Status status;
  for (size_t i = 0; i < targets.size() && status; ++i)
    status = tuner.run(targets[i], database);
  LLMOPT_RETURN_IF_ERROR(status);
  LLMOPT_RETURN_IF_ERROR(database.store(file));
  return std::move(tuner.report);
}
