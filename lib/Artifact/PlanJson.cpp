//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One pair of functions per structure: how it is written, how it is read.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/Plan.h"

#include <algorithm>
#include <array>

using namespace llmopt;
using namespace llmopt::plan;

namespace {

constexpr std::array<std::string_view, 11> kOpNames = {"constant", "symbol", "add", "sub", "mul",      "floordiv",
                                                       "ceildiv",  "mod",    "min", "max", "broadcast"};
constexpr std::array<std::string_view, 3> kRelationNames = {"less_equal", "equal", "one_or_equal"};
constexpr std::array<std::string_view, 5> kKindNames = {"input", "output", "arena", "weight", "state"};

/// Takes members out of objects and remembers the first thing that was wrong.
class Reader {
public:
  explicit Reader(std::string_view context) : context_(context) {}

  bool ok() const { return status_.ok(); }
  const Status &status() const { return status_; }
  void fail(const std::string &message) {
    if (status_.ok())
      status_ = badInput("E0208", "the plan is invalid: " + message, context_);
  }

  int64_t integer(const Json &object, std::string_view key) {
    const Json *value = object.find(key);
    if (value && value->isInt())
      return value->asInt();
    fail("member '" + std::string(key) + "' is not an integer");
    return 0;
  }
  uint64_t size(const Json &object, std::string_view key) {
    int64_t value = integer(object, key);
    if (value < 0)
      fail("member '" + std::string(key) + "' is negative");
    return uint64_t(value);
  }
  uint32_t index(const Json &object, std::string_view key) { return narrow(integer(object, key)); }
  std::string text(const Json &object, std::string_view key) {
    const Json *value = object.find(key);
    if (value && value->isString())
      return value->asString();
    fail("member '" + std::string(key) + "' is not a string");
    return {};
  }
  bool flag(const Json &object, std::string_view key) {
    const Json *value = object.find(key);
    if (value && value->isBool())
      return value->asBool();
    fail("member '" + std::string(key) + "' is not true or false");
    return false;
  }
  const Json::Array &list(const Json &object, std::string_view key) {
    static const Json::Array kEmpty;
    const Json *value = object.find(key);
    if (value && value->isArray())
      return value->asArray();
    fail("member '" + std::string(key) + "' is not a list");
    return kEmpty;
  }
  template <typename T>
  std::vector<T> integers(const Json &object, std::string_view key) {
    std::vector<T> values;
    for (const Json &value : list(object, key)) {
      if (!value.isInt())
        fail("member '" + std::string(key) + "' holds something other than integers");
      else if constexpr (sizeof(T) == 4)
        values.push_back(narrow(value.asInt()));
      else
        values.push_back(value.asInt());
    }
    return values;
  }
  DType dtype(const Json &object, std::string_view key = "dtype") {
    std::optional<DType> type = parseDType(text(object, key));
    if (!type)
      fail("unknown element type");
    return type.value_or(DType::F32);
  }
  uint32_t narrow(int64_t value) {
    if (value < 0 || value > int64_t(UINT32_MAX))
      fail("index " + std::to_string(value) + " is out of range");
    return uint32_t(value);
  }

private:
  std::string context_;
  Status status_;
};

template <typename T>
Json integerList(const std::vector<T> &values) {
  Json::Array list;
  for (T value : values)
    list.push_back(Json(int64_t(value)));
  return list;
}

template <typename T, typename F>
Json listOf(const std::vector<T> &values, F &&write) {
  Json::Array list;
  for (const T &value : values)
    list.push_back(write(value));
  return list;
}

Json write(const Expr &expr) {
  Json::Array list{Json(kOpNames[size_t(expr.op)])};
  if (expr.op <= Expr::Op::Symbol)
    list.push_back(expr.value);
  else
    list.insert(list.end(), {Json(expr.lhs), Json(expr.rhs)});
  return list;
}

Expr readExpr(Reader &in, const Json &json) {
  Expr expr;
  if (!json.isArray() || json.asArray().empty() || !json.asArray()[0].isString())
    return in.fail("an expression is malformed"), expr;
  const Json::Array &parts = json.asArray();
  auto name = std::find(kOpNames.begin(), kOpNames.end(), parts[0].asString());
  if (name == kOpNames.end())
    return in.fail("unknown operation '" + parts[0].asString() + "' in an expression"), expr;
  expr.op = Expr::Op(name - kOpNames.begin());
  size_t operands = expr.op <= Expr::Op::Symbol ? 1 : 2;
  if (parts.size() != operands + 1 || !parts[1].isInt() || !parts.back().isInt())
    return in.fail("an expression is malformed"), expr;
  if (operands == 1)
    expr.value = parts[1].asInt();
  else
    expr.lhs = in.narrow(parts[1].asInt()), expr.rhs = in.narrow(parts[2].asInt());
  return expr;
}

Json write(const Buffer &buffer) {
  Json json;
  json.set("name", buffer.name).set("kind", kKindNames[size_t(buffer.kind)]).set("dtype", dtypeName(buffer.dtype));
  json.set("shape", integerList(buffer.shape)).set("bytes", buffer.bytes);
  if (buffer.kind >= BufferKind::Weight)
    json.set("index", buffer.index);
  else
    json.set("first", buffer.firstStage).set("last", buffer.lastStage);
  return json;
}

Buffer readBuffer(Reader &in, const Json &json) {
  Buffer buffer;
  buffer.name = in.text(json, "name");
  std::string kind = in.text(json, "kind");
  auto name = std::find(kKindNames.begin(), kKindNames.end(), kind);
  if (name == kKindNames.end())
    return in.fail("buffer '" + buffer.name + "' has unknown kind '" + kind + "'"), buffer;
  buffer.kind = BufferKind(name - kKindNames.begin());
  buffer.dtype = in.dtype(json);
  buffer.shape = in.integers<ExprId>(json, "shape");
  buffer.bytes = in.index(json, "bytes");
  if (buffer.kind >= BufferKind::Weight)
    buffer.index = in.index(json, "index");
  else
    buffer.firstStage = in.index(json, "first"), buffer.lastStage = in.index(json, "last");
  return buffer;
}

Json write(const Variant &variant) {
  return Json()
      .set("kernel", variant.kernel)
      .set("limit", variant.limit)
      .set("units", variant.units)
      .set("scratch", variant.scratchBytes);
}

Variant readVariant(Reader &in, const Json &json) {
  return {.kernel = in.text(json, "kernel"),
          .limit = in.integer(json, "limit"),
          .units = in.index(json, "units"),
          .scratchBytes = in.index(json, "scratch")};
}

Json write(const Stage &stage) {
  Json json;
  json.set("name", stage.name).set("family", stage.family).set("bindings", integerList(stage.bindings));
  json.set("dims", integerList(stage.dims)).set("selector", stage.selector);
  json.set("variants", listOf(stage.variants, [](const Variant &v) { return write(v); }));
  if (stage.unitwise) // most are not
    json.set("unitwise", true);
  if (stage.halves)
    json.set("halves", true);
  return json.set("barrier", stage.barrier).set("flops", stage.flops).set("bytes_moved", stage.bytesMoved)
      .set("arithmetic", dtypeName(stage.arithmetic));
}

Stage readStage(Reader &in, const Json &json) {
  Stage stage;
  stage.name = in.text(json, "name");
  stage.family = in.text(json, "family");
  stage.bindings = in.integers<uint32_t>(json, "bindings");
  stage.dims = in.integers<ExprId>(json, "dims");
  stage.selector = in.index(json, "selector");
  for (const Json &variant : in.list(json, "variants"))
    stage.variants.push_back(readVariant(in, variant));
  stage.barrier = in.flag(json, "barrier");
  stage.unitwise = json.find("unitwise") && in.flag(json, "unitwise");
  stage.halves = json.find("halves") && in.flag(json, "halves"); // older artifacts do not say
  stage.flops = in.index(json, "flops");
  stage.bytesMoved = in.index(json, "bytes_moved");
  stage.arithmetic = in.dtype(json, "arithmetic");
  return stage;
}

Json write(const Requirement &requirement) {
  return Json()
      .set("relation", kRelationNames[size_t(requirement.relation)])
      .set("lhs", requirement.lhs)
      .set("rhs", requirement.rhs)
      .set("node", requirement.node);
}

Requirement readRequirement(Reader &in, const Json &json) {
  Requirement requirement;
  std::string relation = in.text(json, "relation");
  auto name = std::find(kRelationNames.begin(), kRelationNames.end(), relation);
  if (name == kRelationNames.end())
    return in.fail("unknown relation '" + relation + "' in a requirement"), requirement;
  requirement.relation = Requirement::Relation(name - kRelationNames.begin());
  requirement.lhs = in.index(json, "lhs");
  requirement.rhs = in.index(json, "rhs");
  requirement.node = in.text(json, "node");
  return requirement;
}

Json write(const Entry &entry) {
  Json json;
  json.set("name", entry.name);
  json.set("symbols", listOf(entry.symbols, [](const std::string &s) { return Json(s); }));
  json.set("expressions", listOf(entry.expressions, [](const Expr &e) { return write(e); }));
  json.set("buffers", listOf(entry.buffers, [](const Buffer &b) { return write(b); }));
  json.set("inputs", integerList(entry.inputs)).set("outputs", integerList(entry.outputs));
  json.set("requirements", listOf(entry.requirements, [](const Requirement &r) { return write(r); }));
  return json.set("stages", listOf(entry.stages, [](const Stage &s) { return write(s); }));
}

Entry readEntry(Reader &in, const Json &json) {
  Entry entry;
  entry.name = in.text(json, "name");
  for (const Json &symbol : in.list(json, "symbols"))
    symbol.isString() ? entry.symbols.push_back(symbol.asString()) : in.fail("a symbol is not a string");
  for (const Json &expr : in.list(json, "expressions"))
    entry.expressions.push_back(readExpr(in, expr));
  for (const Json &buffer : in.list(json, "buffers"))
    entry.buffers.push_back(readBuffer(in, buffer));
  entry.inputs = in.integers<uint32_t>(json, "inputs");
  entry.outputs = in.integers<uint32_t>(json, "outputs");
  for (const Json &stage : in.list(json, "stages"))
    entry.stages.push_back(readStage(in, stage));
  for (const Json &requirement : in.list(json, "requirements"))
    entry.requirements.push_back(readRequirement(in, requirement));
  return entry;
}

Json write(const Weight &weight) {
  Json json;
  json.set("name", weight.name).set("dtype", dtypeName(weight.dtype)).set("shape", integerList(weight.shape));
  return json.set("layout", weight.layout).set("offset", weight.offset).set("bytes", weight.bytes);
}

Weight readWeight(Reader &in, const Json &json) {
  return {.name = in.text(json, "name"),
          .dtype = in.dtype(json),
          .shape = in.integers<int64_t>(json, "shape"),
          .layout = in.text(json, "layout"),
          .offset = in.size(json, "offset"),
          .bytes = in.size(json, "bytes")};
}

Json write(const State &state) {
  Json json;
  json.set("name", state.name).set("group", int(state.group)).set("kv_heads", state.kvHeads);
  json.set("key_size", state.keySize).set("value_size", state.valueSize).set("dtype", dtypeName(state.dtype));
  return json.set("block_bytes", state.blockBytes);
}

State readState(Reader &in, const Json &json) {
  State state;
  state.name = in.text(json, "name");
  uint32_t group = in.index(json, "group");
  if (group > 1)
    in.fail("state '" + state.name + "' belongs to group " + std::to_string(group) + "; there are 0 and 1");
  state.group = uint8_t(group);
  state.kvHeads = in.integer(json, "kv_heads");
  state.keySize = in.integer(json, "key_size");
  state.valueSize = in.integer(json, "value_size");
  state.dtype = in.dtype(json);
  state.blockBytes = in.size(json, "block_bytes");
  return state;
}

} // namespace

Json plan::toJson(const Plan &plan) {
  Json json;
  json.set("version", 1);
  json.set("states", listOf(plan.states, [](const State &s) { return write(s); }));
  json.set("weights", listOf(plan.weights, [](const Weight &w) { return write(w); }));
  return json.set("entries", listOf(plan.entries, [](const Entry &e) { return write(e); }));
}

Result<Plan> plan::fromJson(const Json &json, std::string_view context) {
  Reader in(context);
  Plan plan;
  if (int64_t version = in.integer(json, "version"); in.ok() && version != 1)
    return unsupported("E0208", "the plan has version " + std::to_string(version) + "; this llmopt reads 1", std::string(context));
  for (const Json &state : in.list(json, "states"))
    plan.states.push_back(readState(in, state));
  for (const Json &weight : in.list(json, "weights"))
    plan.weights.push_back(readWeight(in, weight));
  for (const Json &entry : in.list(json, "entries"))
    plan.entries.push_back(readEntry(in, entry));
  // Indices are looked at only in a plan that is otherwise well formed.
  if (!in.ok())
    return in.status();
  LLMOPT_RETURN_IF_ERROR(checkPlan(plan, context));
  return plan;
}
