//===- Compiler.cpp - model in, artifact out -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Compiler/Compiler.h"

#include "lib/Compiler/CheckOptions.h"
#include "lib/Compiler/GraphDecoder.h"
#include "lib/Compiler/KeptMatrices.h"
#include "lib/Compiler/Phases.h"
#include "lib/Compiler/RemarkSink.h"
#include "lib/Compiler/Report.h"
#include "lib/Compiler/TargetCode.h"
#include "lib/Compiler/Tuning.h"
#include "llmopt/codegen/CPU.h"
#include "llmopt/dialects/Exec/Exec.h"
#include "llmopt/dialects/LLM/LLM.h"
#include "llmopt/dialects/Strategy/Strategy.h"
#include "llmopt/lib/Artifact/Roofline.h"
#include "llmopt/lib/Compiler/ImportModel.h"
#include "llmopt/lib/Target/PortableCode.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Verifier.h"
#include "mlir/Pass/PassInstrumentation.h"

#include <chrono>
#include <filesystem>
#include <numeric>

using namespace mlir;
using namespace llmopt;
namespace fs = std::filesystem;

namespace {

class Compilation {
public:
  Compilation(const std::string &input, const std::string &output, const CompileOptions &options, std::vector<Target> targets)
      : input_(input), output_(output), options_(options), wanted_(std::move(targets)) {
    cpu::registerCodegenDialects(context_);
    context_.loadDialect<llm::LLMDialect, exec::ExecDialect, strategy::StrategyDialect, func::FuncDialect>();
    context_.disableMultithreading();
    if (options.remark || !options.reportFile.empty())
      collectRemarks(context_, options.remarkFilter, [this](CompileRemark remark) {
        if (options_.remark)
          options_.remark(remark);
        if (!options_.reportFile.empty())
          remarks_.push_back(std::move(remark));
      });
  }

  Result<CompileReport> run();

private:
  Result<CompileReport> runPhases();
  Status import();
  Status runPhase(Phase phase, llvm::function_ref<void(PassManager &)> build);
  Status checkAndDump(Phase phase);
  Status runTargets();
  Status writeArtifact();
  Status writeTexts(const std::vector<std::string> &texts);
  Status writeReport();
  /// Before anything is put in place: were all mapped files readable to the end?
  Status inputsIntact() const { return MappedFile::losses() == losses_ ? Status() : MappedFile::lastLoss(); }
  void progress(Phase phase, std::string_view what) {
    if (options_.progress)
      options_.progress(phase, what, 0, 0);
  }

  const std::string input_, output_;
  const CompileOptions &options_;
  const std::vector<Target> wanted_;
  MLIRContext context_;
  ImportedModel model_;
  std::optional<std::string> tokenizer_;
  SymContext symbols_;
  Tuning tuning_;
  std::unique_ptr<WeightTable> weights_;
  cuda::KernelLibrary library_;
  std::vector<OwningOpRef<ModuleOp>> targetModules_; // weight expressions live here until the artifact is written
  std::vector<std::pair<Target, TargetCode>> targets_; ///< as wanted
  CompileReport report_;
  std::vector<CompileRemark> remarks_;
  const uint64_t losses_ = MappedFile::losses(); ///< of the process, before this compilation
};

/// Adds up how long each pass ran.
class PassClock : public PassInstrumentation {
public:
  explicit PassClock(std::vector<std::pair<std::string, double>> &seconds) : seconds_(seconds) {}
  void runBeforePass(Pass *, Operation *) override { starts_.push_back(std::chrono::steady_clock::now()); }
  void runAfterPass(Pass *pass, Operation *) override {
    double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - starts_.pop_back_val()).count();
    if (pass->getArgument().empty())
      return; // an adaptor, whose passes count themselves
    auto it = llvm::find_if(seconds_, [&](auto &row) { return row.first == pass->getArgument(); });
    if (it == seconds_.end())
      seconds_.emplace_back(pass->getArgument().str(), seconds);
    else
      it->second += seconds;
  }

private:
  std::vector<std::pair<std::string, double>> &seconds_;
  SmallVector<std::chrono::steady_clock::time_point> starts_;
};

/// Turns MLIR diagnostics into one Status: the first error and its notes.
class DiagnosticCollector {
public:
  explicit DiagnosticCollector(MLIRContext &context)
      : handler_(&context, [this](Diagnostic &diagnostic) {
          if (diagnostic.getSeverity() == DiagnosticSeverity::Error)
            errors_.push_back(diagnostic.str());
          return success();
        }) {}
  Status status(Phase phase) const {
    std::string message = errors_.empty() ? "failed without a message" : errors_.front();
    // "[E0551] ...": an error that is not a defect of ours.
    if (llvm::StringRef(message).starts_with("[E0") && message.size() > 8 && message[6] == ']') {
      std::string code = message.substr(1, 5), text = message.substr(8);
      return code < "E0400" ? usageError(code, text) : verificationFailed(code, text);
    }
    return internalError("E0311", "phase " + std::string(phaseName(phase)) + ": " + message);
  }

private:
  std::vector<std::string> errors_;
  ScopedDiagnosticHandler handler_;
};

Status Compilation::import() {
  progress(Phase::Import, "reading " + input_);
  LLMOPT_ASSIGN(CompilerInput imported, importModel(context_, input_, options_));
  model_ = std::move(imported.model);
  tokenizer_ = std::move(imported.tokenizer);
  return {};
}

Status Compilation::checkAndDump(Phase phase) {
  DiagnosticCollector diagnostics(context_);
  if (failed(verify(*model_.module)))
    return diagnostics.status(phase);
  return dumpPhase(options_, phase, *model_.module);
}

Status Compilation::runPhase(Phase phase, llvm::function_ref<void(PassManager &)> build) {
  if (options_.stopAfter < phase)
    return {};
  auto start = std::chrono::steady_clock::now();
  progress(phase, "");
  {
    DiagnosticCollector diagnostics(context_);
    PassManager pm(&context_);
    pm.addInstrumentation(std::make_unique<PassClock>(report_.passSeconds));
    build(pm);
    if (failed(pm.run(*model_.module)))
      return diagnostics.status(phase);
  }
  LLMOPT_RETURN_IF_ERROR(checkAndDump(phase));
  report_.phaseSeconds.emplace_back(phaseName(phase), std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
}

Status Compilation::runTargets() {
  auto start = std::chrono::steady_clock::now();
  weights_ = std::make_unique<WeightTable>(model_.weights, options_.randomWeights, options_.jobs);
  // CPUs first: a GPU takes what is there already.
  std::vector<size_t> order(wanted_.size());
  std::iota(order.begin(), order.end(), 0);
  llvm::stable_sort(order, [&](size_t a, size_t b) { return wanted_[a].isGpu() < wanted_[b].isGpu(); });
  targets_.resize(wanted_.size());
  for (size_t i : order) {
    const Target &target = wanted_[i];
    targetModules_.push_back(OwningOpRef<ModuleOp>(model_.module->clone()));
    LLMOPT_ASSIGN(TargetCode code, compileForTarget(*targetModules_.back(), target, options_, symbols_, *weights_, tuning_, library_));
    report_.kernels = std::max(report_.kernels, code.kernels);
    report_.warnings.insert(report_.warnings.end(), code.warnings.begin(), code.warnings.end());
    for (const plan::Entry &entry : code.plan.entries)
      report_.stages = std::max(report_.stages, entry.stages.size());
    targets_[i] = {target, std::move(code)};
  }
  for (const plan::Weight &row : weights_->rows())
    report_.weightBytes += row.bytes;
  for (const RepackedWeight &weight : weights_->repacked())
    report_.weightBytes -= weight.bytes();
  tuning_.explain(*model_.module);
  report_.phaseSeconds.emplace_back("code", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return {};
}

Status Compilation::writeArtifact() {
  if (options_.dryRun)
    return {};
  progress(Phase::Binary, "writing " + output_);
  LLMOPT_ASSIGN(ArtifactWriter writer, ArtifactWriter::create(output_));
  writer.setModel(model_.metadata);
  for (auto &[target, code] : targets_) {
    writer.addTarget({target.name, target.features});
    code.plan.weights = weights_->placedRows();
    LLMOPT_RETURN_IF_ERROR(writer.addSection("plan/" + target.name, toJson(code.plan).str()));
    if (!code.launchMetadata.empty())
      LLMOPT_RETURN_IF_ERROR(writer.addSection("kernels/" + target.name, code.launchMetadata));
    LLMOPT_RETURN_IF_ERROR(writer.addSection("code/" + target.name, code.image));
    if (std::optional<Json> record = tuning_.record(target.name))
      LLMOPT_RETURN_IF_ERROR(writer.addSection("tuning/" + target.name, record->str(), /*required=*/false));
  }
  if (tokenizer_)
    LLMOPT_RETURN_IF_ERROR(writer.addSection("tokenizer", *tokenizer_));
  if (std::vector<DrawnWeight> drawn = weights_->drawn(); !drawn.empty())
    LLMOPT_RETURN_IF_ERROR(writer.addSection("drawn", toJson(drawn).str()));
  if (std::vector<RepackedWeight> repacked = weights_->repacked(); !repacked.empty())
    LLMOPT_RETURN_IF_ERROR(writer.addSection("repacked", toJson(repacked).str()));
  LLMOPT_RETURN_IF_ERROR(writer.addSection("weights", [&](const ArtifactWriter::Sink &sink) { return weights_->write(sink); }));
  LLMOPT_RETURN_IF_ERROR(inputsIntact());
  LLMOPT_RETURN_IF_ERROR(writer.commit());
  report_.output = output_;
  report_.outputBytes = fs::file_size(output_);
  return {};
}

constexpr int64_t kPrefillTokens = 2048; // enough to fill any GPU

Status Compilation::writeReport() {
  if (options_.reportFile.empty())
    return {};
  Json data = reportData({input_, options_.commandLine, targets_.front().first.name, model_.metadata, targets_.front().second.plan, report_, remarks_,
                          options_.machine});
  Json gpus{Json::Array{}};
  for (const auto &[target, code] : targets_)
    if (!code.launchMetadata.empty() && !isPortable(target)) { // PTX: nobody knows its registers
      LLMOPT_ASSIGN(Json launches, Json::parse(code.launchMetadata, target.name));
      LLMOPT_ASSIGN(DeviceCode device, deviceCodeFromJson(launches, code.image.size(), target.name));
      gpus.push(kernelTable(code.plan, device, kPrefillTokens));
    }
  data.set("gpus", std::move(gpus));
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(options_.reportFile));
  LLMOPT_RETURN_IF_ERROR(file.write(fs::path(options_.reportFile).extension() == ".json" ? data.str(1) + "\n" : reportPage(data)));
  return file.commit();
}

Status Compilation::writeTexts(const std::vector<std::string> &texts) {
  if (options_.dryRun)
    return {};
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(output_));
  for (const std::string &text : texts)
    LLMOPT_RETURN_IF_ERROR(file.write(text));
  LLMOPT_RETURN_IF_ERROR(inputsIntact());
  report_.output = output_;
  return file.commit();
}

Result<CompileReport> Compilation::run() {
  Result<CompileReport> report = runPhases();
  // Zeros where a file could not be read look like a damaged model; the cause is what the user needs to know.
  LLMOPT_RETURN_IF_ERROR(inputsIntact());
  return report;
}

Result<CompileReport> Compilation::runPhases() {
  LLMOPT_ASSIGN(library_, cuda::KernelLibrary::open(options_.kernelLibraries));
  LLMOPT_ASSIGN(tuning_, Tuning::open(options_.tuningFile));
  LLMOPT_RETURN_IF_ERROR(import());
  report_.warnings = model_.warnings;
  LLMOPT_RETURN_IF_ERROR(checkAndDump(Phase::Import));
  LLMOPT_RETURN_IF_ERROR(runPhase(Phase::Canonical, [&](PassManager &pm) { buildCanonicalPhase(pm, options_, model_.weights); }));
  LLMOPT_RETURN_IF_ERROR(runPhase(Phase::Fused, [&](PassManager &pm) { buildFusedPhase(pm, options_, model_.weights, model_.metadata.find("io")); }));
  describeRaggedStep(*model_.module, model_.metadata);
  LLMOPT_RETURN_IF_ERROR(runPhase(Phase::Planned, [&](PassManager &pm) {
    buildPlannedPhase(pm, options_, tuning_.chooseFusion(wanted_), library_.operations());
  }));
  if (std::optional<std::string> kept = warnOfKeptMatrices(*model_.module, options_.dtype))
    report_.warnings.push_back(*kept);
  if (options_.stopAfter < Phase::Strategy) {
    LLMOPT_RETURN_IF_ERROR(writeTexts({printModule(*model_.module)}));
    return report_;
  }
  LLMOPT_RETURN_IF_ERROR(runTargets());
  if (options_.stopAfter == Phase::Strategy) {
    LLMOPT_RETURN_IF_ERROR(writeTexts({printModule(*targetModules_.front())}));
    return report_;
  }
  LLMOPT_RETURN_IF_ERROR(options_.emit == EmitKind::Artifact ? writeArtifact() : writeTexts(targets_.front().second.texts));
  LLMOPT_RETURN_IF_ERROR(writeReport());
  return report_;
}

} // namespace

Result<CompileReport> llmopt::compileModel(const std::string &input, const std::string &output, const CompileOptions &options) {
  LLMOPT_ASSIGN(std::vector<Target> targets, findTargets(options.targets));
  LLMOPT_RETURN_IF_ERROR(checkOptions(input, output, options, targets));
  CompileOptions complete = options;
  if (options.stopAfter == Phase::Lowered)
    complete.emit = targets.front().isGpu() ? EmitKind::Cuda : EmitKind::MLIR;
  Compilation compilation(input, output, complete, std::move(targets));
  return compilation.run();
}
