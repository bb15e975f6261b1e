//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/Programs.h"

#include "codegen/CUDA/KernelSources.h"
#include "llmopt/lib/Support/ScratchFolder.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Program.h"

#include <cstdlib>
#include <optional>

using namespace llmopt;
using namespace llmopt::cuda;
using llvm::StringRef;

WorkFolder::~WorkFolder() {
  if (!path_.empty())
    llvm::sys::fs::remove_directories(path_);
}

Status WorkFolder::create() {
  if (std::error_code error = llvm::sys::fs::createUniqueDirectory("llmopt-kernels", path_))
    return unsupported("E0983", "no temporary folder for the CUDA compiler: " + error.message());
  return {};
}

Status WorkFolder::create(std::string_view unit) {
  LLMOPT_RETURN_IF_ERROR(create());
  for (const KernelSource &source : kernelSources())
    LLMOPT_RETURN_IF_ERROR(write(source.name, source.text));
  return write("unit.cu", unit);
}

Status WorkFolder::write(std::string_view name, std::string_view text) const {
  return writeScratchFile(file(name), text);
}

std::string WorkFolder::read(StringRef name) const {
  auto buffer = llvm::MemoryBuffer::getFile(file(name), /*IsText=*/false, /*RequiresNullTerminator=*/false);
  return buffer ? (*buffer)->getBuffer().str() : std::string();
}

Status WorkFolder::run(const std::string &program, const std::vector<std::string> &arguments, std::string &log) const {
  std::vector<StringRef> words = {program};
  for (const std::string &argument : arguments)
    words.push_back(argument);
  std::string output = file("log"), failure;
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(output), StringRef(output)};
  int code = llvm::sys::ExecuteAndWait(program, words, std::nullopt, redirects, /*SecondsToWait=*/600, 0, &failure);
  std::string said = read("log");
  log += said;
  if (code == 0)
    return {};
  return internalError("E0983", program + " failed (" + std::to_string(code) + ")" + (failure.empty() ? "" : ": " + failure) + "\n" + said);
}

std::string cuda::findProgram(const char *variable, std::initializer_list<const char *> names) {
  if (const char *chosen = variable ? std::getenv(variable) : nullptr; chosen && *chosen)
    return chosen;
  std::string home = std::getenv("CUDA_HOME") ? std::string(std::getenv("CUDA_HOME")) + "/bin" : "/usr/local/cuda/bin";
  for (const char *name : names) {
    if (auto found = llvm::sys::findProgramByName(name))
      return *found;
    if (auto found = llvm::sys::findProgramByName(name, {home}))
      return *found;
  }
  return {};
}

std::string cuda::versionOf(const std::string &program) {
  WorkFolder folder;
  std::string log;
  if (!folder.create() || !folder.run(program, {"--version"}, log))
    return program;
  llvm::SmallVector<StringRef> lines;
  StringRef(log).split(lines, '\n');
  for (const char *word : {"release ", "version ", " ("})
    for (StringRef line : lines)
      if (line.contains(word))
        return line.trim().str();
  return program;
}
