//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/UserCache.h"

#include <cstdlib>

std::string llmopt::userCacheFolder() {
  // The specification has relative paths ignored.
  if (const char *cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::string(cache) + "/llmopt";
  const char *home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/llmopt" : std::string();
}
