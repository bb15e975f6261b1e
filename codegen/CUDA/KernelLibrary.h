//===- KernelLibrary.h - kernels made elsewhere -----------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A folder of kernels that Triton (or llmopt-inspect --export-kernels) compiled ahead of time, KERNEL.cubin or KERNEL.ptx beside
// KERNEL.json, and kernels.json, which says which operation of the llm dialect each implements. docs/KernelLibraries.md has its format.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_KERNELLIBRARY_H
#define LLMOPT_CODEGEN_CUDA_KERNELLIBRARY_H

#include "codegen/CUDA/LowerKernel.h"

#include <map>
#include <span>

namespace llmopt::cuda {

class KernelLibrary {
public:
  /// E0985 for what the manifests or launch metadata say wrongly, E0213 and E0987 for images that are not what they say.
  static Result<KernelLibrary> open(std::span<const std::string> folders);
  /// Operations that are to have kernels of their own.
  std::vector<std::string> operations() const;
  /// The first kernel that fits a region of one operation; a remark says which, or why none does.
  std::optional<LoweredDeviceKernel> lower(exec::KernelOp kernel, ShapeAnalysis &shapes, const Target &target, const std::string &symbol) const;

  /// What a parameter gets.
  struct Argument {
    enum class Kind { Operand, Result, Size, Attribute, Value };
    Kind kind = Kind::Value;
    uint32_t index = 0; ///< of an operand or result
    std::string name;   ///< of a size or attribute
    std::string type;   ///< "ptr", "i32", "i64", "f32"
    double value = 0;
    uint32_t bytes() const { return type == "i32" || type == "f32" ? 4 : 8; }
  };
  /// Bounds of a size that the kernel was compiled for.
  struct Bound {
    std::string size; ///< "rows", "columns", "elements"
    int64_t least = 1, most = INT64_MAX, multipleOf = 1;
  };
  struct Implementation {
    DeviceKernel kernel; ///< its parameters have sizes only
    std::string form, image, origin, operation;
    int capability = 0;
    std::vector<std::string> types; ///< of operands, then of results
    std::map<std::string, double> attributes;
    std::vector<Bound> bounds;
    std::vector<Argument> arguments;
    std::string units; ///< the size that the grid covers
  };

private:
  std::vector<Implementation> implementations_;
};

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_KERNELLIBRARY_H
