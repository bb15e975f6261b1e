//===- LinkImage.cpp - objects to the artifact's code section, by LLD -----===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/codegen/CPU.h"
#include "llmopt/lib/Support/File.h"
#include "llmopt/lib/Support/ScratchFolder.h"

#include "lld/Common/Driver.h"
#include "llvm/Support/raw_ostream.h"

#include <mutex>

LLD_HAS_DRIVER(elf)

using namespace llmopt;

Result<std::string> cpu::linkImage(const std::vector<std::string> &objects) {
  LLMOPT_ASSIGN(ScratchFolder folder, ScratchFolder::make("link"));
  std::string output = folder / "image.so";
  // Read-only data and code only, page-aligned segments whose file offsets equal their addresses modulo the page size: the
  // runtime maps the image straight from the artifact. Undefined symbols are errors.
  std::vector<std::string> arguments = {"ld.lld", "-shared", "--no-undefined", "-z", "noexecstack", "-z", "separate-code",
                                        "-z", "max-page-size=4096", "--hash-style=gnu", "--build-id=none",
                                        "-o", output};
  for (size_t i = 0; i < objects.size(); ++i) {
    arguments.push_back(folder / (std::to_string(i) + ".o"));
    LLMOPT_RETURN_IF_ERROR(writeScratchFile(arguments.back(), objects[i]));
  }
  std::vector<const char *> pointers;
  for (const std::string &argument : arguments)
    pointers.push_back(argument.c_str());
  std::string log;
  llvm::raw_string_ostream stream(log);
  static std::mutex mutex; // LLD keeps state in globals while it runs
  std::lock_guard lock(mutex);
  lld::Result result = lld::lldMain(pointers, stream, stream, {{lld::Gnu, &lld::elf::link}});
  if (result.retCode != 0)
    return internalError("E0906", "the kernels could not be linked: " + log);
  return readTextFile(output);
}
