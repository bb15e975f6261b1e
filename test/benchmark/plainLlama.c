/*===- plainLlama.c - a Llama decoder as plain loops --------------*- C -*-===
 *
 * Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 *
 * What a programmer writes without thinking of a machine: f32, one thread, one loop after the other, the rest left to the C compiler.
 * small_models.py builds it with -Ofast -march=native and measures llmopt against it.
 *
 *   plainLlama WEIGHTS vocab width ffn layers heads kv_heads context steps repeats
 *
 * WEIGHTS holds f32 matrices [out, in] in this order: embedding; of each layer: norm, q, k, v, o, norm, gate, up, down; last norm. The
 * embedding is the output matrix too. Prints the greedy ids from token 1 on, then the nanoseconds that `steps` forward passes took, one
 * line a repeat.
 *
 *===----------------------------------------------------------------------===*/
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int vocab, width, ffn, layers, heads, kvHeads, context, headSize, kvWidth;
static const float *weights;
static float *x, *normed, *q, *attended, *projected, *gate, *up, *scores, *logits, *keys, *values, *cosines, *sines;

static float *floats(size_t count) { return calloc(count, sizeof(float)); }

static void multiply(float *out, const float *matrix, const float *in, int rows, int columns) {
  for (int r = 0; r < rows; ++r) {
    float sum = 0;
    for (int c = 0; c < columns; ++c)
      sum += matrix[(size_t)r * columns + c] * in[c];
    out[r] = sum;
  }
}

static void rmsNorm(float *out, const float *in, const float *scale) {
  float squares = 0;
  for (int i = 0; i < width; ++i)
    squares += in[i] * in[i];
  float factor = 1.0f / sqrtf(squares / width + 1e-5f);
  for (int i = 0; i < width; ++i)
    out[i] = in[i] * factor * scale[i];
}

static void rotate(float *vectors, int count, int position) {
  const float *c = cosines + (size_t)position * headSize / 2, *s = sines + (size_t)position * headSize / 2;
  for (int h = 0; h < count; ++h)
    for (int i = 0; i < headSize / 2; ++i) {
      float *low = vectors + h * headSize + i, *high = low + headSize / 2;
      float a = *low, b = *high;
      *low = a * c[i] - b * s[i];
      *high = b * c[i] + a * s[i];
    }
}

static void attend(const float *layerKeys, const float *layerValues, int position) {
  for (int h = 0; h < heads; ++h) {
    const float *query = q + h * headSize;
    size_t at = (size_t)(h / (heads / kvHeads)) * headSize;
    float most = -INFINITY, sum = 0;
    for (int t = 0; t <= position; ++t) {
      float score = 0;
      for (int i = 0; i < headSize; ++i)
        score += query[i] * layerKeys[(size_t)t * kvWidth + at + i];
      scores[t] = score / sqrtf((float)headSize);
      most = scores[t] > most ? scores[t] : most;
    }
    for (int t = 0; t <= position; ++t)
      sum += scores[t] = expf(scores[t] - most);
    float *out = attended + h * headSize;
    memset(out, 0, headSize * sizeof(float));
    for (int t = 0; t <= position; ++t)
      for (int i = 0; i < headSize; ++i)
        out[i] += scores[t] / sum * layerValues[(size_t)t * kvWidth + at + i];
  }
}

static const float *take(const float **next, size_t count) {
  const float *here = *next;
  *next += count;
  return here;
}

static void forward(int token, int position) {
  const float *next = weights, *embedding = take(&next, (size_t)vocab * width);
  size_t square = (size_t)width * width, cache = (size_t)context * kvWidth;
  memcpy(x, embedding + (size_t)token * width, width * sizeof(float));
  for (int layer = 0; layer < layers; ++layer) {
    float *k = keys + layer * cache + (size_t)position * kvWidth, *v = values + layer * cache + (size_t)position * kvWidth;
    rmsNorm(normed, x, take(&next, width));
    multiply(q, take(&next, square), normed, width, width);
    multiply(k, take(&next, (size_t)kvWidth * width), normed, kvWidth, width);
    multiply(v, take(&next, (size_t)kvWidth * width), normed, kvWidth, width);
    rotate(q, heads, position);
    rotate(k, kvHeads, position);
    attend(keys + layer * cache, values + layer * cache, position);
    multiply(projected, take(&next, square), attended, width, width);
    for (int i = 0; i < width; ++i)
      x[i] += projected[i];
    rmsNorm(normed, x, take(&next, width));
    multiply(gate, take(&next, (size_t)ffn * width), normed, ffn, width);
    multiply(up, take(&next, (size_t)ffn * width), normed, ffn, width);
    for (int i = 0; i < ffn; ++i)
      gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
    multiply(projected, take(&next, (size_t)width * ffn), gate, width, ffn);
    for (int i = 0; i < width; ++i)
      x[i] += projected[i];
  }
  rmsNorm(normed, x, take(&next, width));
  multiply(logits, embedding, normed, vocab, width);
}

static int largest(void) {
  int best = 0;
  for (int i = 1; i < vocab; ++i)
    if (logits[i] > logits[best])
      best = i;
  return best;
}

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

/* Choosing the next token is not measured, as llmopt-bench does not either. */
static double generate(int steps, int print) {
  int token = 1;
  double spent = 0;
  for (int position = 0; position < steps; ++position) {
    double begin = now();
    forward(token, position);
    spent += now() - begin;
    token = largest();
    if (print)
      printf("%d%c", token, position + 1 < steps ? ' ' : '\n');
  }
  return spent;
}

static const float *readAll(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END))
    return NULL;
  long bytes = ftell(file);
  rewind(file);
  float *data = malloc(bytes);
  size_t got = fread(data, 1, bytes, file);
  fclose(file);
  return got == (size_t)bytes ? data : NULL;
}

int main(int argc, char **argv) {
  if (argc != 11 || !(weights = readAll(argv[1])))
    return fprintf(stderr, "usage: plainLlama WEIGHTS vocab width ffn layers heads kv_heads context steps repeats\n"), 2;
  int *sizes[] = {&vocab, &width, &ffn, &layers, &heads, &kvHeads, &context};
  for (int i = 0; i < 7; ++i)
    *sizes[i] = atoi(argv[2 + i]);
  int steps = atoi(argv[9]), repeats = atoi(argv[10]);
  headSize = width / heads, kvWidth = headSize * kvHeads;
  x = floats(width), normed = floats(width), q = floats(width), attended = floats(width), projected = floats(width);
  gate = floats(ffn), up = floats(ffn), scores = floats(context), logits = floats(vocab);
  keys = floats((size_t)layers * context * kvWidth), values = floats((size_t)layers * context * kvWidth);
  cosines = floats((size_t)context * headSize), sines = floats((size_t)context * headSize);
  for (int position = 0; position < context; ++position)
    for (int i = 0; i < headSize / 2; ++i) {
      double angle = position * pow(10000.0, -2.0 * i / headSize);
      cosines[position * headSize / 2 + i] = (float)cos(angle);
      sines[position * headSize / 2 + i] = (float)sin(angle);
    }
  generate(steps, 1);
  for (int i = 0; i < repeats; ++i)
    printf("%.0f\n", generate(steps, 0));
  return 0;
}
