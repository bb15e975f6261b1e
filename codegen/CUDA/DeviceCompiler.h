//===- DeviceCompiler.h - CUDA C++ to images --------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One interface over the compilers a user may have: NVRTC (loaded when asked for, from a toolkit or from PyPI's nvidia-cuda-nvrtc),
// clang with ptxas, nvcc, and a host C++ compiler for emulation. None is needed to build llmopt.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_DEVICECOMPILER_H
#define LLMOPT_CODEGEN_CUDA_DEVICECOMPILER_H

#include "codegen/CUDA/Printer.h"
#include "llmopt/lib/Target/Target.h"

#include <memory>
#include <span>

namespace llmopt::cuda {

struct CompiledUnit {
  std::string form;  ///< as DeviceModule::form
  std::string image;
  std::string ptx;   ///< on the way, where the compiler shows it
  std::string log;   ///< what the compiler and ptxas said
};

class DeviceCompiler {
public:
  virtual ~DeviceCompiler() = default;
  /// Name and version: what results depend on besides source and target.
  virtual std::string id() const = 0;
  /// Whether it takes CUDA C++; kernels are then printed, else emitted as PTX.
  virtual bool takesText() const { return true; }
  /// `ptx`: stop there. May be called from several threads.
  virtual Result<CompiledUnit> compile(const KernelUnit &unit, const Target &target, bool ptx) const = 0;
};

/// "auto" (the first one installed of nvrtc, clang, nvcc; else llvm), "nvrtc", "clang", "nvcc", "llvm" or "emulate". E0982 says what was looked for.
Result<std::unique_ptr<DeviceCompiler>> findDeviceCompiler(std::string_view name);

struct UnitOptions {
  bool ptx = false;           ///< stop there
  unsigned jobs = 0;          ///< threads; 0: all processors
  std::string dumpFolder;     ///< see UnitFiles.h; empty: none
  std::string overrideFolder; ///< the same
};

/// Compiles units through a cache of images by hash of source, options and compiler ($LLMOPT_CACHE_DIR, else the user's cache folder; "off" for
/// none), checks what ptxas reports (E0984) and that each image has its kernels with the parameters they are launched with (E0987). Fills
/// in the units' registers and spills. Results are in the order of the units.
Result<std::vector<CompiledUnit>> compileUnits(const DeviceCompiler &compiler, std::span<KernelUnit> units, const Target &target,
                                               const UnitOptions &options);

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_DEVICECOMPILER_H
