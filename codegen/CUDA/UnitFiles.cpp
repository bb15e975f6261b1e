//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "codegen/CUDA/UnitFiles.h"

#include "llmopt/lib/Support/File.h"

#include <filesystem>

using namespace llmopt;
using namespace llmopt::cuda;
namespace fs = std::filesystem;

/// Ends of file names, the latest stage first, and the forms of units they hold.
static constexpr std::pair<const char *, const char *> kStages[] = {{".cubin", "cubin"}, {".ptx", "ptx"}, {".cu", "cuda"}};

static Status writeFile(const std::string &path, std::string_view text) {
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(text));
  return file.commit();
}

Status cuda::dumpUnit(const std::string &folder, const KernelUnit &unit, const CompiledUnit &compiled) {
  std::error_code error;
  fs::create_directories(folder, error);
  std::string base = folder + "/" + unit.name();
  if (unit.form == "cuda")
    LLMOPT_RETURN_IF_ERROR(writeFile(base + ".cu", unit.source));
  if (!compiled.ptx.empty())
    LLMOPT_RETURN_IF_ERROR(writeFile(base + ".ptx", compiled.ptx));
  if (compiled.form != "ptx")
    LLMOPT_RETURN_IF_ERROR(writeFile(base + (compiled.form == "host" ? ".so" : "." + compiled.form), compiled.image));
  return writeFile(base + ".log", compiled.log);
}

Result<UnitOverrides> UnitOverrides::open(const std::string &folder) {
  UnitOverrides overrides;
  overrides.folder_ = folder;
  if (folder.empty())
    return overrides;
  std::error_code error;
  for (const fs::directory_entry &file : fs::directory_iterator(folder, error))
    for (auto [ending, form] : kStages)
      if (file.path().extension() == ending)
        overrides.files_.insert(file.path().filename().string());
  if (error)
    return badInput("E0986", "--kernel-override: " + error.message(), folder);
  if (overrides.files_.empty())
    return badInput("E0986", "--kernel-override names a folder without a .cu, .ptx or .cubin file", folder);
  return overrides;
}

Status UnitOverrides::apply(KernelUnit &unit) {
  for (auto [ending, form] : kStages) {
    std::string name = unit.name() + ending;
    if (!files_.count(name))
      continue;
    LLMOPT_ASSIGN(MappedFile file, MappedFile::openBeneath(folder_, name));
    unit.form = form;
    unit.source = std::string(file.text());
    unit.origin = folder_ + "/" + name;
    for (auto [other, otherForm] : kStages)
      used_.insert(unit.name() + other);
    return {};
  }
  return {};
}

Status UnitOverrides::checkAllUsed() const {
  for (const std::string &file : files_)
    if (!used_.count(file))
      return badInput("E0986", "--kernel-override: no unit of this compilation has the name of '" + file + "'; --dump-dir writes them", folder_);
  return {};
}
