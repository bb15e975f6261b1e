//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Support/Status.h"

using namespace llmopt;

std::string Error::str() const {
  std::string text = "error[" + code + "]: " + message;
  if (!context.empty())
    text += "\n  --> " + context;
  for (const std::string &note : notes)
    text += "\n   = " + note;
  return text;
}

static Status make(ErrorKind kind, std::string_view code, std::string message, std::string context) {
  return Error{std::string(code), kind, std::move(message), std::move(context), {}};
}

Status llmopt::badInput(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::BadInput, code, std::move(message), std::move(context));
}
Status llmopt::usageError(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::Usage, code, std::move(message), std::move(context));
}
Status llmopt::unsupported(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::Unsupported, code, std::move(message), std::move(context));
}
Status llmopt::limitExceeded(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::Limit, code, std::move(message), std::move(context));
}
Status llmopt::verificationFailed(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::Verification, code, std::move(message), std::move(context));
}
Status llmopt::internalError(std::string_view code, std::string message, std::string context) {
  return make(ErrorKind::Internal, code, std::move(message), std::move(context));
}
