//===- Resize.cpp - elements between elements -----------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Interpolation goes along one axis after the other. Where the sizes are known, each axis is a gather (nearest) or a product with a constant
// matrix, whose columns say what each result is made of.
//
//===----------------------------------------------------------------------===//
#include "Node.h"

#include "llvm/ADT/STLExtras.h"

#include <cmath>

using namespace mlir;

namespace llmopt::onnx {

/// Elements of the matrix of an axis: position embeddings and images are far below.
static constexpr int64_t kMostElements = int64_t(1) << 24;

namespace {

struct Axis {
  int64_t axis = 0, input = 0, output = 0;
  double scale = 1, start = 0, end = 1; ///< `start` and `end`: of the region of interest
};

struct Term {
  int64_t index;
  double weight;
};

struct Interpolation {
  std::string mode, coordinates, nearest;
  double cubic = -0.75, fill = 0;
  bool excludesOutside = false, antialias = false;

  /// Where result `i` lies among the inputs.
  double place(const Axis &axis, int64_t i) const {
    double x = double(i), in = double(axis.input), out = axis.scale * in, half = (x + 0.5) / axis.scale - 0.5;
    if (coordinates == "align_corners")
      return out == 1 ? 0 : x * (in - 1) / (out - 1);
    if (coordinates == "asymmetric")
      return x / axis.scale;
    if (coordinates == "tf_crop_and_resize")
      return axis.start * (in - 1) + (axis.end - axis.start) * (in - 1) * (out == 1 ? 0.5 : x / (out - 1));
    if (coordinates == "pytorch_half_pixel")
      return out == 1 ? -0.5 : half;
    if (coordinates == "half_pixel_symmetric")
      return in / 2 * (1 - double(axis.output) / out) + half;
    return coordinates == "tf_half_pixel_for_nn" ? half + 0.5 : half;
  }

  bool isOutside(const Axis &axis, double place) const {
    return coordinates == "tf_crop_and_resize" && (place < 0 || place > double(axis.input - 1));
  }

  int64_t nearestTo(double place) const {
    double below = std::floor(place), rest = place - below;
    bool above = nearest == "ceil" ? rest > 0 : nearest == "round_prefer_ceil" ? rest >= 0.5 : nearest == "round_prefer_floor" && rest > 0.5;
    return int64_t(below) + above;
  }

  /// The weight of an input `distance` away; steps are those of the results where they are wider (antialias).
  double kernel(double distance) const {
    double x = std::abs(distance), a = cubic;
    if (mode == "linear")
      return std::max(0.0, 1 - x);
    return x <= 1 ? ((a + 2) * x - (a + 3)) * x * x + 1 : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a : 0;
  }

  std::vector<Term> terms(const Axis &axis, double place) const {
    double reach = mode == "linear" ? 1 : 2, scale = antialias ? std::min(axis.scale, 1.0) : 1;
    double ratio = place - std::floor(place);
    int64_t below = int64_t(std::floor(place)), first = int64_t(std::floor(-reach / scale)) + 1;
    if (ratio == 0) { // the element itself is the right one of the two in the middle
      ratio = 1;
      --below;
    }
    std::vector<Term> found;
    double sum = 0;
    for (int64_t i = first; i < 2 - first; ++i) {
      Term term{below + i, kernel(scale * (double(i) - ratio))};
      if (excludesOutside && (term.index < 0 || term.index >= axis.input))
        continue;
      sum += term.weight;
      found.push_back(term);
    }
    for (Term &term : found)
      term.weight /= sum == 0 ? 1 : sum;
    return found;
  }
};

int64_t clampedTo(int64_t index, int64_t count) { return std::clamp<int64_t>(index, 0, count - 1); }

Value gatherNearest(Emitter &e, Value x, const Axis &axis, const Interpolation &how) {
  llvm::SmallVector<int64_t> indices;
  for (int64_t i = 0; i < axis.output; ++i)
    indices.push_back(clampedTo(how.nearestTo(how.place(axis, i)), axis.input));
  return e.gather(x, e.vector(indices), axis.axis);
}

Value multiplyWeights(Emitter &e, Value x, const Axis &axis, const Interpolation &how) {
  std::vector<double> weights(size_t(axis.input * axis.output));
  for (int64_t i = 0; i < axis.output; ++i)
    for (const Term &term : how.terms(axis, how.place(axis, i)))
      weights[size_t(clampedTo(term.index, axis.input) * axis.output + i)] += term.weight;
  Type type = e.elementType(x);
  auto matrixType = RankedTensorType::get({axis.input, axis.output}, type);
  Value matrix = type.isF64() ? e.constant(DenseElementsAttr::get(matrixType, ArrayRef<double>(weights)))
                              : e.constant(DenseElementsAttr::get(matrixType, ArrayRef<float>(std::vector<float>(weights.begin(), weights.end()))));
  auto permutation = llvm::to_vector(llvm::seq<int64_t>(0, e.rank(x)));
  std::swap(permutation[size_t(axis.axis)], permutation.back());
  return e.transpose(e.matmul(e.transpose(x, permutation), matrix), permutation);
}

Value resizeAxis(Emitter &e, Value x, const Axis &axis, const Interpolation &how) {
  x = how.mode == "nearest" ? gatherNearest(e, x, axis, how) : multiplyWeights(e, x, axis, how);
  llvm::SmallVector<bool> outside;
  for (int64_t i = 0; i < axis.output; ++i)
    outside.push_back(how.isOutside(axis, how.place(axis, i)));
  if (!llvm::is_contained(outside, true))
    return x;
  Value mask = e.constant(DenseElementsAttr::get(RankedTensorType::get({axis.output}, e.builder.getI1Type()), ArrayRef<bool>(outside)));
  mask = e.expandDims(mask, llvm::to_vector(llvm::seq<int64_t>(1, e.rank(x) - axis.axis)));
  return e.select(mask, e.scalar(e.elementType(x), how.fill), x);
}

/// Reads what the node says; problems are the emitter's.
class ResizeReader {
public:
  explicit ResizeReader(Node &node) : node_(node), e_(node.emit), x_(node.input(0)) {}

  Interpolation interpolation() {
    bool isOld = node_.opset() < 11;
    Interpolation how{node_.text("mode", "nearest"),
                      isOld ? "asymmetric" : node_.text("coordinate_transformation_mode", "half_pixel"),
                      isOld ? "floor" : node_.text("nearest_mode", "round_prefer_floor"),
                      node_.number("cubic_coeff_a", -0.75),
                      node_.number("extrapolation_value", 0),
                      node_.flag("exclude_outside"),
                      node_.flag("antialias")};
    oneOf("mode", how.mode, {"nearest", "linear", "cubic"});
    oneOf("coordinate_transformation_mode", how.coordinates,
          {"half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"});
    oneOf("nearest_mode", how.nearest, {"round_prefer_floor", "round_prefer_ceil", "floor", "ceil"});
    return how;
  }

  /// The axes that change, in order.
  std::vector<Axis> axes(const Interpolation &how) {
    std::vector<int64_t> which = axisNumbers();
    // Upsample 7 has an attribute, operator sets 9 and 10 the second input.
    std::optional<llvm::SmallVector<double>> scales;
    if (node_.opset() < 9 && node_.opType() == "Upsample")
      scales = node_.numbers("scales");
    else if (Value given = node_.input(node_.opset() < 11 ? 1 : 2); given && e_.staticDim(given, 0) != 0)
      scales = known(given, "scales");
    std::vector<Axis> result;
    if (scales && scales->size() != which.size())
      e_.invalid("there are " + std::to_string(scales->size()) + " scales for " + std::to_string(which.size()) + " axes");
    else if (scales)
      for (auto [axis, scale] : llvm::zip(which, *scales))
        addScaled(result, axis, scale);
    else if (Value sizes = node_.opset() < 11 ? Value() : node_.input(3))
      addSized(result, which, sizes);
    else
      e_.invalid("there are neither scales nor sizes");
    if (how.coordinates == "tf_crop_and_resize")
      readRegion(result, which);
    return result;
  }

private:
  void oneOf(llvm::StringRef name, const std::string &value, std::initializer_list<llvm::StringRef> values) {
    if (!llvm::is_contained(values, value))
      e_.invalid("attribute '" + name.str() + "' is '" + value + "'");
  }

  std::optional<llvm::SmallVector<double>> known(Value value, llvm::StringRef what) {
    auto numbers = e_.floats(value);
    if (!numbers)
      e_.unsupported(what.str() + " come from a tensor that is not known when compiling");
    return numbers;
  }

  std::vector<int64_t> axisNumbers() {
    std::vector<int64_t> result;
    if (auto axes = node_.integers("axes"); axes && node_.opset() >= 18)
      for (int64_t axis : *axes)
        result.push_back(e_.axis(axis, e_.rank(x_)));
    else
      for (int64_t i = 0; i < e_.rank(x_); ++i)
        result.push_back(i);
    return result;
  }

  std::optional<int64_t> length(int64_t axis) {
    auto size = e_.staticDim(x_, axis);
    if (!size)
      e_.unsupported("dimension " + std::to_string(axis) + " of " + describeType(e_.analysis, x_) + " is not known when compiling");
    return size;
  }

  void add(std::vector<Axis> &result, int64_t axis, int64_t input, double output, double scale) {
    if (input < 1 || !(output >= 0) || double(input) * std::max(output, 1.0) > double(kMostElements))
      e_.unsupported("dimension " + std::to_string(axis) + " would go from " + std::to_string(input) + " to " + std::to_string(output));
    else
      result.push_back({axis, input, int64_t(output), scale});
  }

  void addScaled(std::vector<Axis> &result, int64_t axis, double scale) {
    bool crops = node_.text("coordinate_transformation_mode", "") == "tf_crop_and_resize";
    if (scale == 1 && !crops)
      return; // whatever its size
    if (!(scale > 0) || !(scale <= double(kMostElements)))
      return e_.invalid("a scale is " + std::to_string(scale));
    if (auto size = length(axis))
      add(result, axis, *size, std::floor(scale * double(*size)), scale);
  }

  void addSized(std::vector<Axis> &result, ArrayRef<int64_t> which, Value sizes) {
    std::string policy = node_.text("keep_aspect_ratio_policy", "stretch");
    oneOf("keep_aspect_ratio_policy", policy, {"stretch", "not_larger", "not_smaller"});
    auto elements = e_.analysis.shapeOf(sizes).elements;
    if (!elements || elements->size() != which.size())
      return e_.unsupported("sizes come from a tensor that is not known when compiling, or are not one for each axis");
    double common = 0;
    for (auto [axis, element] : llvm::zip(which, *elements)) {
      // A batch keeps its size by name.
      if (policy == "stretch" && element == e_.analysis.shapeOf(x_).dims[size_t(axis)])
        continue;
      auto size = length(axis);
      auto output = element.constant();
      if (!output)
        return e_.unsupported("size " + element.str() + " of dimension " + std::to_string(axis) + " is not known when compiling");
      if (!size || *size < 1)
        return;
      double scale = double(*output) / double(*size);
      common = result.empty() ? scale : policy == "not_larger" ? std::min(common, scale) : std::max(common, scale);
      add(result, axis, *size, double(*output), scale);
    }
    if (policy == "stretch")
      return;
    for (Axis axis : std::exchange(result, {}))
      add(result, axis.axis, axis.input, std::floor(common * double(axis.input) + 0.5), common);
  }

  void readRegion(std::vector<Axis> &result, ArrayRef<int64_t> which) {
    auto region = known(node_.input(1), "the region of interest");
    if (region && region->size() != 2 * which.size())
      e_.invalid("the region of interest has " + std::to_string(region->size()) + " numbers for " + std::to_string(which.size()) + " axes");
    else if (region && llvm::any_of(*region, [](double x) { return !(std::abs(x) <= double(kMostElements)); }))
      e_.invalid("the region of interest is no region");
    else if (region)
      for (Axis &axis : result) {
        size_t place = size_t(llvm::find(which, axis.axis) - which.begin());
        axis.start = (*region)[place];
        axis.end = (*region)[which.size() + place];
      }
  }

  Node &node_;
  Emitter &e_;
  Value x_;
};

} // namespace

/// Resize and Upsample.
Status importResize(Node &node) {
  Emitter &e = node.emit;
  if (!node.requireInputs(1))
    return {};
  ResizeReader reader(node);
  Interpolation how = reader.interpolation();
  std::vector<Axis> axes = reader.axes(how);
  Value x = node.input(0);
  Type type = e.elementType(x);
  if (how.mode != "nearest" && !e.isFloat(x))
    return unsupported(kUnsupported, "mode '" + how.mode + "' of " + describeType(e.analysis, x));
  if (how.mode != "nearest")
    x = e.widen(x);
  for (const Axis &axis : axes) {
    bool isSame = std::abs(axis.scale - 1) <= 1e-9 && axis.input == axis.output && axis.start == 0 && axis.end == 1;
    if (!isSame && !e.failed())
      x = resizeAxis(e, x, axis, how);
  }
  node.set(0, e.cast(x, type));
  return {};
}

} // namespace llmopt::onnx
