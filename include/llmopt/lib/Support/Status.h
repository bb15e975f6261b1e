//===- Status.h - how every call that can fail says so ----------*- C++ -*-===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// `Status` is success or one error; `Result<T>` is a value or one error. Nothing in llmopt throws across a
// function boundary. An error has a stable code ("E0103"), a kind that decides a program's exit status, one
// sentence that says what was found, what was expected and what to do, and the place it is about.
//
//===----------------------------------------------------------------------===//
#ifndef LLMOPT_LIB_SUPPORT_STATUS_H
#define LLMOPT_LIB_SUPPORT_STATUS_H

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llmopt {

/// What kind of failure, as the exit status of a tool that stops on it.
enum class ErrorKind : int {
  BadInput = 1,     ///< a file or value is damaged or contradicts itself
  Usage = 2,        ///< wrong flags or arguments
  Unsupported = 3,  ///< understood, but llmopt cannot do it; or not on this machine
  Limit = 4,        ///< a stated resource limit would be passed
  Verification = 5, ///< checksum, accuracy or expectation not met
  Internal = 70,    ///< a defect of llmopt
};

struct Error {
  std::string code; ///< stable, "E" and four digits; docs/errors.md lists them
  ErrorKind kind = ErrorKind::Internal;
  std::string message;            ///< one sentence
  std::string context;            ///< file, node or tensor: "model.onnx, node #412 '/layers.3/attn'"
  std::vector<std::string> notes; ///< further facts and hints, one line each

  /// "error[E0103]: message\n  --> context\n   = note: ..."
  std::string str() const;
};

class [[nodiscard]] Status {
public:
  Status() = default;
  Status(Error error) : error_(std::make_unique<Error>(std::move(error))) {}
  Status(Status &&) = default;
  Status &operator=(Status &&) = default;
  Status(const Status &other) : error_(other.error_ ? std::make_unique<Error>(*other.error_) : nullptr) {}
  Status &operator=(const Status &other) {
    error_ = other.error_ ? std::make_unique<Error>(*other.error_) : nullptr;
    return *this;
  }

  bool ok() const { return !error_; }
  explicit operator bool() const { return ok(); } ///< true means success
  const Error &error() const { return *error_; }

private:
  std::unique_ptr<Error> error_;
};

/// A value or an error. `if (!result) return result.status();`
template <typename T>
class [[nodiscard]] Result {
public:
  Result(T value) : value_(std::move(value)) {}
  Result(Status status) : status_(std::move(status)) {}
  Result(Error error) : status_(std::move(error)) {}

  bool ok() const { return value_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Status &status() const { return status_; }
  const Error &error() const { return status_.error(); }
  T &operator*() { return *value_; }
  const T &operator*() const { return *value_; }
  T *operator->() { return &*value_; }
  const T *operator->() const { return &*value_; }
  T take() { return std::move(*value_); }

private:
  std::optional<T> value_;
  Status status_;
};

// Makers, one per kind: `return badInput("E0103", "file is empty (0 bytes)", path);`
Status badInput(std::string_view code, std::string message, std::string context = {});
Status usageError(std::string_view code, std::string message, std::string context = {});
Status unsupported(std::string_view code, std::string message, std::string context = {});
Status limitExceeded(std::string_view code, std::string message, std::string context = {});
Status verificationFailed(std::string_view code, std::string message, std::string context = {});
Status internalError(std::string_view code, std::string message, std::string context = {});

} // namespace llmopt

/// Leaves the calling function with the error of `expr`, if there is one.
#define LLMOPT_RETURN_IF_ERROR(expr)                                                                                   \
  do {                                                                                                                 \
    if (::llmopt::Status llmoptStatus = (expr); !llmoptStatus.ok())                                                    \
      return llmoptStatus;                                                                                             \
  } while (false)

#define LLMOPT_CONCAT_(a, b) a##b
#define LLMOPT_CONCAT(a, b) LLMOPT_CONCAT_(a, b)
/// `LLMOPT_ASSIGN(auto file, MappedFile::open(path));`
#define LLMOPT_ASSIGN(decl, expr)                                                                                      \
  auto LLMOPT_CONCAT(llmoptResult_, __LINE__) = (expr);                                                                \
  if (!LLMOPT_CONCAT(llmoptResult_, __LINE__).ok())                                                                    \
    return LLMOPT_CONCAT(llmoptResult_, __LINE__).status();                                                            \
  decl = LLMOPT_CONCAT(llmoptResult_, __LINE__).take()

#endif // LLMOPT_LIB_SUPPORT_STATUS_H
