//===- DeviceCode.h - kernels of a GPU target, and how to launch them -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A GPU target has the section "kernels/<target>", this as JSON in the shape of Triton's launch metadata, and "code/<target>",
// the images one after another, each at a multiple of 64 bytes. The plan names kernels; a launch takes work units and bindings
// from the plan and the rest from here. codegen/CUDA/README.md explains the fields.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_ARTIFACT_DEVICECODE_H
#define LLMOPT_LIB_ARTIFACT_DEVICECODE_H

#include "llmopt/lib/Support/DType.h"
#include "llmopt/lib/Support/Json.h"
#include "llmopt/lib/Support/Status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace llmopt {

class Artifact;

/// A matrix that a kernel reads in boxes of 128 bytes by rows, through a tensor map (128-byte swizzle; outside of the matrix are zeros).
struct DeviceMatrix {
  static constexpr uint32_t kMapBytes = 128;
  DType element = DType::F32;
  uint32_t rowsDim = 0;  ///< the number of rows is the stage's dim of this number, from 1 on; 0: `rows`
  uint64_t rows = 0, columns = 0;
  uint32_t boxRows = 0;
  /// Unless empty: the binding is a weight in panels, and the matrix a copy with rows padded to 16 bytes, which the kernel of this name makes when
  /// the artifact is loaded. That kernel takes panels, copy, rows, columns and elements of a padded row.
  std::string unpack;
  bool operator==(const DeviceMatrix &) const = default;
};

/// What one kernel parameter gets.
struct DeviceParameter {
  enum class Kind : uint8_t {
    Buffer,       ///< device address of the stage's binding `index`
    Dim,          ///< 0: work units; else the stage's dims, from 1 on
    Table,        ///< device address of the step table, whose addresses are the device's too
    Scratch,      ///< device memory, as many bytes as the plan's variant says for every thread of the grid
    ScratchBytes, ///< of one thread
    Constant,     ///< `value`: what is known when compiling
    TensorMap,    ///< the map of binding `index` as `matrix`
  };
  Kind kind = Kind::Buffer;
  uint32_t index = 0;
  uint32_t bytes = 8; ///< 4: a number that the kernel takes in 32 bits; kMapBytes of a TensorMap
  uint64_t value = 0; ///< of a Constant: its bits
  DeviceMatrix matrix = {};
  bool operator==(const DeviceParameter &) const = default;
};

struct DeviceKernel {
  std::string name;           ///< as the plan calls it
  std::string entry = {};     ///< as its module calls it; empty: the same
  uint32_t module = 0;        ///< index into DeviceCode::modules
  uint32_t threads = 0;       ///< of a block
  uint32_t sharedBytes = 0;   ///< dynamic shared memory
  uint32_t unitsPerBlock = 0; ///< the grid is ceil(units / unitsPerBlock) blocks ...
  uint32_t blocksPerSm = 0;   ///< ... and, unless 0, at most this many for each multiprocessor
  bool launchPdl = false;     ///< waits for the kernels in front itself (programmatic dependent launch), so that it may be launched before they are done
  std::vector<DeviceParameter> parameters = {};
  uint32_t registers = 0, spillBytes = 0; ///< as ptxas reports them; 0 where it was not asked
  uint32_t staticSharedBytes = 0;
  // For reports.
  std::string family = {};   ///< "gemv", "printed", ...
  std::string math = "f32";  ///< what is multiplied: f32 without tensor cores; "bf16", "f16", "i8", "e4m3" with them
  uint32_t stages = 1;       ///< tiles of operands under way at a time

  const std::string &entryName() const { return entry.empty() ? name : entry; }
};

/// Draws one weight that the artifact only describes (codegen/CUDA/kernels/draw_weights.cuh); the runtime launches it, no plan does.
inline constexpr const char *kDrawWeightsKernel = "llmopt_draw_weights";

/// One image of the code section.
struct DeviceModule {
  std::string form; ///< "cubin", "ptx" (zero-terminated) or "host" (a shared object for the stand-in driver)
  uint64_t offset = 0, length = 0;
};

struct DeviceCode {
  std::string compiler;     ///< "nvrtc 13.0"
  std::string architecture; ///< "sm_90a"
  std::vector<DeviceModule> modules;
  std::vector<DeviceKernel> kernels;
  const DeviceKernel *find(std::string_view name) const;
};

Json toJson(const DeviceCode &code);
/// One kernel's launch metadata, as toJson has it.
Json launchMetadata(const DeviceKernel &kernel, const std::string &architecture);
/// E0211 where something is missing or does not fit `codeBytes`, the length of the code section.
Result<DeviceCode> deviceCodeFromJson(const Json &json, uint64_t codeBytes, const std::string &context);

/// The checked section "kernels/<target>"; E0202 where the artifact has none.
Result<DeviceCode> readDeviceCode(const Artifact &artifact, const std::string &target);

} // namespace llmopt

#endif // LLMOPT_LIB_ARTIFACT_DEVICECODE_H
