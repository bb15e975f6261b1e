//===- ScratchFolder.h - a folder that goes when its object does -*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_SCRATCHFOLDER_H
#define LLMOPT_LIB_SUPPORT_SCRATCHFOLDER_H

#include "llmopt/lib/Support/Status.h"

#include <string>
#include <string_view>

namespace llmopt {

/// TMPDIR, or /tmp. Whether it is there, and can be written to, who makes a file in it will see.
std::string temporaryFolder();

/// A file that nobody else sees and that need not survive: neither synced nor renamed into place. E0905.
Status writeScratchFile(const std::string &path, std::string_view bytes);

/// A new folder under the system's one for temporary files; it is removed with all that lies in it.
class ScratchFolder {
public:
  /// `purpose` is part of its name. E0104, with its path, if there can be none.
  static Result<ScratchFolder> make(const std::string &purpose);
  ScratchFolder(ScratchFolder &&other) noexcept;
  ScratchFolder &operator=(ScratchFolder &&) = delete;
  ~ScratchFolder();

  const std::string &path() const { return path_; }
  std::string operator/(const std::string &name) const { return path_ + "/" + name; }

private:
  explicit ScratchFolder(std::string path);

  std::string path_;
};

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_SCRATCHFOLDER_H
