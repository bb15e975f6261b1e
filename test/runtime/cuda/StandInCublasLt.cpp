//===- StandInCublasLt.cpp - the part of cuBLASLt that gpu-check calls, on the CPU -===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LLMOPT_CUBLASLT names it in tests, beside the stand-in driver, whose device memory is the host's. It computes products, in f32, and refuses what the
// library would: objects that were not made, sizes that do not fit together, memory that is none. Numbers are cublasLt.h's.
//
//===----------------------------------------------------------------------===//
#include <cstdint>
#include <cstring>
#include <initializer_list>

namespace {

enum Status { kSuccess = 0, kInvalidValue = 7, kNotSupported = 15 };
enum : uint64_t { kHandle = 0x4c74680001, kDescription, kLayout, kPreference, kAlgorithm };

struct Handle {
  uint64_t magic = kHandle;
};
struct Description {
  uint64_t magic = kDescription;
  int compute, scale, transposed[2] = {0, 0};
};
struct Layout {
  uint64_t magic = kLayout;
  int type;
  uint64_t rows, columns; ///< column by column
  int64_t leading;
};
struct Preference {
  uint64_t magic = kPreference;
  uint64_t workspace = 0;
};
/// cublasLtMatmulHeuristicResult_t; the algorithm's words are the library's own.
struct Heuristic {
  uint64_t algorithm[8];
  uint64_t workspace;
  int status;
  float waves;
  int reserved[4];
};
static_assert(sizeof(Heuristic) == 96);

template <class T>
bool isMade(const T *object) {
  return object && object->magic == T().magic;
}
template <class T>
int make(T **to, T object) {
  if (!to)
    return kInvalidValue;
  *to = new T(object); // as long as the process
  return kSuccess;
}

float bf16At(const void *matrix, int64_t at) {
  uint32_t bits = uint32_t(static_cast<const uint16_t *>(matrix)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
uint16_t toBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/// a^T b, as it is asked for here: of bf16, sums in f32.
bool fits(const Description *description, const Layout *a, const Layout *b, const Layout *c, const Layout *d) {
  constexpr int kF32 = 0, kBf16 = 14, kCompute32 = 68;
  for (const Layout *layout : {a, b, c, d})
    if (!isMade(layout) || layout->type != kBf16 || layout->leading < int64_t(layout->rows))
      return false;
  return isMade(description) && description->compute == kCompute32 && description->scale == kF32 && description->transposed[0] == 1 && description->transposed[1] == 0 && a->rows == b->rows &&
         a->columns == d->rows && b->columns == d->columns && c->rows == d->rows && c->columns == d->columns;
}

} // namespace

#pragma GCC visibility push(default)
extern "C" {

int cublasLtCreate(Handle **handle) { return make(handle, Handle()); }
int cublasLtMatmulDescCreate(Description **to, int compute, int scale) { return make(to, Description{.compute = compute, .scale = scale}); }
int cublasLtMatmulDescSetAttribute(Description *description, int attribute, const void *value, size_t bytes) {
  if (!isMade(description) || attribute < 3 || attribute > 4 || bytes != sizeof(int))
    return kInvalidValue;
  std::memcpy(&description->transposed[attribute - 3], value, bytes);
  return kSuccess;
}
int cublasLtMatrixLayoutCreate(Layout **to, int type, uint64_t rows, uint64_t columns, int64_t leading) {
  return make(to, Layout{.type = type, .rows = rows, .columns = columns, .leading = leading});
}
int cublasLtMatmulPreferenceCreate(Preference **to) { return make(to, Preference()); }
int cublasLtMatmulPreferenceSetAttribute(Preference *preference, int attribute, const void *value, size_t bytes) {
  if (!isMade(preference) || attribute != 1 || bytes != sizeof(uint64_t))
    return kInvalidValue;
  std::memcpy(&preference->workspace, value, bytes);
  return kSuccess;
}
int cublasLtMatmulAlgoGetHeuristic(Handle *handle, Description *description, Layout *a, Layout *b, Layout *c, Layout *d, Preference *preference, int wanted, Heuristic *results, int *found) {
  if (!isMade(handle) || !isMade(preference) || wanted < 1 || !results || !found)
    return kInvalidValue;
  *found = 0;
  if (!fits(description, a, b, c, d))
    return kNotSupported;
  results[0] = {{kAlgorithm}, preference->workspace, kSuccess, 1, {}};
  *found = 1;
  return kSuccess;
}
int cublasLtMatmul(Handle *handle, Description *description, const float *alpha, const void *a, Layout *forA, const void *b, Layout *forB, const float *beta, const void *c, Layout *forC, void *d,
                   Layout *forD, const uint64_t *algorithm, void *workspace, size_t workspaceBytes, void *stream) {
  if (!isMade(handle) || !fits(description, forA, forB, forC, forD) || !alpha || !beta || !a || !b || !c || !d || !algorithm || algorithm[0] != kAlgorithm || (workspaceBytes && !workspace) || !stream)
    return kInvalidValue;
  for (uint64_t column = 0; column < forD->columns; ++column)
    for (uint64_t row = 0; row < forD->rows; ++row) {
      float sum = 0;
      for (uint64_t k = 0; k < forA->rows; ++k)
        sum += bf16At(a, int64_t(row) * forA->leading + int64_t(k)) * bf16At(b, int64_t(column) * forB->leading + int64_t(k));
      float before = *beta == 0 ? 0 : *beta * bf16At(c, int64_t(column) * forC->leading + int64_t(row));
      static_cast<uint16_t *>(d)[int64_t(column) * forD->leading + int64_t(row)] = toBf16(*alpha * sum + before);
    }
  return kSuccess;
}
}
#pragma GCC visibility pop
