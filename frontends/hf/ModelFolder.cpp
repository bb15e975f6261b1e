//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "ModelFolder.h"

#include <algorithm>
#include <filesystem>
#include <set>

using namespace llmopt;
using namespace llmopt::hf;
namespace fs = std::filesystem;

static constexpr uint64_t kMaxConfigBytes = uint64_t(16) << 20;
static constexpr const char *kWeightsName = "model.safetensors";
static constexpr const char *kIndexName = "model.safetensors.index.json";

Result<MappedFile> hf::openModelFile(const std::string &folder, const std::string &name) {
  Result<MappedFile> file = MappedFile::openBeneath(folder, name);
  if (file || file.error().code != "E0102")
    return file;
  // <cache>/models--org--name/snapshots/<revision>/name -> ../../blobs/<hash>
  std::error_code problem;
  fs::path snapshot = fs::canonical(folder, problem);
  fs::path model = snapshot.parent_path().parent_path();
  fs::path target = problem ? fs::path() : fs::canonical(snapshot / name, problem);
  bool isCache = snapshot.parent_path().filename() == "snapshots" && model.filename().string().starts_with("models--");
  if (problem || !isCache || target.parent_path() != model / "blobs")
    return file;
  return MappedFile::openBeneath((model / "blobs").string(), target.filename().string());
}

static bool exists(const std::string &folder, const std::string &name) {
  std::error_code problem;
  return fs::exists(fs::path(folder) / name, problem);
}

static Result<Json> readJson(const std::string &folder, const std::string &name) {
  LLMOPT_ASSIGN(MappedFile file, openModelFile(folder, name));
  std::string path = folder + "/" + name;
  if (file.bytes().size() > kMaxConfigBytes)
    return limitExceeded("E0103", "file has " + std::to_string(file.bytes().size()) + " bytes; the limit is " +
                                      std::to_string(kMaxConfigBytes), path);
  LLMOPT_ASSIGN(Json json, Json::parse(file.text(), path));
  if (!json.isObject())
    return badInput("E0402", "expected a JSON object", path);
  return json;
}

bool FolderTensor::aligned() const {
  return (shard->header.dataStart + entry->begin) % dtypeSize(*entry->type->type) == 0;
}

StoredWeight FolderTensor::stored() const {
  StoredWeight weight{*entry->type->type, entry->shape, bytes(), shard->file};
  if (!aligned()) {
    auto copy = std::make_shared<std::vector<std::byte>>(weight.bytes.begin(), weight.bytes.end());
    weight.bytes = *copy;
    weight.keeper = std::move(copy);
  }
  return weight;
}

Result<ModelFolder> ModelFolder::open(const std::string &path, bool readWeights) {
  std::error_code problem;
  if (!fs::is_directory(path, problem))
    return badInput("E0402", problem ? "cannot be opened: " + problem.message() : "is not a folder", path);
  if (!exists(path, "config.json"))
    return badInput("E0402", "the folder has no config.json", path);
  ModelFolder folder;
  folder.path_ = path;
  LLMOPT_ASSIGN(folder.config_, readJson(path, "config.json"));
  if (exists(path, "generation_config.json")) {
    LLMOPT_ASSIGN(folder.generationConfig_, readJson(path, "generation_config.json"));
  }
  if (readWeights)
    LLMOPT_RETURN_IF_ERROR(folder.openWeights());
  return folder;
}

Status ModelFolder::openWeights() {
  if (exists(path_, kWeightsName))
    return openShard(kWeightsName);
  if (!exists(path_, kIndexName))
    return noWeights();
  LLMOPT_ASSIGN(Json index, readJson(path_, kIndexName));
  return openShards(index, path_ + "/" + kIndexName);
}

/// Says what is there instead of safetensors.
Status ModelFolder::noWeights() const {
  static constexpr std::string_view kPickles[] = {".bin", ".pt", ".pth", ".ckpt", ".pkl"};
  std::error_code problem;
  for (const fs::directory_entry &entry : fs::directory_iterator(path_, problem)) {
    std::string name = entry.path().filename().string(), extension = entry.path().extension().string();
    if (std::find(std::begin(kPickles), std::end(kPickles), extension) == std::end(kPickles))
      continue;
    Error error{"E0403", ErrorKind::BadInput, "pickle weights are refused ('" + name + "')", path_, {}};
    error.notes.push_back("a pickle can run any code; convert it where you trust it with transformers: "
                          "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)");
    return error;
  }
  for (const char *name : {"model.onnx", "onnx/model.onnx"}) // as Optimum exports
    if (exists(path_, name))
      return badInput("E0402", std::string("the folder has an ONNX file in place of ") + kWeightsName + "; give the file: " + path_ + "/" + name, path_);
  return badInput("E0402", std::string("the folder has neither ") + kWeightsName + " nor " + kIndexName, path_);
}

Status ModelFolder::openShard(const std::string &name) {
  LLMOPT_ASSIGN(MappedFile mapped, openModelFile(path_, name));
  auto shard = std::make_unique<Shard>();
  shard->name = name;
  shard->file = std::make_shared<const MappedFile>(std::move(mapped));
  LLMOPT_ASSIGN(shard->header, parseSafetensors(shard->file->bytes(), path_ + "/" + name));
  for (const SafetensorsEntry &entry : shard->header.tensors) {
    auto [it, added] = tensors_.try_emplace(entry.name, FolderTensor{&entry, shard.get()});
    if (!added)
      return badInput("E0402", "tensor '" + entry.name + "' is in two shards, " + it->second.shard->name + " and " + name, path_);
  }
  shards_.push_back(std::move(shard));
  return {};
}

Status ModelFolder::openShards(const Json &index, const std::string &indexName) {
  const Json *map = index.find("weight_map");
  if (!map || !map->isObject())
    return badInput("E0402", "no object 'weight_map'", indexName);
  std::set<std::string> names;
  for (const auto &[tensor, file] : map->asObject()) {
    if (!file.isString() || file.asString().empty() || file.asString().find('/') != std::string::npos ||
        file.asString() == "." || file.asString() == "..")
      return badInput("E0402", "tensor '" + tensor + "': " + file.str() + " is not the bare name of a file in the folder", indexName);
    names.insert(file.asString());
  }
  for (const std::string &name : names)
    LLMOPT_RETURN_IF_ERROR(openShard(name));
  LLMOPT_RETURN_IF_ERROR(checkWeightMap(*map));
  const Json *metadata = index.find("metadata");
  const Json *size = metadata ? metadata->find("total_size") : nullptr;
  uint64_t total = 0;
  for (const auto &[name, tensor] : tensors_)
    total += tensor.entry->end - tensor.entry->begin;
  if (size && size->isNumber() && size->asDouble() != double(total))
    warnings_.push_back(std::string(kIndexName) + " says total_size " + size->str() + ", the tensors have " +
                        std::to_string(total) + " bytes");
  return {};
}

Status ModelFolder::checkWeightMap(const Json &weightMap) {
  for (const auto &[name, file] : weightMap.asObject()) {
    const FolderTensor *tensor = find(name);
    if (tensor && tensor->shard->name == file.asString())
      continue;
    std::string place = tensor ? "is in " + tensor->shard->name : "is missing";
    return badInput("E0402", "the index puts tensor '" + name + "' into " + file.asString() + ", but it " + place, path_);
  }
  return {};
}
