//===- llmopt-compile.cpp - model in, artifact out -----------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "tools/common/Cli.h"
#include "tools/llmopt-compile/Progress.h"

#include "llmopt/lib/Compiler/Compiler.h"
#include "llmopt/lib/Compiler/Remarks.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Target/PortableCode.h"
#include "llmopt/lib/Workbench/Tune.h"
#include "llmopt/runtime/MachineLimits.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <filesystem>

using namespace llmopt;

namespace {

constexpr const char *kExamples = R"(Examples:
  llmopt-compile Llama-folder -o model.llmopt                 a Hugging Face folder, for this machine
  llmopt-compile model.onnx -O3 --target x86-64-v3 --target x86-64-v4 -o model.llmopt
  llmopt-compile Llama-folder --dtype bf16 --dump-dir phases   halves the weights, keeps the IR of each phase

Exit status: 0 ok, 1 bad input, 2 usage, 3 unsupported, 4 limit, 5 verification, 70 internal error.)";

struct Arguments {
  std::string input, output;
  int level = 2;
  std::string weights = "auto", dtype = "auto", products = "f32", kvCache = "auto", compileTo = "binary", emit = "artifact", progress = "auto";
  std::vector<std::string> dims, plugins;
  std::string explain, remarksOutput, remarksFormat = "text";
  std::string tuneFile;
  CLI::Option *explainOption = nullptr, *tuneOption = nullptr;
  std::vector<CompileRemark> remarks;
  bool listTargets = false, noTokenizer = false, noPortablePtx = false, quiet = false;
  CompileOptions options;
};

void addOptions(CLI::App &app, Arguments &a) {
  app.add_option("input", a.input, "model.onnx, a Hugging Face folder, org/name of a model in the hub's cache, or model.mlir of the llm dialect");
  app.add_option("-o,--output", a.output, "File to write [input's name with .llmopt]")->group("Output");
  app.add_option("-O", a.level, "Optimization level: 0 none, 1 cheap, 2 default, 3 all")->check(CLI::Range(0, 3))->capture_default_str()->group("Optimization");
  app.add_option("--dtype", a.dtype, "Weight matrices: auto (as stored), f32, bf16, f16; int8, int4: those of linear layers and (for processors) of experts rounded to nearest in blocks of 32 with "
                                     "a scale in f16, which changes results")
      ->check(CLI::IsMember({"auto", "f32", "bf16", "f16", "int8", "int4"}))->capture_default_str()->group("Optimization");
  app.add_option("--products", a.products, "Arithmetic of products: f32 (on x86-64-v4-amx, for models larger than the second-level cache, in tile registers: each number as the sum of three in bf16, as near as f32); bf16x2, there as the sum of two, which has 16 "
                                           "bits of mantissa, also before weights of 4 and 8 bits in blocks of 32 and more; bf16, which rounds the activations to bf16 before products with bf16 weights, in attention too (faster "
                                           "where the target has dot products of bf16), on x86-64-v4-amx also before those with weights of 4 and 8 bits in blocks of 32 and more; int8, which rounds them to 8 bits, in blocks with a scale each, before products with weights of "
                                           "4 and 8 bits (processors only; MatMulNBits with accuracy_level 4 asks for it by itself)")
      ->check(CLI::IsMember({"f32", "bf16x2", "bf16", "int8"}))->capture_default_str()->group("Optimization");
  app.add_option("--kv-cache", a.kvCache, "Keys and values of decoders: f32; f16 (half the memory and reading); bf16 (the same, and attention's products are of bf16; processors only); "
                                          "auto (bf16 with --products=bf16, f16 on GPUs with weights in 16 bits, else f32)")
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16"}))->capture_default_str()->group("Optimization");
  app.add_option("--disable-fusion", a.options.disabledFusions, "Leave out a fusion, or a join of kernels, by name (repeatable)")->group("Optimization");
  app.add_option("--require-fusion", a.options.requiredFusions, "NAME or NAME:COUNT: fail unless the fusion was made that often, or a join in so many kernels (repeatable)")->group("Optimization");
  app.add_option("--load-pass-plugin", a.plugins, "Shared library with further fusions (repeatable)")->group("Optimization");
  a.tuneOption = app.add_flag("--tune{}", a.tuneFile, "Measure kernels and fusions of the model on this machine first, and keep the fastest in the tuning "
                              "database of this host; --tune=FILE: in that file")->group("Optimization");
  app.add_option("--tuning-db", a.options.tuningFile, "Take tiles and fusions from this tuning database, without measuring")->excludes(a.tuneOption)->group("Optimization");
  app.add_option("--target", a.options.targets, "native, x86-64, x86-64-v3, x86-64-v4, x86-64-v4-bf16, x86-64-v4-amx, sm_80, sm_89, sm_90, sm_100, compute_80 (repeatable: one file for several)")->capture_default_str()->group("Target");
  app.add_flag("--no-portable-ptx", a.noPortablePtx, "Leave out compute_80, PTX that GPUs later than those of --target compile when it is loaded; it is added to every sm_NN")->group("Target");
  app.add_option("--strategy-target", a.options.strategyTarget, "Choose tiles as for this target [each target's own]")->group("Target");
  app.add_option("--cuda-compiler", a.options.cudaCompiler, "For sm_NN: auto (what is installed), nvrtc, clang, nvcc; llvm: PTX with nothing of NVIDIA's, no tensor cores; emulate: host code for tests without a GPU")
      ->check(CLI::IsMember({"auto", "nvrtc", "clang", "nvcc", "llvm", "emulate"}))->capture_default_str()->group("Target");
  app.add_option("--jobs", a.options.jobs, "Threads that compile CUDA kernels, and round matrices for --dtype=int8 and int4 [all processors]")->check(CLI::Range(1, 256))->group("Target");
  app.add_option("--kernel-library", a.options.kernelLibraries, "Folder with kernels made elsewhere (by Triton) and a kernels.json that says which operations they implement (repeatable)")->group("Target");
  app.add_option("--kernel-override", a.options.kernelOverride, "Folder with .cu, .ptx or .cubin files of --dump-dir, changed by hand, to be taken instead")->group("Target");
  app.add_flag("--list-targets", a.listTargets, "Print the target table and exit")->group("Target");
  app.add_option("--dim", a.dims, "NAME=V: fix a dynamic dimension (repeatable)")->group("Input");
  app.add_option("--max-seq-len", a.options.maxSequenceLength, "Longest sequence, of those that the model allows [all]")->check(CLI::NonNegativeNumber)->group("Input");
  app.add_option("--weights", a.weights, "auto (the folder's), or random:SEED for a folder with nothing but config.json, to measure a shape")
      ->capture_default_str()->group("Input");
  app.add_option("--architectures", a.options.architectureFolders, "Folder with further architecture descriptions (repeatable)")->group("Input");
  app.add_option("--external-data-dir", a.options.externalDataFolder, "Folder of ONNX external data [the model's]")->group("Input");
  app.add_flag("--no-tokenizer", a.noTokenizer, "Do not embed the tokenizer")->group("Output");
  app.add_option("--compile-to", a.compileTo, "Stop after a phase and write its IR: import, canonical, fused, planned; of one target: strategy, lowered; binary: all phases")
      ->check(CLI::IsMember({"import", "canonical", "fused", "planned", "strategy", "lowered", "binary"}))->capture_default_str()->group("Output");
  app.add_option("--emit", a.emit, "artifact; of one target, all kernels in one file: mlir, llvm, asm, obj; for a GPU: cuda, ptx, cubin")
      ->check(CLI::IsMember({"artifact", "mlir", "llvm", "asm", "obj", "cuda", "ptx", "cubin"}))->capture_default_str()->group("Output");
  app.add_flag("--dry-run", a.options.dryRun, "Do everything but write the output")->group("Output");
  app.add_option("--dump-dir", a.options.dumpFolder, "Write the IR after each phase to this folder, from strategy on for each target; for a GPU also text, PTX, image and log of each unit")->group("Diagnostics");
  // A flag with a value of its own, so that "--explain model.onnx" leaves the model alone.
  a.explainOption = app.add_flag("--explain{.*}", a.explain, "Say which fusions were made, which were nearly made and why not, and how kernels were cut; "
                                 "--explain=REGEX: about nodes, operations or fusions it matches")->group("Diagnostics");
  app.add_option("--remarks-output", a.remarksOutput, "Write all remarks to this file")->group("Diagnostics");
  app.add_option("--remarks-format", a.remarksFormat, "Of --explain and --remarks-output: text, json, yaml")
      ->check(CLI::IsMember({"text", "json", "yaml"}))->capture_default_str()->group("Diagnostics");
  app.add_option("--remarks-filter", a.options.remarkFilter, "Categories of remarks, a regular expression: fusion, kernel")->capture_default_str()->group("Diagnostics");
  app.add_option("--report", a.options.reportFile, "Write a page about the compilation: regions, kernels, fusions, memory, times (.html, or .json)")->group("Diagnostics");
  app.add_flag("--verify-rewrites", a.options.verifyRewrites, "Replay every fusion on sample inputs through the reference interpreter; stop at the first that differs")
      ->group("Diagnostics");
  app.add_option("--progress", a.progress, "auto, plain, none")->check(CLI::IsMember({"auto", "plain", "none"}))->capture_default_str()->group("Diagnostics");
  app.add_flag("-q,--quiet", a.quiet, "Errors only")->group("Diagnostics");
  // "--target native model.onnx": a repeatable option takes one value at a time.
  for (CLI::Option *option : app.get_options([](CLI::Option *) { return true; }))
    option->allow_extra_args(false);
}

int report(const Error &error) {
  std::fprintf(stderr, "%s\n", error.str().c_str());
  return int(error.kind);
}

bool hasGpu(const CompileOptions &options) {
  return std::ranges::any_of(options.targets, [](const std::string &name) {
    Result<Target> target = findTarget(name);
    return target && target->isGpu();
  });
}

const char *outputExtension(const CompileOptions &options) {
  if (options.stopAfter != Phase::Binary)
    return options.stopAfter == Phase::Lowered && hasGpu(options) ? ".cu" : ".mlir";
  switch (options.emit) {
  case EmitKind::Artifact: return ".llmopt";
  case EmitKind::MLIR: return ".mlir";
  case EmitKind::LLVMIR: return ".ll";
  case EmitKind::Assembly: return ".s";
  case EmitKind::Object: return ".o";
  case EmitKind::Cuda: return ".cu";
  case EmitKind::Ptx: return ".ptx";
  case EmitKind::Cubin: return ".cubin";
  }
  return "";
}

Status finishOptions(Arguments &a) {
  CompileOptions &o = a.options;
  o.level = OptLevel(a.level);
  o.dtype = a.dtype == "f32"    ? WeightFormat::F32
            : a.dtype == "bf16" ? WeightFormat::BF16
            : a.dtype == "f16"  ? WeightFormat::F16
            : a.dtype == "int8" ? WeightFormat::Int8
            : a.dtype == "int4" ? WeightFormat::Int4
                                : WeightFormat::Auto;
  o.bf16Products = a.products == "bf16";
  o.int8Products = a.products == "int8";
  if (a.products == "bf16x2")
    o.terms = 2;
  o.kvCache = a.kvCache == "f32" ? CacheFormat::F32 : a.kvCache == "f16" ? CacheFormat::F16 : a.kvCache == "bf16" ? CacheFormat::BF16 : CacheFormat::Auto;
  o.stopAfter = *parsePhase(a.compileTo);
  o.emit = a.emit == "mlir" ? EmitKind::MLIR : a.emit == "llvm" ? EmitKind::LLVMIR : a.emit == "asm" ? EmitKind::Assembly
           : a.emit == "obj" ? EmitKind::Object : a.emit == "cuda" ? EmitKind::Cuda : a.emit == "ptx" ? EmitKind::Ptx
           : a.emit == "cubin" ? EmitKind::Cubin : EmitKind::Artifact;
  o.embedTokenizer = !a.noTokenizer;
  if (a.weights != "auto") {
    uint64_t seed = 0;
    const char *number = a.weights.starts_with("random:") ? a.weights.c_str() + 7 : "", *last = a.weights.c_str() + a.weights.size();
    if (auto [end, error] = std::from_chars(number, last, seed); error != std::errc() || end != last)
      return usageError("E0316", "--weights expects auto or random:SEED, found '" + a.weights + "'");
    o.randomWeights = seed;
  }
  for (const std::string &dim : a.dims) {
    size_t equals = dim.find('=');
    char *end = nullptr;
    long long value = equals == std::string::npos ? 0 : std::strtoll(dim.c_str() + equals + 1, &end, 10);
    if (equals == std::string::npos || equals == 0 || !end || *end || value <= 0)
      return usageError("E0302", "--dim expects NAME=V with V > 0, found '" + dim + "'");
    o.dims[dim.substr(0, equals)] = value;
  }
  for (const std::string *expression : {&a.explain, &o.remarkFilter})
    LLMOPT_RETURN_IF_ERROR(checkExpression(*expression));
  for (const std::string &plugin : a.plugins)
    LLMOPT_RETURN_IF_ERROR(loadPassPlugin(plugin));
  if (a.output.empty()) {
    std::filesystem::path path(a.input);
    if (!path.has_filename())
      path = path.parent_path();
    if (path.extension() == ".onnx" || path.extension() == ".mlir") // "Llama-3.2-1B" is a whole name
      path = path.stem();
    a.output = path.filename().string() + outputExtension(o);
  }
  return {};
}

/// For the report: what llmopt-bench machine measured on this host, if anything.
std::optional<MachineRates> machineRates() {
  Result<MachineLimits> limits = loadMachineLimits(machineLimitsPath());
  if (!limits)
    return std::nullopt;
  MachineRates rates{limits->processor, 1, 0, {}};
  for (const MachineLimits::Reading &row : limits->reading)
    rates.threads = std::max(rates.threads, row.threads);
  rates.bytesPerSecond = limits->readLimit(rates.threads);
  for (const MachineLimits::Arithmetic &row : limits->arithmetic)
    rates.operationsPerSecond[row.format] = limits->arithmeticLimit(row.format, rates.threads);
  return rates;
}

/// --tune: fills the database that the compilation then reads.
Status tune(Arguments &a) {
  a.options.tuningFile = a.tuneFile.empty() ? tuningFilePath() : a.tuneFile;
  LLMOPT_ASSIGN(TuneReport report, tuneModel(a.input, a.options, a.options.tuningFile));
  if (a.quiet)
    return {};
  for (const std::string &what : report.skipped)
    std::fprintf(stderr, "note: not measured: %s\n", what.c_str());
  std::fprintf(stderr, "tuned %zu kernels and fusions (%zu were known, %zu want another way than the cost model's): %s\n", report.measured,
               report.known, report.changed, a.options.tuningFile.c_str());
  return {};
}

/// What --explain and --remarks-output ask for; also after a failure, which they may explain.
Status explain(const Arguments &a) {
  RemarkFormat format = a.remarksFormat == "json" ? RemarkFormat::Json : a.remarksFormat == "yaml" ? RemarkFormat::Yaml : RemarkFormat::Text;
  if (*a.explainOption) {
    std::vector<CompileRemark> chosen;
    for (const CompileRemark &remark : a.remarks)
      if (matches(remark, a.explain))
        chosen.push_back(remark);
    std::fputs(printRemarks(chosen, format).c_str(), stdout);
  }
  if (a.remarksOutput.empty())
    return {};
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(a.remarksOutput));
  LLMOPT_RETURN_IF_ERROR(file.write(printRemarks(a.remarks, format)));
  return file.commit();
}

/// An artifact for one GPU runs on later ones as well. Not where somebody looks at, or changes, the code of one target; nor under emulation, where there is no PTX.
void addPortablePtx(CompileOptions &options) {
  if (options.emit == EmitKind::Artifact && options.stopAfter == Phase::Binary && options.kernelOverride.empty() && options.cudaCompiler != "emulate" && hasGpu(options) &&
      std::ranges::find(options.targets, kPortableGpuTarget) == options.targets.end())
    options.targets.push_back(kPortableGpuTarget);
}

void listTargets() {
  for (const Target &target : allTargets()) {
    if (target.isGpu()) {
      std::printf("%-14s NVIDIA GPU of compute capability %d.%d and %s, %d KiB shared memory a block\n", target.name.c_str(), target.computeCapability / 10,
                  target.computeCapability % 10, isPortable(target) ? "all later ones, which compile its PTX when it is loaded" : "later minor ones",
                  target.sharedMemoryBytes >> 10);
      continue;
    }
    std::printf("%-14s %d-bit vectors, needs", target.name.c_str(), target.vectorBits);
    for (const std::string &feature : target.features)
      std::printf(" %s", feature.c_str());
    std::printf("%s\n", missingFeatures(target.features).empty() ? "" : "   (this machine cannot run it)");
  }
}

} // namespace

int main(int argc, char **argv) {
  CLI::App app("llmopt-compile: compiles a transformer ahead of time into one artifact", "llmopt-compile");
  app.footer(kExamples);
  Arguments arguments;
  addOptions(app, arguments);
  app.set_version_flag("--version", "llmopt " LLMOPT_VERSION " (LLVM " LLMOPT_LLVM_VERSION ")");
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success &request) { // --help, --version
    return app.exit(request);
  } catch (const CLI::ParseError &error) {
    return tools::reportUsage(app, error);
  }
  if (arguments.listTargets) {
    listTargets();
    return 0;
  }
  if (arguments.input.empty())
    return report(usageError("E0303", "no input; try llmopt-compile --help").error());
  if (Status status = finishOptions(arguments); !status)
    return report(status.error());
  if (!arguments.noPortablePtx)
    addPortablePtx(arguments.options);
  for (int i = 0; i < argc; ++i)
    arguments.options.commandLine += (i ? " " : "") + std::string(argv[i]);
  if (!arguments.options.reportFile.empty())
    arguments.options.machine = machineRates();
  Progress progress(arguments.quiet ? "none" : arguments.progress);
  arguments.options.progress = [&](Phase phase, std::string_view what, size_t done, size_t total) { progress.update(phase, what, done, total); };
  if (*arguments.explainOption || !arguments.remarksOutput.empty() || arguments.options.verifyRewrites)
    arguments.options.remark = [&](CompileRemark remark) { arguments.remarks.push_back(std::move(remark)); };
  if (*arguments.tuneOption)
    if (Status status = tune(arguments); !status) {
      progress.finish();
      return report(status.error());
    }
  Result<CompileReport> result = compileModel(arguments.input, arguments.output, arguments.options);
  progress.finish();
  if (Status status = explain(arguments); !status)
    return report(status.error());
  if (!result)
    return report(result.error());
  for (const CompileRemark &remark : arguments.remarks)
    if (remark.name == "verify-rewrites" && !arguments.quiet)
      std::fprintf(stderr, "%s", printRemarks({&remark, 1}, RemarkFormat::Text).c_str());
  for (const std::string &warning : result->warnings)
    std::fprintf(stderr, "warning: %s\n", warning.c_str());
  if (!arguments.quiet && !result->output.empty() && result->outputBytes)
    std::fprintf(stderr, "wrote %s: %.1f MB (weights %.1f MB), %zu kernels, %zu launches a step\n", result->output.c_str(),
                 double(result->outputBytes) / 1e6, double(result->weightBytes) / 1e6, result->kernels, result->stages);
  return 0;
}
