//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "WeightBinder.h"

#include "ConfigCheck.h"

#include <algorithm>
#include <cstring>

using namespace llmopt;
using namespace llmopt::hf;

static std::string shapeText(llvm::ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t dim : shape)
    text += (text.empty() ? "" : ", ") + std::to_string(dim);
  return "[" + text + "]";
}

static std::string quotedList(const std::vector<std::string> &names, size_t limit) {
  std::string text;
  for (size_t i = 0; i < std::min(names.size(), limit); ++i)
    text += (i ? ", " : "") + names[i];
  return names.size() > limit ? text + " and " + std::to_string(names.size() - limit) + " more" : text;
}

Status WeightBinder::prepare(ConfigScope &config) {
  for (const auto &[name, candidates] : architecture_.names) {
    auto isThere = [&](const std::string &candidate) {
      auto it = folder_.tensors().lower_bound(expand(candidate, -1));
      return it != folder_.tensors().end() && it->first.starts_with(expand(candidate, -1));
    };
    auto found = std::find_if(candidates.begin(), candidates.end(), isThere);
    if (candidates.empty())
      continue;
    // A name for the inside of layers cannot be tried yet, and has no choice either.
    std::string chosen = expand(candidates.size() > 1 && found != candidates.end() ? *found : candidates[0], -1);
    if (std::string rest = expand(chosen, 0); rest.find('{') != rest.npos) // also keeps names from meaning each other
      return badInput("E0420", "invalid description: name '" + name + "' is made of names that do not stand before it");
    names_[name] = std::move(chosen);
  }
  for (const TiedGroup &group : architecture_.tied) {
    LLMOPT_ASSIGN(bool when, config.boolean(group.when, false));
    std::vector<std::string> names;
    for (const std::string &name : group.tensors)
      names.push_back(expand(name, -1));
    if (when)
      tie(std::move(names));
  }
  return {};
}

/// The tensor of the file that serves for `name`: its own, unless a tied one has the same bytes or is the only one.
std::string WeightBinder::tiedPlace(const std::string &name, const std::vector<std::string> &group) const {
  auto [own, tensor] = locateUntied(name);
  for (const std::string &other : group) {
    auto [place, partner] = locateUntied(other);
    // Equal bytes under two names: take the same one each time, so that the artifact holds them once.
    bool same = tensor && partner && partner->entry->shape == tensor->entry->shape &&
                partner->entry->type == tensor->entry->type && std::ranges::equal(partner->bytes(), tensor->bytes());
    if (partner && (!tensor || same))
      return place;
  }
  return random_ ? group.front() : own;
}

void WeightBinder::tie(std::vector<std::string> group) {
  std::set<std::string> places;
  for (const std::string &name : group) {
    tied_[name] = tiedPlace(name, group);
    if (folder_.find(tied_[name]))
      places.insert(tied_[name]);
  }
  if (places.size() > 1)
    notes_.push_back("the config ties " + quotedList({places.begin(), places.end()}, 4) +
                     ", but the file holds different values for them; each is used as it is");
}

std::string WeightBinder::expand(const std::string &name, int64_t layer) const {
  std::string result;
  for (size_t at = 0; at < name.size();) {
    size_t close = name[at] == '{' ? name.find('}', at) : name.npos;
    if (close == name.npos) {
      result += name[at++];
      continue;
    }
    std::string key = name.substr(at + 1, close - at - 1);
    auto it = names_.find(key);
    if (key == "i" && layer >= 0)
      result += std::to_string(layer);
    else
      result += it != names_.end() ? expand(it->second, layer) : name.substr(at, close + 1 - at);
    at = close + 1;
  }
  return result;
}

std::pair<std::string, const FolderTensor *> WeightBinder::locateUntied(const std::string &name) const {
  if (const FolderTensor *tensor = folder_.find(name))
    return {name, tensor};
  for (const auto &[from, to] : architecture_.renames) {
    size_t at = name.find(to);
    if (at == name.npos)
      continue;
    std::string older = std::string(name).replace(at, to.size(), from);
    if (const FolderTensor *tensor = folder_.find(older))
      return {older, tensor};
  }
  return {name, nullptr};
}

std::pair<std::string, const FolderTensor *> WeightBinder::locate(const std::string &name) const {
  auto tied = tied_.find(name);
  return tied != tied_.end() ? std::pair(tied->second, folder_.find(tied->second)) : locateUntied(name);
}

const FolderTensor *WeightBinder::checked(const std::string &name, llvm::ArrayRef<int64_t> shape, std::string &stored, std::optional<DType> codes) {
  auto [place, tensor] = locate(name);
  stored = place;
  if (!tensor) {
    problems_.invalid("missing tensor: expected " + name + " " + shapeText(shape));
    return nullptr;
  }
  used_.insert(place);
  if (llvm::ArrayRef<int64_t>(tensor->entry->shape) != shape) {
    problems_.invalid("expected " + place + " " + shapeText(shape) + ", found " + shapeText(tensor->entry->shape));
    return nullptr;
  }
  std::optional<DType> type = tensor->entry->type->type;
  if (codes ? type != codes : !type || !isFloat(*type) || narrowFloat(*type)) {
    bool isFloat8 = !codes && type == DType::F8E4M3FN;
    problems_.unsupported("tensor " + place + " has element type " + tensor->entry->type->name + ", only " +
                          (isFloat8 ? "weights of linear layers may have that, where config.json has a quantization_config" : codes ? "U8 is supported" : "F32, F16, BF16 and F64 are supported"));
    return nullptr;
  }
  return tensor;
}

const StoredWeight *WeightBinder::drawn(const std::string &name, llvm::ArrayRef<int64_t> shape, std::string &stored) {
  stored = locate(name).first;
  if (!store_.find(stored)) {
    Result<StoredWeight> tensor = random_->tensor(stored, shape.vec());
    if (!tensor) {
      problems_.invalid(tensor.error().message);
      return nullptr;
    }
    store_.add(stored, tensor.take());
  }
  return store_.find(stored);
}

mlir::Value WeightBinder::weight(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape) { return bind(graph, name, shape, std::nullopt); }

std::optional<Float8Scheme> WeightBinder::float8(const std::string &name) const {
  const FolderTensor *tensor = float8_ && !random_ ? locate(name).second : nullptr;
  return tensor && tensor->entry->type->type == DType::F8E4M3FN ? float8_ : std::nullopt;
}

mlir::Value WeightBinder::codes(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape) { return bind(graph, name, shape, DType::F8E4M3FN); }

mlir::Value WeightBinder::scale(GraphBuilder &graph, const std::string &name, int64_t outputs) {
  const FolderTensor *tensor = locate(name).second;
  std::vector<int64_t> shape = tensor ? tensor->entry->shape : std::vector<int64_t>{1};
  bool isOne = shape.size() < 3 && std::all_of(shape.begin(), shape.end(), [](int64_t dim) { return dim == 1; });
  return weightF32(graph, name, isOne ? shape : std::vector<int64_t>{outputs, 1});
}

mlir::Value WeightBinder::bind(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape, std::optional<DType> codes) {
  std::string stored;
  const StoredWeight *random = random_ ? drawn(name, shape, stored) : nullptr;
  const FolderTensor *tensor = random_ ? nullptr : checked(name, shape, stored, codes);
  auto [made, isNew] = made_.try_emplace(stored);
  if (!isNew && made->second)
    return made->second;
  if (random)
    return made->second = graph.weight(stored, random->dtype, shape);
  if (!tensor) // no entry in `made`: another use may want another shape
    return made_.erase(stored), graph.weight(name, codes.value_or(DType::F32), shape);
  if (!store_.find(stored))
    store_.add(stored, tensor->stored());
  if (!tensor->aligned())
    notes_.push_back("tensor " + stored + " does not lie at a multiple of its element size; it is copied");
  return made->second = graph.weight(stored, *tensor->entry->type->type, shape);
}

mlir::Value WeightBinder::weightF32(GraphBuilder &graph, const std::string &name, llvm::ArrayRef<int64_t> shape) {
  return graph.toF32(weight(graph, name, shape));
}

mlir::Value WeightBinder::computed(GraphBuilder &graph, const std::string &name, const StoredWeight &weight) {
  auto [made, isNew] = made_.try_emplace(name);
  if (isNew) {
    store_.add(name, weight);
    made->second = graph.weight(name, weight.dtype, weight.shape);
  }
  return made->second;
}

std::optional<StoredWeight> WeightBinder::read(const std::string &name, llvm::ArrayRef<int64_t> shape) {
  std::string stored;
  if (random_) {
    const StoredWeight *random = drawn(name, shape, stored);
    return random ? std::optional(*random) : std::nullopt;
  }
  const FolderTensor *tensor = checked(name, shape, stored);
  return tensor ? std::optional<StoredWeight>(tensor->stored()) : std::nullopt;
}

std::optional<StoredWeight> WeightBinder::readCodes(const std::string &name, llvm::ArrayRef<int64_t> shape) {
  std::string stored;
  const FolderTensor *tensor = checked(name, shape, stored, DType::U8);
  return tensor ? std::optional<StoredWeight>(tensor->stored()) : std::nullopt;
}

void WeightBinder::report(std::vector<std::string> &warnings) const {
  warnings.insert(warnings.end(), notes_.begin(), notes_.end());
  std::vector<std::string> unused;
  for (const auto &[name, tensor] : folder_.tensors()) {
    bool isKnown = std::any_of(architecture_.unusedTensors.begin(), architecture_.unusedTensors.end(),
                               [&](const std::string &pattern) { return matchesPattern(pattern, name); });
    if (!used_.contains(name) && !isKnown && !tied_.contains(name))
      unused.push_back(name);
  }
  if (!unused.empty())
    warnings.push_back(std::to_string(unused.size()) + " tensors of the file are not used: " + quotedList(unused, 200));
}
