//===- ModelFolder.h - a Hugging Face folder, checked -----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// config.json, generation_config.json, and model.safetensors or the shards of model.safetensors.index.json. Files are
// opened inside the folder only; the one exception is the hub's cache, whose snapshots are links into its own blobs.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_FRONTENDS_HF_MODELFOLDER_H
#define LLMOPT_FRONTENDS_HF_MODELFOLDER_H

#include "Safetensors.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/WeightStore.h"

#include <map>
#include <memory>

namespace llmopt::hf {

struct Shard {
  std::string name; ///< file name, for messages
  std::shared_ptr<const MappedFile> file;
  SafetensorsFile header;
};

/// One tensor of the folder.
struct FolderTensor {
  const SafetensorsEntry *entry = nullptr;
  const Shard *shard = nullptr;

  /// The bytes, kept alive by the mapped file; copied when they do not lie at a multiple of the element size.
  /// The type must be one that llmopt has.
  StoredWeight stored() const;
  bool aligned() const;
  std::span<const std::byte> bytes() const {
    return shard->file->bytes().subspan(shard->header.dataStart + entry->begin, entry->end - entry->begin);
  }
};

class ModelFolder {
public:
  /// E0402: the folder or its index does not hold together; E0403: weights in a form that is refused.
  static Result<ModelFolder> open(const std::string &path, bool readWeights = true);

  const std::string &path() const { return path_; }
  const Json &config() const { return config_; }
  /// Null without generation_config.json.
  const Json &generationConfig() const { return generationConfig_; }
  const FolderTensor *find(std::string_view name) const {
    auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, FolderTensor, std::less<>> &tensors() const { return tensors_; }
  const std::vector<std::string> &warnings() const { return warnings_; }

private:
  Status openWeights();
  Status openShards(const Json &index, const std::string &indexName);
  Status openShard(const std::string &name);
  Status checkWeightMap(const Json &weightMap);
  Status noWeights() const;

  std::string path_;
  Json config_, generationConfig_;
  std::vector<std::unique_ptr<Shard>> shards_;
  std::map<std::string, FolderTensor, std::less<>> tensors_;
  std::vector<std::string> warnings_;
};

/// Opens `name` in `folder`; follows a link only inside a hub cache, from a snapshot to a blob of the same model.
Result<MappedFile> openModelFile(const std::string &folder, const std::string &name);

} // namespace llmopt::hf

#endif // LLMOPT_FRONTENDS_HF_MODELFOLDER_H
