//===- onnx_interpret.cpp - ONNX test folders in the reference interpreter ===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// onnx_interpret [--rtol R] [--atol A] [--dump] FOLDER...
//
// A folder is a case (model.onnx, test_data_set_N/{input,output}_M.pb, optional tolerance.json) or holds cases. Prints
// `NAME PASS`, `NAME FAIL reason` or `NAME UNSUPPORTED reason` for each and a summary; exit status 1 when one fails.
//
//===----------------------------------------------------------------------===//
#include "llmopt/frontends/Onnx.h"
#include "llmopt/lib/Interpreter/Interpreter.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/TensorProto.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <iostream>

namespace fs = std::filesystem;
using namespace llmopt;

namespace {

struct Settings {
  double rtol = 1e-3, atol = 1e-5; // the suite's own defaults
  bool fixedTolerance = false, dump = false;
};

Result<std::vector<ProtoTensor>> readTensors(const fs::path &set, const std::string &kind) {
  std::vector<ProtoTensor> tensors;
  for (int i = 0; fs::exists(set / (kind + "_" + std::to_string(i) + ".pb")); ++i) {
    LLMOPT_ASSIGN(ProtoTensor tensor, readTensorProto((set / (kind + "_" + std::to_string(i) + ".pb")).string()));
    tensors.push_back(std::move(tensor));
  }
  return tensors;
}

/// By name where all names are known, else by position.
std::vector<Tensor> arrange(std::vector<ProtoTensor> tensors, const std::vector<std::string> &names) {
  std::map<std::string, size_t> byName;
  for (size_t i = 0; i < tensors.size(); ++i)
    byName[tensors[i].name] = i;
  bool named = byName.size() == tensors.size() && std::all_of(names.begin(), names.end(), [&](auto &n) { return byName.count(n); });
  std::vector<Tensor> result;
  for (size_t i = 0; i < names.size() && (named || i < tensors.size()); ++i)
    result.push_back(std::move(tensors[named ? byName[names[i]] : i].tensor));
  return result;
}

Status compare(const Tensor &got, const Tensor &want, const std::string &name, double rtol, double atol) {
  auto differ = [&](const std::string &what) { return verificationFailed("E0503", "output '" + name + "': " + what); };
  if (got.typeName() != want.typeName())
    return differ("is " + got.typeName() + ", expected " + want.typeName());
  // Some units in the last place for the types whose units are larger than the tolerances; answers made in bf16 are
  // themselves rounded after every step.
  if (want.dtype() == DType::F16 || want.dtype() == DType::BF16)
    rtol += want.dtype() == DType::F16 ? 0x1p-10 : 0x1p-6;
  double worst = 0;
  int64_t at = -1;
  for (int64_t i = 0; i < want.elements(); ++i) {
    double a = got.at(i), b = want.at(i);
    if (a == b || (std::isnan(a) && std::isnan(b)))
      continue;
    double over = std::fabs(a - b) - (atol + rtol * std::fabs(b));
    if (!(over <= 0) && (at < 0 || over > worst))
      worst = over, at = i;
  }
  if (at < 0)
    return {};
  return differ("element " + std::to_string(at) + " is " + std::to_string(got.at(at)) + ", expected " + std::to_string(want.at(at)));
}

std::vector<std::string> names(mlir::func::FuncOp function, bool results) {
  std::vector<std::string> list;
  unsigned count = results ? function.getNumResults() : function.getNumArguments();
  for (unsigned i = 0; i < count; ++i) {
    auto name = results ? function.getResultAttrOfType<mlir::StringAttr>(i, "llm.name") : function.getArgAttrOfType<mlir::StringAttr>(i, "llm.name");
    list.push_back(name.str());
  }
  return list;
}

Status runCase(const fs::path &folder, Settings settings) {
  mlir::MLIRContext context;
  fs::path model = folder / "model.onnx";
  if (!fs::exists(model))
    for (const auto &entry : fs::directory_iterator(folder))
      if (entry.path().extension() == ".onnx")
        model = entry.path();
  LLMOPT_ASSIGN(ImportedModel imported, importOnnx(context, model.string()));
  for (const std::string &warning : imported.warnings)
    std::cerr << "warning: " << warning << "\n";
  if (settings.dump)
    imported.module->print(llvm::errs());
  if (auto text = readTextFile((folder / "tolerance.json").string()); text && !settings.fixedTolerance) {
    LLMOPT_ASSIGN(Json json, Json::parse(*text, "tolerance.json"));
    settings.rtol = json.find("rtol")->asDouble();
    settings.atol = json.find("atol")->asDouble();
  }
  auto function = imported.module->lookupSymbol<mlir::func::FuncOp>("main");
  for (int set = 0; fs::exists(folder / ("test_data_set_" + std::to_string(set))); ++set) {
    fs::path data = folder / ("test_data_set_" + std::to_string(set));
    LLMOPT_ASSIGN(auto inputs, readTensors(data, "input"));
    LLMOPT_ASSIGN(auto outputs, readTensors(data, "output"));
    Interpreter interpreter(*imported.module, imported.weights);
    LLMOPT_ASSIGN(auto got, interpreter.run("main", arrange(std::move(inputs), names(function, false))));
    std::vector<std::string> resultNames = names(function, true);
    std::vector<Tensor> wanted = arrange(std::move(outputs), resultNames);
    for (size_t i = 0; i < wanted.size() && i < got.size(); ++i)
      LLMOPT_RETURN_IF_ERROR(compare(got[i], wanted[i], resultNames[i] + " (data set " + std::to_string(set) + ")", settings.rtol, settings.atol));
  }
  return {};
}

std::string oneLine(const Error &error) {
  std::string text = error.message + (error.context.empty() ? "" : " [" + error.context + "]");
  for (const std::string &note : error.notes)
    text += "; " + note;
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text.substr(0, 600);
}

void collect(const fs::path &folder, std::vector<fs::path> &cases) {
  bool isCase = false;
  std::vector<fs::path> inner;
  for (const auto &entry : fs::directory_iterator(folder)) {
    isCase |= entry.path().extension() == ".onnx";
    if (entry.is_directory())
      inner.push_back(entry.path());
  }
  if (isCase)
    cases.push_back(folder);
  else
    for (const fs::path &path : inner)
      collect(path, cases);
}

} // namespace

int main(int argc, char **argv) {
  Settings settings;
  std::vector<fs::path> cases;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    if (argument == "--dump")
      settings.dump = true;
    else if ((argument == "--rtol" || argument == "--atol") && i + 1 < argc)
      (argument == "--rtol" ? settings.rtol : settings.atol) = std::stod(argv[++i]), settings.fixedTolerance = true;
    else if (fs::is_directory(argument))
      collect(argument, cases);
    else
      return std::cerr << "not a folder: " << argument << "\n", 2;
  }
  std::sort(cases.begin(), cases.end());
  int passed = 0, failed = 0, unsupported = 0;
  for (const fs::path &folder : cases) {
    Status status = runCase(folder, settings);
    bool isUnsupported = !status.ok() && status.error().kind == ErrorKind::Unsupported;
    (status.ok() ? passed : isUnsupported ? unsupported : failed)++;
    std::cout << folder.filename().string() << " " << (status.ok() ? "PASS" : isUnsupported ? "UNSUPPORTED " : "FAIL ")
              << (status.ok() ? "" : oneLine(status.error())) << std::endl;
  }
  std::cerr << passed << " passed, " << failed << " failed, " << unsupported << " unsupported\n";
  return failed != 0;
}
