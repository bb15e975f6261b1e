//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Ptxas.h"

#include "codegen/CUDA/Programs.h"

#include <cstdlib>

using namespace llmopt;
using namespace llmopt::cuda;

Ptxas::Ptxas(std::string program) : program_(std::move(program)), id_(versionOf(program_)) {}

std::optional<Ptxas> Ptxas::find() {
  std::string program = findProgram("LLMOPT_PTXAS", {"ptxas"});
  return program.empty() ? std::nullopt : std::optional<Ptxas>(Ptxas(program));
}

std::optional<Ptxas> Ptxas::chosen() {
  const char *program = std::getenv("LLMOPT_PTXAS");
  return program && *program ? find() : std::nullopt;
}

Result<std::string> Ptxas::assemble(std::string_view ptx, const Target &target, std::string &log) const {
  WorkFolder folder;
  LLMOPT_RETURN_IF_ERROR(folder.create());
  LLMOPT_RETURN_IF_ERROR(folder.write("unit.ptx", ptx));
  LLMOPT_RETURN_IF_ERROR(folder.run(program_, {"-arch=" + target.gpuArchitecture, "-v", "-O3", folder.file("unit.ptx"), "-o", folder.file("unit.cubin")}, log));
  return folder.read("unit.cubin");
}
