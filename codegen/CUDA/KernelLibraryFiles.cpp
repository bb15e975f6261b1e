//===- KernelLibraryFiles.cpp - manifests and images of kernel libraries --===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/KernelLibrary.h"
#include "llmopt/lib/Artifact/DeviceImage.h"
#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/File.h"

#include <algorithm>
#include <array>
#include <filesystem>

using namespace llmopt;
using namespace llmopt::cuda;
namespace fs = std::filesystem;
using Argument = KernelLibrary::Argument;
using Implementation = KernelLibrary::Implementation;

namespace {

constexpr const char *kManifest = "kernels.json";
constexpr std::array kSizes = {"rows", "columns", "elements"};

/// Reads one kernel of a manifest; remembers the first thing that is wrong.
class KernelReader {
public:
  KernelReader(const std::string &folder, const Json &json) : folder_(folder), json_(json) {}
  Result<Implementation> read();

private:
  void fail(const std::string &what) {
    if (status_.ok())
      status_ = badInput("E0985", "kernel library: " + what, folder_ + "/" + kManifest + (made_.kernel.name.empty() ? "" : ", kernel '" + made_.kernel.name + "'"));
  }
  std::string text(const Json &object, const char *key) {
    const Json *json = object.find(key);
    if (!json || !json->isString())
      fail(std::string("'") + key + "' should be a string");
    return json && json->isString() ? json->asString() : "";
  }
  int64_t number(const Json &object, const char *key, int64_t least, int64_t most, std::optional<int64_t> absent = std::nullopt) {
    const Json *json = object.find(key);
    if (!json && absent)
      return *absent;
    if (!json || !json->isInt() || json->asInt() < least || json->asInt() > most) {
      fail(std::string("'") + key + "' should be an integer from " + std::to_string(least) + " to " + std::to_string(most));
      return least;
    }
    return json->asInt();
  }
  void onlyKeys(const Json &object, std::initializer_list<std::string_view> known) {
    if (!object.isObject())
      return fail("an object is expected, found " + object.str());
    for (const auto &[key, value] : object.asObject())
      if (std::find(known.begin(), known.end(), key) == known.end())
        fail("'" + key + "' is unknown");
  }
  std::string sizeName(const std::string &name) {
    if (std::find(kSizes.begin(), kSizes.end(), name) == kSizes.end())
      fail("there is no size '" + name + "'; known: rows, columns, elements");
    return name;
  }
  void readConditions();
  void readArguments();
  Argument readArgument(const Json &json);
  void readLaunch(const Json &launch);
  Status readImage();

  const std::string &folder_;
  const Json &json_;
  Implementation made_;
  Status status_;
};

void KernelReader::readConditions() {
  made_.operation = text(json_, "op");
  const Json *types = json_.find("types");
  if (!types || !types->isArray())
    return fail("'types' should list the element types of operands, then of results");
  for (const Json &type : types->asArray())
    if (!type.isString() || !parseDType(type.asString()))
      fail("there is no element type " + type.str());
    else
      made_.types.push_back(type.asString());
  if (const Json *attributes = json_.find("attributes")) {
    for (const auto &[name, value] : attributes->isObject() ? attributes->asObject() : Json::Object())
      if (value.isNumber() || value.isBool())
        made_.attributes[name] = value.isBool() ? value.asBool() : value.asDouble();
      else
        fail("attribute '" + name + "' should be a number");
  }
  if (const Json *sizes = json_.find("sizes"))
    for (const auto &[name, value] : sizes->isObject() ? sizes->asObject() : Json::Object()) {
      onlyKeys(value, {"least", "most", "multiple_of"});
      made_.bounds.push_back({sizeName(name), number(value, "least", 1, INT64_MAX, 1), number(value, "most", 1, INT64_MAX, INT64_MAX),
                              number(value, "multiple_of", 1, INT64_MAX, 1)});
    }
}

Argument KernelReader::readArgument(const Json &json) {
  onlyKeys(json, {"operand", "result", "size", "attribute", "value", "type"});
  Argument argument{Argument::Kind::Value, 0, {}, "ptr", 0};
  if (json.find("operand") || json.find("result")) {
    argument.kind = json.find("operand") ? Argument::Kind::Operand : Argument::Kind::Result;
    argument.index = uint32_t(number(json, json.find("operand") ? "operand" : "result", 0, 64));
    return argument;
  }
  argument.type = text(json, "type");
  if (argument.type != "i32" && argument.type != "i64" && argument.type != "f32")
    fail("the type of a number is i32, i64 or f32, found '" + argument.type + "'");
  if (json.find("size")) {
    argument.kind = Argument::Kind::Size;
    argument.name = sizeName(text(json, "size"));
    if (argument.type == "f32")
      fail("sizes are i32 or i64");
  } else if (json.find("attribute")) {
    argument.kind = Argument::Kind::Attribute;
    argument.name = text(json, "attribute");
  } else if (const Json *value = json.find("value"); value && value->isNumber()) {
    argument.value = value->asDouble();
  } else {
    fail("an argument is an operand, a result, a size, an attribute or a value; found " + json.str());
  }
  return argument;
}

void KernelReader::readArguments() {
  const Json *arguments = json_.find("arguments");
  if (!arguments || !arguments->isArray())
    return fail("'arguments' should list what the kernel's parameters get");
  for (const Json &json : arguments->asArray()) {
    made_.arguments.push_back(readArgument(json));
    made_.kernel.parameters.push_back({DeviceParameter::Kind::Constant, 0, made_.arguments.back().bytes(), 0});
  }
  const Json *grid = json_.find("grid");
  if (!grid)
    return fail("'grid' is missing");
  onlyKeys(*grid, {"units", "per_block"});
  made_.units = sizeName(text(*grid, "units"));
  made_.kernel.unitsPerBlock = uint32_t(number(*grid, "per_block", 1, UINT32_MAX, 1));
}

/// Triton's own keys.
void KernelReader::readLaunch(const Json &launch) {
  made_.kernel.name = text(launch, "name");
  made_.kernel.family = "library";
  made_.kernel.threads = uint32_t(number(launch, "num_warps", 1, 32)) * 32;
  made_.kernel.sharedBytes = uint32_t(number(launch, "shared", 0, 1 << 20));
  made_.kernel.stages = uint32_t(number(launch, "num_stages", 0, 64, 1));
  if (const Json *target = launch.find("target"))
    made_.capability = int(number(*target, "arch", 10, 999));
  else
    fail("its launch metadata names no target");
  for (const char *key : {"global_scratch_size", "profile_scratch_size", "tmem_size"})
    if (number(launch, key, 0, INT64_MAX, 0) != 0)
      fail(std::string("kernels with '") + key + "' are not taken");
  if (number(launch, "num_ctas", 1, 64, 1) != 1)
    fail("kernels of thread block clusters ('num_ctas') are not taken");
  if (const Json *cooperative = launch.find("launch_cooperative_grid"); cooperative && cooperative->isBool() && cooperative->asBool())
    fail("cooperative kernels are not taken");
  if (const Json *early = launch.find("launch_pdl"))
    made_.kernel.launchPdl = early->isBool() && early->asBool();
  if (const Json *maps = launch.find("tensordesc_meta"); maps && maps->isArray() && !maps->asArray().empty())
    fail("kernels that take tensor descriptors are not taken");
}

Status KernelReader::readImage() {
  std::string name = text(json_, "kernel");
  for (const char *form : {"cubin", "ptx", "so"}) {
    std::error_code error;
    if (!status_.ok() || !fs::exists(folder_ + "/" + name + "." + form, error))
      continue;
    LLMOPT_ASSIGN(MappedFile file, MappedFile::openBeneath(folder_, name + "." + form));
    made_.form = form == std::string_view("so") ? "host" : form;
    made_.image = std::string(file.text());
    made_.origin = folder_ + "/" + name + "." + form;
    break;
  }
  if (made_.form.empty())
    fail("there is no " + name + ".cubin or " + name + ".ptx");
  if (!status_.ok() || made_.form == "host") // for the stand-in driver; nothing says what it takes
    return status_;
  LLMOPT_ASSIGN(DeviceImage image, made_.form == "ptx" ? readPtx(made_.image, made_.origin)
                                                       : readCubin(std::as_bytes(std::span(made_.image.data(), made_.image.size())), made_.origin));
  // Triton's launcher passes two scratch pointers behind the arguments; they are null for kernels that need none.
  constexpr size_t kMostScratchPointers = 2;
  const ImageKernel *kernel = image.find(made_.kernel.name);
  size_t given = made_.arguments.size();
  if (kernel && kernel->parameterBytes.size() > given && kernel->parameterBytes.size() <= given + kMostScratchPointers &&
      std::all_of(kernel->parameterBytes.begin() + ptrdiff_t(given), kernel->parameterBytes.end(), [](uint32_t bytes) { return bytes == 8; }))
    made_.kernel.parameters.resize(kernel->parameterBytes.size(), {DeviceParameter::Kind::Constant, 0, 8, 0});
  if (kernel)
    made_.kernel.registers = kernel->registers;
  return checkKernel(image, made_.kernel, made_.capability, made_.origin);
}

Result<Implementation> KernelReader::read() {
  onlyKeys(json_, {"kernel", "op", "types", "attributes", "sizes", "arguments", "grid"});
  std::string name = text(json_, "kernel");
  LLMOPT_RETURN_IF_ERROR(status_);
  LLMOPT_ASSIGN(MappedFile file, MappedFile::openBeneath(folder_, name + ".json"));
  LLMOPT_ASSIGN(Json launch, Json::parse(file.text(), folder_ + "/" + name + ".json"));
  readLaunch(launch);
  readConditions();
  readArguments();
  LLMOPT_RETURN_IF_ERROR(status_);
  LLMOPT_RETURN_IF_ERROR(readImage());
  return std::move(made_);
}

} // namespace

Result<KernelLibrary> KernelLibrary::open(std::span<const std::string> folders) {
  KernelLibrary library;
  for (const std::string &folder : folders) {
    LLMOPT_ASSIGN(MappedFile file, MappedFile::openBeneath(folder, kManifest));
    LLMOPT_ASSIGN(Json manifest, Json::parse(file.text(), folder + "/" + kManifest));
    const Json *kernels = manifest.find("kernels");
    if (!kernels || !kernels->isArray() || kernels->asArray().empty())
      return badInput("E0985", "kernel library: 'kernels' should list at least one kernel", folder + "/" + kManifest);
    for (const Json &json : kernels->asArray()) {
      LLMOPT_ASSIGN(Implementation implementation, KernelReader(folder, json).read());
      library.implementations_.push_back(std::move(implementation));
    }
  }
  return library;
}
