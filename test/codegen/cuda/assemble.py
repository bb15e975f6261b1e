#!/usr/bin/env python3
# llmopt-test: quick
"""Assembles every kernel family for sm_80 and sm_90a, and some for sm_89, with ptxas and looks at what came out: no spills, no local memory, none of ptxas'
performance warnings, the instructions the family is for. Also: inline PTX lies in one file.

    assemble.py [UNIT ...] [--json FILE]     registers, shared memory, blocks of a multiprocessor and bytes a multiplication needs, as data

Needs clang with the NVPTX back end, and ptxas (LLMOPT_PTXAS, PATH or /usr/local/cuda/bin); skips without.
"""
import concurrent.futures
import glob
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
KERNELS = os.path.join(ROOT, "codegen", "CUDA", "kernels")
ARCHITECTURES = ("sm_80", "sm_89", "sm_90a")
REGISTERS, SHARED = 65536, {"sm_80": 163 * 1024, "sm_89": 99 * 1024, "sm_90a": 227 * 1024}  # of a multiprocessor, of one block at most
THREADS = {"sm_80": 2048, "sm_89": 1536, "sm_90a": 2048}  # of a multiprocessor

EPILOGUE = """
struct Epilogue {{
  static constexpr int kProducts = {products}, kSegments = {segments};
  DEVICE_MEMBER static constexpr i64 columns(int segment) {{ return segment == 0 ? 4096 : 1024; }}
  const {weight} *weights[kSegments][kProducts];
  float *output;
  const float *bias;
  DEVICE_MEMBER const {weight} *{function}(int segment, int product) const {{
    const {weight} *result = weights[0][product];
    UNROLL
    for (int s = 1; s < kSegments; ++s)
      result = segment == s ? weights[s][product] : result;
    return result;
  }}
  template <int N, class Sum>
  DEVICE_MEMBER void store(int segment, i64 row, i64 column, const Sum (&products)[kProducts][N]) const {{
    UNROLL
    for (int n = 0; n < N; ++n)
      output[row * 4096 + segment * 1024 + column + n] = float(products[0][n]) * float(products[kProducts - 1][n]) + bias[column + n];
  }}
}};
"""
LAYER = "struct Layer {{ typedef {input} Input; typedef {weight} Weight; static constexpr bool kPanels = {panels}; static constexpr int kDepth = 4096{more}; }};\n"


def linear(family, file, constants, input="float", weight="bf16", products=1, segments=1, panels="true", maps=False, blocks=1):
    count = products * segments
    operand = "TensorMap" if maps else "void"
    parameters = ", ".join(("GRID_CONSTANT const TensorMap w%d" if maps else "const void *w%d") % i for i in range(count))
    names = [("&w%d" if maps else "w%d") % i for i in range(count)]
    rows = ", ".join("{" + ", ".join(names[s * products:(s + 1) * products]) + "}" for s in range(segments))
    text = "".join(f'#include "{name}"\n' for name in ["primitives.cuh", *file.split()])
    text += EPILOGUE.format(products=products, segments=segments, weight=operand, function="map" if maps else "weight")
    text += LAYER.format(input=input, weight=weight, panels=panels, more=", " + constants if constants else "")
    x = "GRID_CONSTANT const TensorMap x" if maps else "const Layer::Input *x"
    return text + f"""typedef {family}<Layer, Epilogue> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Family::kThreads, {blocks}) kernel(i64 units, i64 rows, {x}, {parameters}, float *output, const float *bias) {{
  SHARED_MEMORY(smem);
  Family().run(smem, {"&x" if maps else "x"}, rows, units, Epilogue{{{{{rows}}}, output, bias}});
}}
"""


def norm(kind, center):
    return f"""#include "primitives.cuh"
#include "norm.cuh"
struct Rows {{
  typedef {kind} Input, Residual, Weight, Output;
  static constexpr int kDepth = 4096, kThreads = 256;
  static constexpr bool kCenter = {center};
  DEVICE_MEMBER static constexpr float epsilon() {{ return 1e-5f; }}
}};
typedef Norm<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const {kind} *x, const {kind} *r, {kind} *s, const {kind} *w, const {kind} *b, {kind} *o, i64 units) {{
  Family::run(x, r, s, w, b, o, units);
}}
"""


def softmax():
    return """#include "primitives.cuh"
#include "softmax.cuh"
struct Rows {
  static constexpr int kThreads = 128;
  const float *x, *mask;
  float *y;
  i64 width;
  DEVICE_MEMBER float load(i64 row, i64 column) const { return x[row * width + column] * 0.125f + mask[column]; }
  DEVICE_MEMBER void store(i64 row, i64 column, float value) const { y[row * width + column] = value; }
};
typedef Softmax<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *x, const float *mask, float *y, i64 units, i64 width) {
  Family::run(Rows{x, mask, y, width}, units, width);
}
"""


def norm_with_extrema():
    return norm("float", "false").replace("typedef Norm<Rows> Family;", """struct Behind {
  static constexpr int kExtrema = 2;
  float *most, *least, *to;
  DEVICE_MEMBER void store(i64 row, i64 column, float value, float *terms) const { to[row * Rows::kDepth + column] = terms[0] = terms[1] = value; }
  DEVICE_MEMBER void begin(float (&values)[2]) const { values[0] = floatOf(0xff800000u), values[1] = floatOf(0x7f800000u); }
  DEVICE_MEMBER void join(float (&values)[2], const float (&others)[2]) const {
    values[0] = values[0] > others[0] ? values[0] : others[0];
    values[1] = values[1] < others[1] ? values[1] : others[1];
  }
  DEVICE_MEMBER void storeExtrema(i64 row, const float (&values)[2]) const { most[row] = values[0], least[row] = values[1]; }
};
typedef Norm<Rows> Family;""").replace("float *o, i64 units", "float *o, float *most, float *least, i64 units").replace("w, b, o, units", "w, b, Behind{most, least, o}, units")


def reduce():
    return """#include "primitives.cuh"
#include "reduce.cuh"
struct Rows {
  typedef float Type;
  static constexpr int kThreads = 256, kTerms = 2, kRows = 1, kMostParts = 128;
  const float *x;
  float *y;
  i64 width;
  DEVICE_MEMBER void begin(float (&values)[2]) const { values[0] = 0, values[1] = floatOf(0xff800000u); }
  DEVICE_MEMBER void join(float (&values)[2], const float (&others)[2]) const { values[0] += others[0], values[1] = values[1] > others[1] ? values[1] : others[1]; }
  DEVICE_MEMBER void load(i64 row, i64 column, float (&terms)[2]) const { terms[0] = terms[1] = x[row * width + column]; }
  DEVICE_MEMBER void store(i64 row, const float (&values)[2]) const { y[2 * row] = values[0], y[2 * row + 1] = values[1]; }
};
DEVICE_DATA(float, shares, 256);
DEVICE_DATA(u32, counters, 1);
typedef Reduce<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *x, float *y, i64 units, i64 width) {
  Family::run(Rows{x, y, width}, units, width, shares, counters);
}
"""


def arg_reduce():
    return """#include "primitives.cuh"
#include "arg_reduce.cuh"
struct Rows {
  typedef float Number;
  static constexpr int kThreads = 256, kRows = 1, kMostParts = 128;
  static constexpr bool kSigned = true, kLargest = true, kLast = false;
  const float *x;
  i64 *y, width;
  DEVICE_MEMBER float number(i64 row, i64 column) const { return x[row * width + column]; }
  DEVICE_MEMBER void storePlace(i64 row, u64 place) const { y[row] = i64(place); }
};
DEVICE_DATA(u64, shares, 256);
DEVICE_DATA(u32, counters, 1);
typedef ArgReduce<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *x, i64 *y, i64 units, i64 width) {
  Family::run(PlaceRows<Rows>{{x, y, width}}, units, width, shares, counters);
}
"""


def scan():
    return """#include "primitives.cuh"
#include "scan.cuh"
struct Rows {
  typedef float Type;
  static constexpr int kThreads = 1024;
  static constexpr bool kExclusive = false, kReverse = false;
  const float *x;
  float *y;
  i64 width;
  DEVICE_MEMBER float load(i64 row, i64 column) const { return x[row * width + column]; }
  DEVICE_MEMBER void store(i64 row, i64 column, float value) const { y[row * width + column] = value; }
};
typedef Scan<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *x, float *y, i64 units, i64 width) { Family::run(Rows{x, y, width}, units, width); }
"""


def top_k():
    return """#include "primitives.cuh"
#include "top_k.cuh"
struct Rows {
  static constexpr int kThreads = 1024, kMost = 1024;
  static constexpr bool kLargest = true;
  const float *x;
  float *values;
  i64 *indices, width;
  DEVICE_MEMBER float load(i64 row, i64 column) const { return x[row * width + column]; }
  DEVICE_MEMBER void store(i64 row, i64 place, float value, i64 column) const { values[row * 50 + place] = value, indices[row * 50 + place] = column; }
};
typedef TopK<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *x, float *values, i64 *indices, i64 units, i64 width) {
  Family::run(Rows{x, values, indices, width}, units, width, 50);
}
"""


def sample():
    return """#include "primitives.cuh"
#include "sample.cuh"
struct Rows { static constexpr int kThreads = 1024; };
typedef Sample<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const float *logits, i64 rows, i64 width, const TokenChoice *choices, i32 *tokens) {
  Family::run(logits, rows, width, choices, tokens);
}
"""


def paged(cache, size, rows, tile, splits):
    return f"""#include "primitives.cuh"
#include "paged_attention.cuh"
struct Problem {{
  typedef {cache} Cache;
  typedef i64 Position;
  static constexpr int kHeads = 32, kKvHeads = 8, kKeySize = {size}, kValueSize = {size}, kTileTokens = {tile}, kRows = {rows}, kWarps = 8,
                       kSplits = {splits}, kTable = 0, kWindow = 0, kPairs = {size // 2}, kBiasWidth = 0;
  static constexpr bool kCausal = true, kInterleaved = false;
  DEVICE_MEMBER static float scale() {{ return 0.125f; }}
  DEVICE_MEMBER static float softcap() {{ return 0; }}
  DEVICE_MEMBER static float ropeScale() {{ return 1; }}
}};
typedef PagedAttention<Problem> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Family::kThreads, 1) kernel(const StepTable *table, i64 units, const float *q, const i64 *positions, const float *f,
                                                              const {cache} *c, float *o, float *parts, u32 *counters) {{
  SHARED_MEMORY(smem);
  Family::run(smem, table, units, {{q, positions, f, nullptr, nullptr, nullptr, c, o, parts, counters}});
}}
"""


def prefill(product, size, cache="float"):
    text = paged(cache, size, 64, 16, 1).replace("kWarps = 8", "kWarps = 4").replace("typedef i64 Position;", f"typedef i64 Position;\n  typedef {product} Product;")
    return text.replace('#include "paged_attention.cuh"', '#include "paged_attention.cuh"\n#include "prefill_attention.cuh"').replace("typedef PagedAttention<", "typedef PrefillAttention<")


def wgmma_attention(cache, size, stages):
    text = prefill(cache, size, cache).replace("kRows = 64", "kRows = 128").replace("kTileTokens = 16", "kTileTokens = 32").replace("kWarps = 4", "kWarps = 12")
    text = text.replace('#include "prefill_attention.cuh"', '#include "prefill_attention.cuh"\n#include "wgmma_attention.cuh"').replace("typedef PrefillAttention<", "typedef WgmmaAttention<")
    return text.replace("kBiasWidth = 0;", f"kBiasWidth = 0, kStages = {stages};")


def dense(product, size, mask="float", aligned="true"):
    return f"""#include "primitives.cuh"
#include "dense_attention.cuh"
struct Problem {{
  typedef {product} Product;
  typedef {mask} Mask;
  static constexpr int kMask = {2 if mask == "float" else 1}, kMaskKey = 1, kHeads = 12, kKvHeads = 12, kKeySize = {size}, kValueSize = {size}, kWindow = 0;
  static constexpr int kQueryStride = {12 * size}, kKeyStride = {12 * size}, kValueStride = {12 * size}, kOutputStride = {12 * size};
  static constexpr bool kAligned = {aligned}, kCausal = false;
  DEVICE_MEMBER static float scale() {{ return 0.125f; }}
  DEVICE_MEMBER static float softcap() {{ return 0; }}
}};
typedef DenseAttention<Problem> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Family::kThreads, 1) kernel(i64 units, const float *q, const float *k, const float *v, const {mask} *m, float *o, i64 queries,
                                                              i64 keys, i64 b, i64 h) {{
  SHARED_MEMORY(smem);
  Family::run(smem, units, {{q, k, v, m, o, queries, keys, {{0, b, h}}, {{0, b, h}}, {{0, b, h}}, {{0, b, h}}, keys, 0, 0}});
}}
"""


def split(name, products, input="float"):
    text = linear("GemmSplit", "gemm_mma.cuh gemm_split.cuh", SPLIT, input, weight=name, products=products)
    text = text.replace("const float *bias) {", "const float *bias, Family::Sum *parts, u32 *counters) {")
    return text.replace("output, bias});", "output, bias}, parts, counters);")


def grouped(family, constants, weight="bf16", products=1, files=""):
    text = linear(family, "gemv.cuh gemm_mma.cuh grouped.cuh " + files, constants + ", kExperts = 64, kShared = 8", weight=weight, products=products)
    text = text.replace("const float *bias) {", "const float *bias, const i32 *order, const i32 *offsets) {")
    return text.replace("x, rows, units", "x, order, offsets, rows, units")


def group_rows():
    return """#include "primitives.cuh"
#include "group_rows.cuh"
struct Rows { typedef i64 Index; static constexpr int kExperts = 128, kThreads = 1024; };
typedef GroupRows<Rows> Family;
extern "C" GLOBAL void LAUNCH_BOUNDS(Rows::kThreads, 1) kernel(const i64 *chosen, i32 *order, i32 *offsets, i64 rows) { Family::run(chosen, order, offsets, rows); }
"""


def quantized(family, files, constants, bits, block, zero=-1, weight="bf16", scale="f16", products=1, segments=1):
    constants += ", kAbreast = 1" if family == "GemvQuantized" and "kAbreast" not in constants else ""
    constants = f"{constants}, kBits = {bits}, kBlock = {block}, kZero = {zero}; typedef {scale} Scale"
    return linear(family, files, constants, weight=weight, products=products, segments=segments, blocks=2 if family == "GemvQuantized" and not ("kRows = 16" in constants and (products > 1 or "kAbreast = 2" in constants)) else 1)


SPLIT = "kTileM = 64, kTileN = 128, kStages = 3, kWarpsM = 2, kWarpsN = 4, kSplits = 4"
MMA = "kTileM = 128, kTileN = 128, kStages = 3, kWarpsM = 2, kWarpsN = 4"
GATED = MMA.replace("kTileM = 128", "kTileM = 64")
HOPPER = "wgmma_rows.cuh gemm_wgmma_quantized.cuh"
FEW_ROWS, ROWS, STREAM = "gemv.cuh gemv_quantized.cuh", "gemm_mma.cuh gemm_quantized.cuh", ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"]
TMA = ["wgmma.mma_async", "cp.async.bulk.tensor.2d", "setmaxnreg", "mbarrier.try_wait"]
ROUNDS = ["wgmma.mma_async", "setmaxnreg", "mbarrier.try_wait", "cp.async.cg.shared.global", "fence.proxy.async.shared::cta"]
# name: source, threads, dynamic shared bytes ("Family::..." where it is the family's), PTX that must be there, sm_90a only
UNITS = {
    "gemv_1": (linear("Gemv", "gemv.cuh", "kRows = 1, kWarps = 4"), ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"], False),
    "gemv_4_qkv": (linear("Gemv", "gemv.cuh", "kRows = 4, kWarps = 4", segments=3), ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"], False),
    "gemv_8_f32": (linear("Gemv", "gemv.cuh", "kRows = 8, kWarps = 4", weight="float"), ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"], False),
    "gemm_simt": (linear("GemmSimt", "gemm_simt.cuh", "", weight="float"), ["fma.rn.f32"], False),
    "gemm_mma_bf16": (linear("GemmMma", "gemm_mma.cuh", MMA), ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "cp.async.cg.shared.global"], False),
    "gemm_mma_f16_gated": (linear("GemmMma", "gemm_mma.cuh", GATED, weight="f16", products=2), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "ldmatrix.sync.aligned.m8n8.x4.trans"], False),
    "gemm_split_bf16": (split("bf16", 1), ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "atom.acq_rel.gpu"], False),
    "gemm_split_f16_gated": (split("f16", 2), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "atom.acq_rel.gpu"], False),
    "gemv_8_u8": (linear("Gemv", "gemv.cuh", "kRows = 8, kWarps = 4", "u8", "i8"), ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32", "dp4a.u32.s32"], False),
    "gemm_mma_f32": (linear("GemmMma", "gemm_mma.cuh", GATED, weight="float"), ["mma.sync.aligned.m16n8k8.row.col.f32.tf32", "cp.async.cg.shared.global"], False),
    "gemm_mma_f32_gated": (linear("GemmMma", "gemm_mma.cuh", GATED, weight="float", products=2), ["mma.sync.aligned.m16n8k8.row.col.f32.tf32"], False),
    "gemm_split_f32": (split("float", 1), ["mma.sync.aligned.m16n8k8.row.col.f32.tf32", "atom.acq_rel.gpu"], False),
    "gemm_mma_u8_qkv": (linear("GemmMma", "gemm_mma.cuh", GATED, "u8", "i8", segments=3), ["mma.sync.aligned.m16n8k32.row.col.s32.u8.s8", "ldmatrix"], False),
    "gemm_split_u8_gated": (split("i8", 2, "u8"), ["mma.sync.aligned.m16n8k32.row.col.s32.u8.s8", "atom.acq_rel.gpu"], False),
    "gemm_wgmma_u8": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 256, kStages = 4", "u8", "i8", maps=True), TMA + ["m64n256k32.s32.u8.s8"], True),
    "gemv_8_e4m3": (linear("Gemv", "gemv.cuh", "kRows = 8, kWarps = 4", "e4m3", "e4m3"), ["ld.global.nc.L1::no_allocate.L2::128B.v4.u32"], False),
    "gemm_simt_e4m3": (linear("GemmSimt", "gemm_simt.cuh", "", "e4m3", "e4m3"), ["fma.rn.f32"], False),
    "gemm_mma_e4m3_qkv": (linear("GemmMma", "gemm_mma.cuh", GATED, "e4m3", "e4m3", segments=3), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "ldmatrix"], False),
    "gemm_split_e4m3_gated": (split("e4m3", 2, "e4m3"), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "atom.acq_rel.gpu"], False),
    "gemm_mma_i8": (linear("GemmMma", "gemm_mma.cuh", MMA, "i8", "i8", panels="false"), ["mma.sync.aligned.m16n8k32.row.col.s32.s8", "ldmatrix"], False),
    "grouped_gemv_gated": (grouped("GroupedGemv", "kRows = 1, kWarps = 4", products=2), STREAM + ["vote.sync.ballot"], False),
    "grouped_gemv_f32": (grouped("GroupedGemv", "kRows = 1, kWarps = 4", weight="float"), STREAM, False),
    "grouped_mma_bf16": (grouped("GroupedMma", GATED), ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "cp.async.cg.shared.global"], False),
    "grouped_mma_f16_gated": (grouped("GroupedMma", GATED, weight="f16", products=2), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "ldmatrix.sync.aligned.m8n8.x4.trans"], False),
    "group_rows": (group_rows(), ["vote.sync.ballot", "popc.b32"], False),
    "gemv_w4_bf16": (quantized("GemvQuantized", FEW_ROWS, "kRows = 8, kWarps = 8", 4, 128), STREAM + ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "lop3.b32"], False),
    "gemv_w4_bf16_16_gated": (quantized("GemvQuantized", FEW_ROWS, "kRows = 16, kWarps = 8", 4, 32, scale="float", products=2), STREAM + ["fma.rn.bf16x2"], False),
    "gemv_w8_f16_gated": (quantized("GemvQuantized", FEW_ROWS, "kRows = 8, kWarps = 8", 8, 32, weight="f16", products=2), STREAM + ["fma.rn.f16x2"], False),
    "gemv_w4_f16_qkv": (quantized("GemvQuantized", FEW_ROWS, "kRows = 8, kWarps = 8", 4, 16, 8, weight="f16", segments=3), STREAM + ["mma.sync.aligned.m16n8k16.row.col.f32.f16"], False),
    "gemv_w4_bf16_16": (quantized("GemvQuantized", FEW_ROWS, "kRows = 16, kWarps = 8, kAbreast = 2", 4, 128), STREAM + ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "lop3.b32"], False),
    "gemv_w8_bf16": (quantized("GemvQuantized", FEW_ROWS, "kRows = 16, kWarps = 8", 8, 0, 128, scale="float"), STREAM + ["prmt.b32", "cvt.rn.bf16x2.f32"], False),
    "gemm_w4_bf16": (quantized("GemmQuantized", ROWS, GATED, 4, 128), STREAM + ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "cp.async.cg", "ld.shared.v4"], False),
    "gemm_w4_f16_gated": (quantized("GemmQuantized", ROWS, GATED.replace("kTileM = 64", "kTileM = 32"), 4, 32, scale="float", weight="f16", products=2), STREAM + ["fma.rn.f16x2"], False),
    "gemm_w8_f16_qkv": (quantized("GemmQuantized", ROWS, GATED, 8, 64, weight="f16", segments=3), STREAM + ["prmt.b32"], False),
    "gemm_wgmma_w4_bf16": (quantized("GemmWgmmaQuantized", HOPPER, "kTileM = 128, kStages = 6", 4, 128), STREAM + ROUNDS + ["m64n128k16.f32.bf16", "lop3.b32"], True),
    "gemm_wgmma_w4_bf16_blocks": (quantized("GemmWgmmaQuantized", HOPPER, "kTileM = 128, kStages = 6", 4, 16, segments=3), STREAM + ROUNDS + ["fma.rn.bf16x2"], True),
    "gemm_wgmma_w4_f16_gated": (quantized("GemmWgmmaQuantized", HOPPER, "kTileM = 64, kStages = 8", 4, 32, scale="float", weight="f16", products=2), STREAM + ROUNDS + ["m64n64k16.f32.f16"], True),
    "gemm_wgmma_w8_f16_qkv": (quantized("GemmWgmmaQuantized", HOPPER, "kTileM = 128, kStages = 6", 8, 64, weight="f16", segments=3), STREAM + ROUNDS + ["prmt.b32"], True),
    "gemm_wgmma_w8_bf16": (quantized("GemmWgmmaQuantized", HOPPER, "kTileM = 64, kStages = 8", 8, 0, 128, scale="float"), STREAM + ROUNDS + ["prmt.b32"], True),
    "grouped_wgmma_bf16": (grouped("GroupedWgmma", "kTileM = 128, kStages = 6", files="wgmma_rows.cuh grouped_wgmma.cuh"), STREAM + ROUNDS + ["m64n128k16.f32.bf16"], True),
    "grouped_wgmma_f16_gated": (grouped("GroupedWgmma", "kTileM = 64, kStages = 8", weight="f16", products=2, files="wgmma_rows.cuh grouped_wgmma.cuh"), ROUNDS + ["m64n64k16.f32.f16", "prmt.b32"], True),
    "gemm_wgmma_bf16": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 256, kStages = 4", "bf16", maps=True), TMA + ["m64n256k16.f32.bf16"], True),
    "gemm_wgmma_f32_qkv": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 256, kStages = 3", segments=3, maps=True), TMA + ["cvt.rn.bf16x2.f32"], True),
    "gemm_wgmma_f16_gated": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 128, kStages = 4", "f16", "f16", products=2, maps=True), TMA + ["m64n128k16.f32.f16"], True),
    "gemm_wgmma_e4m3": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 128, kStages = 6", "e4m3", "e4m3", maps=True), TMA + ["m64n128k32.f32.e4m3"], True),
    "gemm_wgmma_e4m3_gated": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 64, kStages = 6", "e4m3", "e4m3", products=2, maps=True), TMA + ["m64n64k32.f32.e4m3"], True),
    "gemm_wgmma_i8": (linear("GemmWgmma", "gemm_wgmma.cuh", "kTileN = 256, kStages = 4", "i8", "i8", maps=True), TMA + ["m64n256k32.s32.s8"], True),
    "rms_norm_bf16": (norm("bf16", "false"), ["ld.global.v4.u32", "st.global.v4.u32"], False),
    "layer_norm_f32": (norm("float", "true"), ["ld.global.v4.u32", "st.global.v4.u32"], False),
    "sample": (sample(), ["ld.global.v4.u32", "red.shared.add.u64", "ex2.approx"], False),
    "norm_extrema": (norm_with_extrema(), ["shfl.sync.bfly"], False),
    "reduce": (reduce(), ["shfl.sync.bfly", "atom.acq_rel.gpu"], False),
    "arg_reduce": (arg_reduce(), ["shfl.sync.bfly", "atom.acq_rel.gpu"], False),
    "scan": (scan(), ["shfl.sync.bfly", "bar.sync"], False),
    "top_k": (top_k(), ["red.shared.add.u32", "atom.shared.add.u32"], False),
    "softmax": (softmax(), ["ex2.approx", "shfl.sync.bfly"], False),
    "paged_decode_f32": (paged("float", 128, 4, 1, 16), ["ld.global.v4.u32", "atom.acq_rel.gpu"], False),
    "paged_prompt_f32": (paged("float", 64, 4, 1, 1), ["ld.global.v4.u32"], False),
    "prefill_bf16": (prefill("bf16", 128), ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "cp.async.cg.shared.global"], False),
    "prefill_f16": (prefill("f16", 64), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "cp.async.cg.shared.global"], False),
    "prefill_f16_narrow": (prefill("f16", 128, "f16"), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "cp.async.cg.shared.global", "ldmatrix.sync.aligned.m8n8.x4.trans"], False),
    "wgmma_attention_f16": (wgmma_attention("f16", 128, 3), ["wgmma.mma_async", "m64n64k16.f32.f16", "m64n128k16.f32.f16", "cp.async.bulk.shared", "setmaxnreg", "mbarrier.try_wait"], True),
    "wgmma_attention_bf16": (wgmma_attention("bf16", 64, 4), ["wgmma.mma_async", "m64n64k16.f32.bf16", "cp.async.bulk.shared", "setmaxnreg"], True),
    "dense_bf16": (dense("bf16", 64), ["mma.sync.aligned.m16n8k16.row.col.f32.bf16", "cp.async.cg.shared.global", "ldmatrix.sync.aligned.m8n8.x4.trans"], False),
    "dense_f16_wide": (dense("f16", 128, "u8"), ["mma.sync.aligned.m16n8k16.row.col.f32.f16", "cp.async.cg.shared.global"], False),
    "dense_f16_odd": (dense("f16", 75, "float", "false"), ["mma.sync.aligned.m16n8k16.row.col.f32.f16"], False),
    "dense_f32": (dense("float", 64), ["mma.sync.aligned.m16n8k8.row.col.f32.tf32", "cp.async.cg.shared.global"], False),
    "dense_f32_wide": (dense("float", 128), ["mma.sync.aligned.m16n8k8.row.col.f32.tf32", "cp.async.cg.shared.global"], False),
    "paged_decode_bf16": (paged("bf16", 128, 2, 1, 16), ["ld.global.v4.u32", "atom.acq_rel.gpu"], False),
}


# Where ptxas schedules for sm_89 as for sm_80 one is enough: those with the most registers, or with products that sm_80 lacks.
ON_ADA = ("gemv_8_f32", "gemm_split_bf16", "grouped_mma_bf16", "gemv_w4_bf16_16_gated", "gemm_w4_bf16", "rms_norm_bf16", "paged_decode_f32", "paged_decode_bf16",
          "prefill_f16_narrow", "dense_bf16", "dense_f32_wide", "reduce", "top_k")


def find(variable, names):
    given = os.environ.get(variable)
    return given or next((path for path in map(shutil.which, names) if path), None)


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    return done.returncode, done.stdout


def constants_of(clang, source, folder, name):
    """kThreads and kSharedBytes of a unit's family, through the host compiler: the same template, emulated."""
    probe = re.sub(r'extern "C" GLOBAL.*', "", source, flags=re.S)
    probe += '#include <cstdio>\nint main() { printf("%d %u", THREADS, SHARED); }\n'
    threads, shared = ("Family::kThreads", "unsigned(Family::kSharedBytes)") if "Rows::kThreads" not in source else ("Rows::kThreads", "0u")
    file, program = os.path.join(folder, name + ".cpp"), os.path.join(folder, name)
    with open(file, "w") as out:
        out.write(probe.replace("THREADS", threads).replace("SHARED", shared))
    code, text = run([clang, "-x", "c++", "-std=c++20", "-O0", "-w", "-DLLMOPT_EMULATE", "-I", KERNELS, file, "-lstdc++", "-lm", "-o", program])
    return (0, 0) if code else tuple(map(int, run([program])[1].split()))


def assemble(clang, ptxas, folder, name):
    """For each architecture that the unit is for: what is wrong, and its data."""
    constants = constants_of(clang, UNITS[name][0], folder, name)
    wanted = [a for a in ARCHITECTURES if (name in ON_ADA if a == "sm_89" else a == "sm_90a" or not UNITS[name][2])]
    return [(architecture, *assemble_for(clang, ptxas, folder, name, architecture, constants)) for architecture in wanted]


def assemble_for(clang, ptxas, folder, name, architecture, constants):
    source, wanted, _ = UNITS[name]
    stem = os.path.join(folder, f"{name}.{architecture}")
    with open(stem + ".cu", "w") as out:
        out.write(source)
    code, text = run([clang, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + architecture, "-nocudainc", "-nocudalib", "-std=c++20", "-O3", "-ffast-math",
                      "--cuda-feature=+ptx84" if architecture == "sm_90a" else "--cuda-feature=+ptx80", "-Wno-unknown-cuda-version", "-I", KERNELS, "-S", stem + ".cu", "-o", stem + ".ptx"])
    if code:
        return "clang: " + text[:300], {}
    code, log = run([ptxas, "-arch=" + architecture, "-v", stem + ".ptx", "-o", stem + ".cubin"])
    if code:
        return "ptxas: " + log[:300], {}
    with open(stem + ".ptx") as file:
        ptx = file.read()
    number = lambda pattern: int((re.search(pattern, log) or [0, 0])[1])
    threads, shared = constants
    registers, fixed = number(r"Used (\d+) registers"), number(r"(\d+) bytes smem")
    blocks = min(REGISTERS // max(1, (registers + 7) // 8 * 8 * threads), THREADS[architecture] // max(1, threads), (SHARED[architecture] + 1024) // (shared + fixed + 1024))
    data = dict(name=name, architecture=architecture, registers=registers, threads=threads, shared=shared + fixed, blocksPerSm=blocks)
    wrong = [f"{what} {number(pattern)}" for what, pattern in (("spills", r"(\d+) bytes spill stores"), ("stack", r"(\d+) bytes stack frame")) if number(pattern)]
    wrong += re.findall(r"C75\d\d[^\n]*|Potential Performance Loss[^\n]*", log)
    wrong += [f"no {text} in the PTX" for text in wanted if text not in ptx]
    if shared + fixed > SHARED[architecture]:
        wrong.append(f"{shared + fixed} bytes of shared memory")
    if blocks < 1 or not threads:
        wrong.append("no block fits a multiprocessor")
    return "; ".join(wrong), data


def inline_ptx_outside():
    return [os.path.basename(file) for file in glob.glob(os.path.join(KERNELS, "*.cuh"))
            if os.path.basename(file) != "primitives.cuh" and re.search(r"\basm\b", re.sub(r"//[^\n]*", "", open(file).read()))]


def main():
    elsewhere = inline_ptx_outside()
    print("FAIL inline PTX outside of primitives.cuh: " + ", ".join(elsewhere) if elsewhere else "PASS inline PTX lies in primitives.cuh")
    os.environ["PATH"] += os.pathsep + "/usr/local/cuda/bin"
    clang, ptxas = find("LLMOPT_CLANG", ["clang-22", "clang"]), find("LLMOPT_PTXAS", ["ptxas"])
    if not clang or not ptxas:
        print("SKIP assembling kernels: " + ("clang" if not clang else "ptxas") + " is not installed")
        return 1 if elsewhere else 0
    chosen = [name for name in sys.argv[1:] if name in UNITS] or UNITS
    report, failed = [], bool(elsewhere)
    with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(2) as pool:
        for name, results in zip(chosen, pool.map(lambda name: assemble(clang, ptxas, folder, name), chosen)):
            for architecture, wrong, data in results:
                report.append(data)
                failed |= bool(wrong)
                print(f"FAIL {name} {architecture}: {wrong}" if wrong else f"PASS {name} {architecture}: {data['registers']} registers, {data['shared']} bytes shared, {data['blocksPerSm']} blocks", flush=True)
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w") as out:
            json.dump(report, out, indent=1)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
