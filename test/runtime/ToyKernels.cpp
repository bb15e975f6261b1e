//===----------------------------------------------------------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Kernels of a toy model, as the compiler would make them: no libraries, no relocations. Numbers are small integers in
// f32, so that every order of summation gives the same bits. ToyModel.cpp computes the same without a cache.
//
//===----------------------------------------------------------------------===//
#include "llmopt/lib/Artifact/KernelABI.h"

using namespace llmopt;

#define KERNEL(name)                                                                                                   \
  extern "C" __attribute__((visibility("default"))) void name(const KernelArgs *args, const StepTable *table,          \
                                                              uint32_t part, uint32_t parts, void *scratch)

namespace {

struct Range {
  int64_t begin, end;
};
Range share(const KernelArgs *args, uint32_t part, uint32_t parts) {
  int64_t units = args->dims[0];
  return {units * part / parts, units * (part + 1) / parts};
}

template <typename T>
T *buffer(const KernelArgs *args, int index) {
  return static_cast<T *>(args->buffers[index]);
}

float modulo(float value, float divisor) { return value - divisor * float(int64_t(value / divisor)); }

/// Key and value of a token; a block holds 64 keys and then 64 values.
struct Entry {
  float *key, *value;
};
Entry entryAt(float *state, const int32_t *blocks, uint32_t position) {
  float *block = state + int64_t(blocks[position / 64]) * 128;
  return {block + position % 64, block + 64 + position % 64};
}

/// Order matters, so that a mixed-up block table is seen.
float attend(float *state, const int32_t *blocks, uint32_t count) {
  float sum = 0;
  for (uint32_t j = 0; j < count; ++j) {
    Entry entry = entryAt(state, blocks, j);
    sum = modulo(sum + float(j % 5 + 1) * *entry.key + *entry.value, 1009);
  }
  return sum;
}

void append(const KernelArgs *args, const StepTable *table, Range range, int group) {
  const float *x = buffer<const float>(args, 0);
  float *state = buffer<float>(args, 1);
  for (int64_t t = range.begin; t < range.end; ++t) {
    const SequenceRow &row = table->rows[group][table->tokenSequence[t]];
    uint32_t position = (group ? 0 : row.past) + uint32_t(t) - row.first;
    Entry entry = entryAt(state, table->blocks[group] + row.table, position);
    *entry.key = x[t];
    *entry.value = modulo(x[t] * x[t], 101);
  }
}

} // namespace

/// c = a + b
KERNEL(toy_add) {
  const float *a = buffer<const float>(args, 0), *b = buffer<const float>(args, 1);
  float *c = buffer<float>(args, 2);
  Range range = share(args, part, parts);
  for (int64_t i = range.begin * 16; i < range.end * 16 && i < args->dims[1]; ++i)
    c[i] = a[i] + b[i];
}

/// d = 2 c, through the thread's scratch memory
KERNEL(toy_double) {
  const float *c = buffer<const float>(args, 0);
  float *d = buffer<float>(args, 1), *own = static_cast<float *>(scratch);
  Range range = share(args, part, parts);
  for (int64_t i = range.begin * 16; i < range.end * 16 && i < args->dims[1]; ++i) {
    own[i % 16] = c[i];
    d[i] = own[i % 16] + own[i % 16];
  }
}

KERNEL(toy_embed) {
  const int32_t *ids = buffer<const int32_t>(args, 0), *positions = buffer<const int32_t>(args, 1);
  const float *weight = buffer<const float>(args, 2);
  float *x = buffer<float>(args, 3);
  Range range = share(args, part, parts);
  for (int64_t t = range.begin; t < range.end; ++t)
    x[t] = weight[ids[t]] + float(positions[t] % 7);
}

KERNEL(toy_append) { append(args, table, share(args, part, parts), 0); }
KERNEL(toy_append_encoder) { append(args, table, share(args, part, parts), 1); }

/// y[t] = attention over the sequence up to t, plus x[t]
KERNEL(toy_attend) {
  const float *x = buffer<const float>(args, 0);
  float *y = buffer<float>(args, 2);
  Range range = share(args, part, parts);
  for (int64_t t = range.begin; t < range.end; ++t) {
    const SequenceRow &row = table->rows[0][table->tokenSequence[t]];
    y[t] = x[t] + attend(buffer<float>(args, 1), table->blocks[0] + row.table, row.past + uint32_t(t) - row.first + 1);
  }
}

/// y[t] = attention over all the encoder has seen, plus x[t]
KERNEL(toy_attend_encoder) {
  const float *x = buffer<const float>(args, 0);
  float *y = buffer<float>(args, 2);
  Range range = share(args, part, parts);
  for (int64_t t = range.begin; t < range.end; ++t) {
    const SequenceRow &row = table->rows[1][table->tokenSequence[t]];
    y[t] = x[t] + attend(buffer<float>(args, 1), table->blocks[1] + row.table, row.length);
  }
}

/// logits[r, v] = (y[row r] + 1) * (v + 3) mod 97
KERNEL(toy_logits) {
  const float *y = buffer<const float>(args, 0);
  const int32_t *rows = buffer<const int32_t>(args, 1);
  float *logits = buffer<float>(args, 2);
  int64_t vocabulary = args->dims[1];
  Range range = share(args, part, parts);
  for (int64_t r = range.begin; r < range.end; ++r)
    for (int64_t v = 0; v < vocabulary; ++v)
      logits[r * vocabulary + v] = modulo((y[rows[r]] + 1) * float(v + 3), 97);
}

/// One row of a padded batch: past and this step's tokens become the present; channel 0 of a cache entry is the first
/// layer's input, channel 1 the second's. Padding is skipped as if it were not there.
KERNEL(toy_graph) {
  const int64_t *ids = buffer<const int64_t>(args, 0), *mask = buffer<const int64_t>(args, 1), *positions = buffer<const int64_t>(args, 2);
  const float *weight = buffer<const float>(args, 3), *past = buffer<const float>(args, 4);
  float *present = buffer<float>(args, 5), *logits = buffer<float>(args, 6);
  int64_t count = args->dims[1], before = args->dims[2], vocabulary = args->dims[3], total = before + count;
  Range range = share(args, part, parts);
  for (int64_t row = range.begin; row < range.end; ++row) {
    float *now = present + row * total * 2;
    for (int64_t i = 0; i < before * 2; ++i)
      now[i] = past[row * before * 2 + i];
    for (int64_t p = before; p < total; ++p) {
      int64_t t = row * count + p - before;
      float x = weight[ids[t]] + float(positions[t] % 7);
      for (int layer = 0; layer < 2; ++layer) {
        now[p * 2 + layer] = x;
        float sum = 0;
        uint32_t order = 0;
        for (int64_t j = 0; j <= p; ++j) {
          if (!mask[row * total + j])
            continue;
          float key = now[j * 2 + layer];
          sum = modulo(sum + float(order++ % 5 + 1) * key + modulo(key * key, 101), 1009);
        }
        x += sum;
      }
      for (int64_t v = 0; v < vocabulary; ++v)
        logits[t * vocabulary + v] = modulo((x + 1) * float(v + 3), 97);
    }
  }
}
