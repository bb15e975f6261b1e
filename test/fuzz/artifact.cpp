//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
// Artifacts: header, table, metadata, plan and the code's ELF file. Checksums would stop every mutant, so they are made
// right again first; nothing of the code is run.

#include "ScratchFile.h"
#include "lib/Artifact/Format.h"
#include "llmopt/lib/Artifact/Artifact.h"
#include "llmopt/lib/Artifact/DrawnWeights.h"
#include "llmopt/lib/Artifact/ModelInfo.h"
#include "llmopt/lib/Artifact/Plan.h"
#include "llmopt/lib/Artifact/RepackedWeights.h"
#include "llmopt/lib/Support/Hash.h"
#include "runtime/core/ElfChecker.h"

#include <cstring>

using namespace llmopt;
using artifact::Header;

static std::string_view textOf(std::span<const std::byte> bytes) { return {reinterpret_cast<const char *>(bytes.data()), bytes.size()}; }

/// With the header's own fields and the section's hashes as they must be, wherever that can be told.
static std::string sealed(std::string bytes) {
  if (bytes.size() < sizeof(Header))
    return bytes;
  Header header;
  std::memcpy(&header, bytes.data(), sizeof header);
  header.fileLength = bytes.size();
  size_t room = std::min<size_t>(bytes.size() - sizeof header, kTableRoom - sizeof header);
  header.tableLength = std::min<uint64_t>(header.tableLength, room);
  std::string_view table(bytes.data() + sizeof header, header.tableLength);
  if (Result<Json> json = Json::parse(table, ""); json && json->find("sections") && json->find("sections")->isArray())
    for (const Json &section : json->find("sections")->asArray()) {
      const Json *hash = section.find("hash"), *offset = section.find("offset"), *length = section.find("length");
      if (!hash || !hash->isString() || hash->asString().size() != 16 || !offset || !offset->isInt() || !length || !length->isInt())
        continue;
      uint64_t at = uint64_t(offset->asInt()), count = uint64_t(length->asInt());
      size_t place = bytes.find(hash->asString());
      if (at <= bytes.size() && count <= bytes.size() - at && place < sizeof header + header.tableLength)
        bytes.replace(place, 16, hashHex(hashString(std::string_view(bytes).substr(at, count))));
    }
  header.tableHash = hashString(std::string_view(bytes).substr(sizeof header, header.tableLength));
  header.headerHash = hashBytes(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, headerHash)));
  std::memcpy(bytes.data(), &header, sizeof header);
  return bytes;
}

static void open(const std::string &bytes) {
  Result<Artifact> artifact = Artifact::open(fuzz::writeScratch("x.llmopt", bytes));
  if (!artifact)
    return;
  (void)artifact->verifyAll();
  (void)readModelInfo(artifact->model(), "fuzz");
  (void)readDrawnWeights(*artifact);
  (void)readRepackedWeights(*artifact);
  for (const Section &section : artifact->sections()) {
    std::span<const std::byte> content = *artifact->section(section.name);
    if (section.name.starts_with("plan/")) {
      if (Result<Json> json = Json::parse(textOf(content), "fuzz"))
        (void)plan::fromJson(*json, "fuzz");
    } else if (section.name.starts_with("code/")) {
      (void)checkElf(content, "fuzz");
    }
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::string bytes(reinterpret_cast<const char *>(data), size);
  (void)checkElf(std::as_bytes(std::span(bytes)), "fuzz");
  open(bytes);
  open(sealed(bytes));
  return 0;
}
