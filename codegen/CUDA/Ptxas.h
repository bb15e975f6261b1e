//===- Ptxas.h - PTX to cubin -----------------------------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_CODEGEN_CUDA_PTXAS_H
#define LLMOPT_CODEGEN_CUDA_PTXAS_H

#include "llmopt/lib/Support/Status.h"
#include "llmopt/lib/Target/Target.h"

#include <optional>

namespace llmopt::cuda {

/// NVIDIA's assembler as a program.
class Ptxas {
public:
  /// $LLMOPT_PTXAS, the path, $CUDA_HOME/bin, /usr/local/cuda/bin.
  static std::optional<Ptxas> find();
  /// The one that $LLMOPT_PTXAS names, which then assembles whatever compiler made the PTX.
  static std::optional<Ptxas> chosen();
  /// Its version, and what $LLMOPT_PTXAS says.
  const std::string &id() const { return id_; }
  /// E0983 with what ptxas says; its report is appended to `log`.
  Result<std::string> assemble(std::string_view ptx, const Target &target, std::string &log) const;

private:
  explicit Ptxas(std::string program);
  std::string program_, id_;
};

} // namespace llmopt::cuda

#endif // LLMOPT_CODEGEN_CUDA_PTXAS_H
