//===- ExportKernels.cpp - kernels as files for other loaders -------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/ExportKernels.h"

#include "llmopt/lib/Support/Hash.h"
#include "llmopt/lib/Target/PortableCode.h"

#include <algorithm>
#include <filesystem>

using namespace llmopt;
namespace fs = std::filesystem;

/// What Triton's launcher looks at besides.
static Json tritonMetadata(const DeviceKernel &kernel, const DeviceCode &code, std::string_view image) {
  Json json = launchMetadata(kernel, code.architecture);
  json.set("name", kernel.entryName()).set("hash", hashHex(hashString(image))).set("warp_size", 32).set("tmem_size", 0);
  json.set("global_scratch_align", 1).set("profile_scratch_size", 0).set("profile_scratch_align", 1).set("launch_cooperative_grid", false);
  return json.set("maxnreg", nullptr).set("ptx_version", nullptr).set("tensordesc_meta", Json::Array{});
}

static Status writeFile(const std::string &path, std::string_view text) {
  LLMOPT_ASSIGN(AtomicFile file, AtomicFile::create(path));
  LLMOPT_RETURN_IF_ERROR(file.write(text));
  return file.commit();
}

Result<size_t> llmopt::exportKernels(const Artifact &artifact, const std::string &folder) {
  std::vector<std::string> targets;
  for (const TargetRequirement &target : artifact.targets())
    if (artifact.section("kernels/" + target.name))
      targets.push_back(target.name);
  if (targets.size() > 1) // the same kernels for GPUs to come
    std::erase(targets, kPortableGpuTarget);
  if (targets.empty())
    return unsupported("E0214", "the artifact has no code for a GPU; compile it with --target sm_90", artifact.path());
  size_t count = 0;
  for (const std::string &target : targets) {
    LLMOPT_ASSIGN(DeviceCode code, readDeviceCode(artifact, target));
    std::string place = targets.size() == 1 ? folder : folder + "/" + target;
    std::error_code error;
    fs::create_directories(place, error);
    std::span<const std::byte> images = *artifact.section("code/" + target);
    for (const DeviceKernel &kernel : code.kernels) {
      if (kernel.name.find_first_of("/\\") != kernel.name.npos || kernel.name.starts_with("."))
        return badInput("E0211", "the launch metadata is damaged: a kernel is called '" + kernel.name + "'", artifact.path());
      const DeviceModule &module = code.modules[kernel.module];
      std::string_view image(reinterpret_cast<const char *>(images.data()) + module.offset, module.length);
      if (module.form == "ptx")
        image = image.substr(0, image.find('\0'));
      std::string base = place + "/" + kernel.name;
      LLMOPT_RETURN_IF_ERROR(writeFile(base + (module.form == "host" ? ".so" : "." + module.form), image));
      LLMOPT_RETURN_IF_ERROR(writeFile(base + ".json", tritonMetadata(kernel, code, image).str(1) + "\n"));
      ++count;
    }
  }
  return count;
}
