//===- UserCache.h - where a user's cached files lie ------------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_USERCACHE_H
#define LLMOPT_LIB_SUPPORT_USERCACHE_H

#include <string>

namespace llmopt {

/// `llmopt` in $XDG_CACHE_HOME (XDG Base Directory Specification), else in ~/.cache; empty without a home. It may not exist yet.
std::string userCacheFolder();

} // namespace llmopt

#endif // LLMOPT_LIB_SUPPORT_USERCACHE_H
