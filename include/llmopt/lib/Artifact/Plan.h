//===- Plan.h - what the runtime walks --------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The compiled model as data: entry points, each a flat list of stages. A stage launches one kernel on buffers, with a
// few integers (dimension expressions). Sizes are expressions in the entry point's symbols ("batch", "tokens", ...),
// evaluated once for each new set of symbol values and kept.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_PLAN_H
#define LLMOPT_LIB_ARTIFACT_PLAN_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Json.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace llmopt::plan {

/// Index into Entry::expressions.
using ExprId = uint32_t;

/// One node; operands come before their users. Division and remainder round towards minus infinity.
struct Expr {
  enum class Op : uint8_t { Constant, Symbol, Add, Sub, Mul, FloorDiv, CeilDiv, Mod, Min, Max, Broadcast };
  Op op = Op::Constant;
  int64_t value = 0;       ///< Constant: the value; Symbol: index into Entry::symbols
  ExprId lhs = 0, rhs = 0; ///< Broadcast: rhs if lhs == 1, else lhs
};

/// Evaluates all expressions of an entry; results by ExprId. Division by zero gives 0.
std::vector<int64_t> evaluate(std::span<const Expr> expressions, std::span<const int64_t> symbolValues);

enum class BufferKind : uint8_t {
  Input,   ///< bound by the caller
  Output,  ///< bound by the caller, or taken from the arena
  Arena,   ///< lives between two stages in the step's arena
  Weight,  ///< a tensor of the artifact's weight section
  State,   ///< base address of key-value state `index`
};

struct Buffer {
  std::string name; ///< input, output and weight name; the source node's name for the arena
  BufferKind kind = BufferKind::Arena;
  DType dtype = DType::F32;
  std::vector<ExprId> shape = {}; ///< logical dimensions
  ExprId bytes = 0;          ///< size, padding included
  uint32_t index = 0;        ///< Weight: index into Plan::weights; State: index into Plan::states
  uint32_t firstStage = 0, lastStage = 0; ///< Arena, Output: first writer and last user; the runtime places by these
};

/// A kernel for one M-bucket of a stage: used when dims[selector] <= limit; the last variant has no limit.
struct Variant {
  std::string kernel;     ///< symbol in the code section
  int64_t limit = 0;      ///< 0: no limit
  ExprId units = 0;       ///< work units
  ExprId scratchBytes = 0;
};

struct Stage {
  std::string name;                ///< source location, for profiles and errors
  std::string family = {};          ///< generator ("linear", "loops", ...)
  std::vector<uint32_t> bindings = {};  ///< buffers in kernel order
  std::vector<ExprId> dims = {};        ///< KernelArgs::dims[1...]; dims[0] is the chosen variant's units
  ExprId selector = 0;             ///< the value that chooses the variant
  std::vector<Variant> variants = {};   ///< ordered by limit
  bool barrier = true;             ///< later stages read what this one writes
  /// The barrier is not needed where no sequence has more than one token in the step, and this and the next stage run their first
  /// variants with as many work units: each then reads only what the unit of the same number wrote here.
  bool unitwise = false;
  bool halves = false; ///< part i of n of its kernels is parts 2i and 2i + 1 of 2n: threads may take parts of different sizes
  ExprId flops = 0, bytesMoved = 0; ///< for profiles: arithmetic done, memory that must move
  DType arithmetic = DType::F32;    ///< what the flops are done in
};

/// What symbol values must satisfy; the code reads outside of its buffers with others.
struct Requirement {
  enum class Relation : uint8_t { LessEqual, Equal, OneOrEqual }; ///< OneOrEqual: lhs == 1 or lhs == rhs
  Relation relation = Relation::Equal;
  ExprId lhs = 0, rhs = 0;
  std::string node = {}; ///< source node that needs it
};

struct Entry {
  std::string name; ///< "step", "encode" or "main"
  std::vector<std::string> symbols = {};
  std::vector<Expr> expressions = {};
  std::vector<Buffer> buffers = {};
  std::vector<uint32_t> inputs = {}, outputs = {}; ///< buffer indices in signature order
  std::vector<Stage> stages = {};
  std::vector<Requirement> requirements = {};
};

/// A packed or plain tensor in the weight section.
struct Weight {
  std::string name;        ///< name in the source model
  DType dtype = DType::F32;
  std::vector<int64_t> shape = {}; ///< logical
  std::string layout = {}; ///< "row_major", "panel16", ...
  uint64_t offset = 0, bytes = 0; ///< in the weight section
};

/// Key-value state of one layer. The runtime keeps a pool of equal blocks of kCacheBlockTokens tokens for it.
struct State {
  std::string name;      ///< "layers.3"
  uint8_t group = 0;     ///< 0 self, 1 encoder
  int64_t kvHeads = 0, keySize = 0, valueSize = 0;
  DType dtype = DType::F32;
  uint64_t blockBytes = 0; ///< keys and values of one block
};

struct Plan {
  std::vector<Entry> entries;
  std::vector<Weight> weights;
  std::vector<State> states;
};

/// For people: "past + 4", and "i64[batch, past + 4]".
std::string describeDim(const Entry &entry, ExprId dim);
std::string describeType(const Entry &entry, const Buffer &buffer);

/// E1512 for the first requirement that the values of an entry's expressions break.
Status checkRequirements(const Entry &entry, std::span<const int64_t> values);

/// Every index against what it points into, every lifetime against the stages. E0208.
Status checkPlan(const Plan &plan, std::string_view context);

/// The plan as the artifact stores it. Reading includes checkPlan.
Json toJson(const Plan &plan);
Result<Plan> fromJson(const Json &json, std::string_view context);

} // namespace llmopt::plan

#endif // LLMOPT_LIB_ARTIFACT_PLAN_H
