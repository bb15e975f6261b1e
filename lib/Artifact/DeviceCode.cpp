//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/DeviceCode.h"

#include "llmopt/lib/Artifact/Artifact.h"

#include <array>
#include <optional>

using namespace llmopt;

namespace {

constexpr std::array<std::string_view, 7> kKinds = {"buffer", "dim", "table", "scratch", "scratch_bytes", "constant", "tensor_map"};
bool hasIndex(DeviceParameter::Kind kind) {
  return kind == DeviceParameter::Kind::Buffer || kind == DeviceParameter::Kind::Dim || kind == DeviceParameter::Kind::TensorMap;
}

constexpr uint32_t kWarp = 32, kMostThreads = 1024;

Json parameterJson(const DeviceParameter &parameter) {
  Json json;
  json.set("kind", kKinds[size_t(parameter.kind)]);
  if (hasIndex(parameter.kind))
    json.set("index", parameter.index);
  if (parameter.kind == DeviceParameter::Kind::Constant)
    json.set("value", parameter.value);
  if (parameter.bytes != 8)
    json.set("bytes", parameter.bytes);
  if (parameter.kind == DeviceParameter::Kind::TensorMap) {
    const DeviceMatrix &matrix = parameter.matrix;
    json.set("element", dtypeName(matrix.element)).set("rows_dim", matrix.rowsDim).set("rows", matrix.rows).set("columns", matrix.columns);
    json.set("box_rows", matrix.boxRows).set("unpack", matrix.unpack);
  }
  return json;
}

} // namespace

Json llmopt::launchMetadata(const DeviceKernel &kernel, const std::string &architecture) {
  Json parameters{Json::Array{}};
  for (const DeviceParameter &parameter : kernel.parameters)
    parameters.push(parameterJson(parameter));
  Json own;
  own.set("module", kernel.module).set("units_per_block", kernel.unitsPerBlock).set("blocks_per_sm", kernel.blocksPerSm);
  own.set("parameters", std::move(parameters)).set("registers", kernel.registers).set("spill", kernel.spillBytes);
  own.set("static_shared", kernel.staticSharedBytes).set("family", kernel.family).set("math", kernel.math);
  if (!kernel.entry.empty())
    own.set("entry", kernel.entry);
  Json target;
  int64_t capability = 0; // "sm_90a" -> 90
  for (char c : architecture)
    if (c >= '0' && c <= '9')
      capability = capability * 10 + (c - '0');
  target.set("backend", "cuda").set("arch", capability).set("warp_size", kWarp);
  Json json;
  json.set("name", kernel.name).set("num_warps", kernel.threads / kWarp).set("num_ctas", 1).set("num_stages", kernel.stages).set("shared", kernel.sharedBytes);
  json.set("launch_pdl", kernel.launchPdl).set("global_scratch_size", 0).set("target", std::move(target)).set("llmopt", std::move(own));
  return json;
}

namespace {

/// Reads what must be there, remembering the first thing that is not.
class Reader {
public:
  explicit Reader(const std::string &context) : context_(context) {}
  Status status;

  void fail(const std::string &what) {
    if (status.ok())
      status = badInput("E0211", "the launch metadata is damaged: " + what, context_);
  }
  uint64_t number(const Json &object, std::string_view key, uint64_t most) {
    const Json *json = object.find(key);
    if (!json || !json->isInt() || json->asInt() < 0 || uint64_t(json->asInt()) > most) {
      fail("'" + std::string(key) + "' should be an integer from 0 to " + std::to_string(most));
      return 0;
    }
    return uint64_t(json->asInt());
  }
  uint32_t small(const Json &object, std::string_view key, uint32_t most = UINT32_MAX) { return uint32_t(number(object, key, most)); }
  bool flag(const Json &object, std::string_view key) {
    const Json *json = object.find(key);
    if (json && json->isBool())
      return json->asBool();
    fail("'" + std::string(key) + "' should be true or false");
    return false;
  }
  std::string text(const Json &object, std::string_view key) {
    const Json *json = object.find(key);
    if (!json || !json->isString()) {
      fail("'" + std::string(key) + "' should be a string");
      return {};
    }
    return json->asString();
  }
  Json::Array array(const Json &object, std::string_view key) {
    const Json *json = object.find(key);
    if (!json || !json->isArray()) {
      fail("'" + std::string(key) + "' should be a list");
      return {};
    }
    return json->asArray();
  }

private:
  const std::string &context_;
};

DeviceMatrix readMatrix(const Json &json, Reader &reader) {
  constexpr uint64_t kMost = uint64_t(1) << 32; // of a tensor map
  constexpr uint32_t kMostBox = 256;
  DeviceMatrix matrix;
  std::optional<DType> element = parseDType(reader.text(json, "element"));
  if (!element)
    reader.fail("a tensor map has no known element type");
  matrix.element = element.value_or(DType::F32);
  matrix.rowsDim = reader.small(json, "rows_dim", 1u << 16);
  matrix.rows = reader.number(json, "rows", kMost);
  matrix.columns = reader.number(json, "columns", kMost);
  matrix.boxRows = reader.small(json, "box_rows", kMostBox);
  matrix.unpack = reader.text(json, "unpack");
  if (matrix.columns == 0 || matrix.boxRows == 0 || (matrix.rows == 0) == (matrix.rowsDim == 0))
    reader.fail("a tensor map has no rows or columns");
  return matrix;
}

DeviceParameter readParameter(const Json &json, Reader &reader) {
  std::string kind = reader.text(json, "kind");
  DeviceParameter parameter;
  for (size_t i = 0; i < kKinds.size(); ++i)
    if (kKinds[i] == kind) {
      parameter.kind = DeviceParameter::Kind(i);
      if (hasIndex(parameter.kind))
        parameter.index = reader.small(json, "index", 1u << 16);
      if (parameter.kind == DeviceParameter::Kind::Constant)
        parameter.value = reader.number(json, "value", INT64_MAX);
      if (json.find("bytes"))
        parameter.bytes = reader.small(json, "bytes", DeviceMatrix::kMapBytes);
      if (parameter.kind == DeviceParameter::Kind::TensorMap ? parameter.bytes != DeviceMatrix::kMapBytes : parameter.bytes != 8 && parameter.bytes != 4)
        reader.fail("kernel parameters have 4 or 8 bytes, tensor maps 128");
      if (parameter.kind == DeviceParameter::Kind::TensorMap)
        parameter.matrix = readMatrix(json, reader);
      return parameter;
    }
  reader.fail("no kernel parameter is of kind '" + kind + "'");
  return parameter;
}

DeviceKernel readKernel(const Json &json, size_t modules, Reader &reader) {
  DeviceKernel kernel;
  kernel.name = reader.text(json, "name");
  kernel.threads = reader.small(json, "num_warps", kMostThreads / kWarp) * kWarp;
  kernel.sharedBytes = reader.small(json, "shared", 1u << 20);
  const Json *own = json.find("llmopt");
  if (!own || !own->isObject() || kernel.threads == 0) {
    reader.fail("kernel '" + kernel.name + "' lacks what a launch needs");
    return kernel;
  }
  kernel.module = reader.small(*own, "module");
  kernel.unitsPerBlock = reader.small(*own, "units_per_block");
  kernel.blocksPerSm = reader.small(*own, "blocks_per_sm", 64);
  kernel.registers = reader.small(*own, "registers");
  kernel.spillBytes = reader.small(*own, "spill");
  kernel.staticSharedBytes = reader.small(*own, "static_shared");
  kernel.stages = reader.small(json, "num_stages");
  kernel.launchPdl = reader.flag(json, "launch_pdl");
  kernel.family = reader.text(*own, "family");
  kernel.math = reader.text(*own, "math");
  if (own->find("entry"))
    kernel.entry = reader.text(*own, "entry");
  for (const Json &parameter : reader.array(*own, "parameters"))
    kernel.parameters.push_back(readParameter(parameter, reader));
  if (kernel.module >= modules || kernel.unitsPerBlock == 0)
    reader.fail("kernel '" + kernel.name + "' has no module or no work units");
  return kernel;
}

} // namespace

const DeviceKernel *DeviceCode::find(std::string_view name) const {
  for (const DeviceKernel &kernel : kernels)
    if (kernel.name == name)
      return &kernel;
  return nullptr;
}

Json llmopt::toJson(const DeviceCode &code) {
  Json modules{Json::Array{}}, kernels{Json::Array{}};
  for (const DeviceModule &module : code.modules)
    modules.push(Json().set("form", module.form).set("offset", module.offset).set("length", module.length));
  for (const DeviceKernel &kernel : code.kernels)
    kernels.push(launchMetadata(kernel, code.architecture));
  Json json;
  json.set("compiler", code.compiler).set("architecture", code.architecture);
  json.set("modules", std::move(modules)).set("kernels", std::move(kernels));
  return json;
}

Result<DeviceCode> llmopt::deviceCodeFromJson(const Json &json, uint64_t codeBytes, const std::string &context) {
  Reader reader(context);
  DeviceCode code;
  code.compiler = reader.text(json, "compiler");
  code.architecture = reader.text(json, "architecture");
  for (const Json &item : reader.array(json, "modules")) {
    DeviceModule module{reader.text(item, "form"), reader.number(item, "offset", codeBytes), reader.number(item, "length", codeBytes)};
    if (module.length > codeBytes - module.offset || module.length == 0)
      reader.fail("a module lies outside of the code section");
    if (module.form != "cubin" && module.form != "ptx" && module.form != "host")
      reader.fail("modules of form '" + module.form + "' are unknown");
    code.modules.push_back(std::move(module));
  }
  for (const Json &item : reader.array(json, "kernels"))
    code.kernels.push_back(readKernel(item, code.modules.size(), reader));
  LLMOPT_RETURN_IF_ERROR(reader.status);
  return code;
}

Result<DeviceCode> llmopt::readDeviceCode(const Artifact &artifact, const std::string &target) {
  std::string metadata = "kernels/" + target, images = "code/" + target;
  for (const std::string &section : {metadata, images}) {
    if (!artifact.section(section))
      return badInput("E0202", "the artifact lists target '" + target + "' but has no section '" + section + "'", artifact.path());
    LLMOPT_RETURN_IF_ERROR(artifact.verify(section));
  }
  std::span<const std::byte> text = *artifact.section(metadata);
  std::string context = artifact.path() + ", section '" + metadata + "'";
  LLMOPT_ASSIGN(Json json, Json::parse({reinterpret_cast<const char *>(text.data()), text.size()}, context));
  return deviceCodeFromJson(json, artifact.section(images)->size(), context);
}
