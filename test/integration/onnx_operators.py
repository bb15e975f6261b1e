#!/usr/bin/env python3
# llmopt-test: quick
# llmopt-packages: numpy onnx onnxruntime ml_dtypes
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases for standard operators beyond the node suite: symbolic dimensions, sizes of one, old operator sets, narrow element types.

    onnx_operators.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

The answers are ONNX Runtime's for convolutions, else those of the reference evaluator of the package `onnx`, or NumPy's where that has
none. All must pass, in the interpreter and compiled.
"""
import os
import re
import sys
import warnings

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import onnx_cases

warnings.filterwarnings("ignore")
RANDOM = np.random.default_rng(11)
F32, F16, I32, I64, U8, I8 = np.float32, np.float16, np.int32, np.int64, np.uint8, np.int8


def rand(*shape, dtype=F32):
    return RANDOM.standard_normal(shape).astype(dtype)


def ints(low, high, *shape, dtype=I64):
    return RANDOM.integers(low, high, shape).astype(dtype)


class Cases:
    def __init__(self, out, only):
        self.out, self.only = out, only

    @staticmethod
    def answer(model, feed):
        if model.opset_import[0].version > 22:
            return ReferenceEvaluator(model).run(None, feed)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)

    def add(self, name, op, inputs, outputs=1, constants=(), symbolic=None, opset=27, domain="", tolerance=1e-5, expected=None,
            declared=None, **attributes):
        """`inputs`: arrays or None; those at `constants` become initializers. `symbolic`: {input: [names or numbers]}. `expected`: answers
        of neither. Operator sets up to 22 are asked of ONNX Runtime. `declared`: shapes of the outputs."""
        if not re.search(self.only, name):
            return
        names = [f"i{i}" if v is not None else "" for i, v in enumerate(inputs)]
        graph_inputs, feed, initializers = [], {}, []
        for i, value in enumerate(inputs):
            if value is None:
                continue
            if i in constants:
                initializers.append(numpy_helper.from_array(value, names[i]))
                continue
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            graph_inputs.append(helper.make_tensor_value_info(names[i], kind, (symbolic or {}).get(i, value.shape)))
            feed[names[i]] = value
        results = [f"o{i}" for i in range(outputs)]
        node = helper.make_node(op, names, results, domain=domain, **attributes)
        version = helper.make_opsetid("", opset)
        imports = [version] if not domain else [version, helper.make_opsetid(domain, 1)]
        model = helper.make_model(helper.make_graph([node], name, graph_inputs, [helper.make_empty_tensor_value_info(r) for r in results],
                                                    initializers), opset_imports=imports, ir_version=10)
        got = expected if expected is not None else self.answer(model, feed)
        got = [np.asarray(value) for value in got]
        for i, (info, value) in enumerate(zip(model.graph.output, got)):
            info.CopyFrom(helper.make_tensor_value_info(results[i], helper.np_dtype_to_tensor_dtype(value.dtype), (declared or {}).get(i)))
        folder = os.path.join(self.out, name)
        os.makedirs(folder, exist_ok=True)
        onnx.save(model, os.path.join(folder, "model.onnx"))
        onnx_cases.write_set(folder, 0, feed.values(), got)
        onnx_cases.write_tolerance(folder, tolerance, tolerance)


def convolutions(c):
    def add(*args, **kwargs):
        c.add(*args, opset=22, **kwargs)

    dynamic = {0: ["batch", 3, "length"]}
    image = {0: ["batch", 4, "height", "width"]}
    add("conv1d_dynamic", "Conv", [rand(2, 3, 17), rand(5, 3, 3), rand(5)], symbolic=dynamic, pads=[1, 1], strides=[2])
    add("conv3d", "Conv", [rand(1, 4, 5, 6, 7), rand(6, 2, 2, 3, 3), rand(6)], group=2, pads=[1, 0, 1, 0, 1, 2], strides=[2, 1, 2],
          dilations=[1, 2, 1], tolerance=1e-4)
    add("conv_transpose_groups", "ConvTranspose", [rand(2, 4, 5, 3), rand(4, 3, 3, 2), rand(6)], group=2, strides=[2, 3], pads=[1, 0, 0, 1],
          output_padding=[1, 0], tolerance=1e-4)
    add("conv_transpose_dynamic", "ConvTranspose", [rand(1, 3, 5), rand(3, 2, 4)], symbolic=dynamic, strides=[2], pads=[1, 1], tolerance=1e-4)
    add("conv_integer_filters", "ConvInteger", [ints(0, 256, 1, 2, 5, 5, dtype=U8), ints(0, 256, 3, 2, 3, 3, dtype=U8), np.array(7, U8)])
    add("max_pool_dynamic", "MaxPool", [rand(2, 3, 19)], symbolic=dynamic, kernel_shape=[4], strides=[3], pads=[1, 2])
    add("max_pool_indices_dilated", "MaxPool", [rand(2, 2, 7, 6)], outputs=2, kernel_shape=[2, 3], dilations=[2, 1], strides=[1, 2], pads=[0, 1, 1, 0])
    add("average_pool_dynamic", "AveragePool", [rand(1, 4, 7, 9)], symbolic=image, kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])
    add("average_pool_counted", "AveragePool", [rand(1, 4, 6, 9)], symbolic=image, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
    add("global_pool_dynamic", "GlobalAveragePool", [rand(1, 4, 6, 9)], symbolic=image)
    add("depth_to_space_dynamic", "DepthToSpace", [rand(1, 4, 3, 1)], symbolic=image, blocksize=2, mode="CRD")


def recurrent_attention(c):
    def conv(channels, length, kernel, past, **kwargs):
        x, w, b, before = rand(2, channels, length), rand(channels, 1, kernel), rand(channels), rand(2, channels, kernel - 1)
        full = np.concatenate([before if past else np.zeros_like(before), x], axis=2)
        y = sum(full[:, :, k:k + length] * w[:, 0, k][None, :, None] for k in range(kernel)) + b[None, :, None]
        y = (y / (1 + np.exp(-y))).astype(F32)
        state = full[:, :, full.shape[2] - kernel + 1:]
        c.add(f"causal_conv_{channels}_{length}_{kernel}_{'past' if past else 'first'}", "CausalConvWithState", [x, w, b, before if past else None],
              outputs=2, constants=(1, 2), symbolic={0: ["batch", channels, "length"], 3: ["batch", channels, kernel - 1]}, activation="silu",
              expected=[y, state])

    conv(1, 1, 1, True)
    conv(5, 1, 4, True)
    conv(3, 17, 4, False)
    conv(3, 2, 4, False)

    def linear(rule, batch, steps, heads, kv_heads, size, value_size):
        q, k, v = rand(batch, steps, heads * size), rand(batch, steps, kv_heads * size), rand(batch, steps, kv_heads * value_size)
        k /= np.sqrt(size)
        past, decay, beta = rand(batch, kv_heads, size, value_size), -np.abs(rand(batch, steps, kv_heads)), np.abs(rand(batch, steps, kv_heads)) / 2
        gated, delta = "gated" in rule, "delta" in rule
        state, outputs = past.astype(np.float64), []
        for t in range(steps):
            kt, vt = k[:, t].reshape(batch, kv_heads, size, 1), v[:, t].reshape(batch, kv_heads, 1, value_size)
            if gated:
                state = state * np.exp(decay[:, t])[:, :, None, None]
            update = (vt - kt.swapaxes(2, 3) @ state) * beta[:, t][:, :, None, None] if delta else vt
            state = state + kt * update
            qt = q[:, t].reshape(batch, heads, 1, size)
            outputs.append((qt @ np.repeat(state, heads // kv_heads, axis=1) / np.sqrt(size)).reshape(batch, heads * value_size))
        c.add(f"linear_attention_{rule}_{steps}_{heads}_{kv_heads}", "LinearAttention", [q, k, v, past, decay if gated else None, beta if delta else None],
              outputs=2, q_num_heads=heads, kv_num_heads=kv_heads, update_rule=rule, tolerance=1e-4,
              symbolic={0: ["batch", steps, heads * size], 3: ["batch", kv_heads, size, value_size]} if batch == 1 else None,
              expected=[np.stack(outputs, 1).astype(F32), state.astype(F32)])

    linear("linear", 1, 1, 2, 2, 3, 5)
    linear("gated", 2, 3, 4, 2, 8, 8)
    linear("delta", 1, 5, 1, 1, 7, 9)
    linear("gated_delta", 2, 17, 4, 1, 8, 16)


def narrow(c):
    fp8 = {"E4M3FN": (ml_dtypes.float8_e4m3fn, TensorProto.FLOAT8E4M3FN), "E4M3FNUZ": (ml_dtypes.float8_e4m3fnuz, TensorProto.FLOAT8E4M3FNUZ),
           "E5M2": (ml_dtypes.float8_e5m2, TensorProto.FLOAT8E5M2), "E5M2FNUZ": (ml_dtypes.float8_e5m2fnuz, TensorProto.FLOAT8E5M2FNUZ)}
    for name, (dtype, kind) in fp8.items():
        every = np.arange(256, dtype=U8).view(dtype)
        c.add(f"every_{name}", "Cast", [every], to=TensorProto.FLOAT, expected=[every.astype(F32)], tolerance=0)
        # Midpoints of neighbours, and their neighbours in f32, tell one rounding from another.
        finite = np.sort(every.astype(F32)[np.isfinite(every.astype(F32))])
        middle = ((finite[1:].astype(np.float64) + finite[:-1]) / 2).astype(F32)
        x = np.concatenate([finite, middle, np.nextafter(middle, np.inf, dtype=F32), np.nextafter(middle, -np.inf, dtype=F32), finite * F32(3)])
        c.add(f"round_{name}", "Cast", [x], to=kind, saturate=0, expected=[x.astype(dtype)], tolerance=0)
        largest = F32(ml_dtypes.finfo(dtype).max)
        c.add(f"saturate_{name}", "Cast", [x], to=kind, expected=[np.clip(x, -largest, largest).astype(dtype)], tolerance=0)
    every = np.arange(16, dtype=U8).view(ml_dtypes.float4_e2m1fn)
    c.add("every_E2M1", "Cast", [every], to=TensorProto.FLOAT16, expected=[every.astype(F16)], tolerance=0)
    for name, dtype, kind, low, high in (("i4", ml_dtypes.int4, TensorProto.INT4, -8, 8), ("u4", ml_dtypes.uint4, TensorProto.UINT4, 0, 16),
                                         ("i2", ml_dtypes.int2, TensorProto.INT2, -2, 2), ("u2", ml_dtypes.uint2, TensorProto.UINT2, 0, 4)):
        x = np.arange(-40, 41, dtype=I32)
        c.add(f"wrap_{name}", "Cast", [x], to=kind, expected=[((x - low) % (high - low) + low).astype(dtype)], tolerance=0)
        code = np.arange(low, high).astype(dtype)
        c.add(f"transpose_{name}", "Transpose", [code.reshape(2, -1)], perm=[1, 0], opset=25, expected=[code.reshape(2, -1).T], tolerance=0)
        c.add(f"weight_{name}", "DequantizeLinear", [np.tile(code, 300).reshape(-1, 4), np.array(0.5, F32)], constants=(0,), opset=25,
              expected=[np.tile(code, 300).reshape(-1, 4).astype(F32) / 2], tolerance=0)
    c.add("bitcast_bf16", "BitCast", [ints(-2**15, 2**15, 5, 3, dtype=np.int16) & np.int16(0x3fff)], to=TensorProto.BFLOAT16)
    for dtype, tolerance in ((F16, 1e-2), (ml_dtypes.bfloat16, 5e-2)):
        kind = np.dtype(dtype).name
        a, b, bias = rand(5, 9, dtype=dtype), rand(7, 9, dtype=dtype), rand(7, dtype=dtype)
        c.add(f"gemm_{kind}", "Gemm", [a, b, bias], constants=(1, 2), symbolic={0: ["rows", 9]}, transB=1, tolerance=tolerance,
              expected=[(a.astype(F32) @ b.astype(F32).T + bias.astype(F32)).astype(dtype)])
        x, w = rand(1, 3, 9, dtype=dtype), rand(4, 3, 1, dtype=dtype)
        c.add(f"conv_{kind}", "Conv", [x, w], constants=(1,), symbolic={0: ["batch", 3, "length"]}, tolerance=tolerance,
              expected=[np.einsum("bcl,mc->bml", x.astype(F32), w[:, :, 0].astype(F32)).astype(dtype)])
    a, b = rand(2, 5, 9, dtype=ml_dtypes.bfloat16), rand(9, 7, dtype=ml_dtypes.bfloat16)
    c.add("matmul_bf16", "MatMul", [a, b], symbolic={0: ["batch", "rows", 9]}, tolerance=1e-2,
          expected=[(a.astype(F32) @ b.astype(F32)).astype(ml_dtypes.bfloat16)])


def others(c):
    x = rand(2, 3, 5)
    c.add("swiglu_dynamic", "SwiGLU", [x, rand(2, 3, 5)], opset=28, symbolic={0: ["batch", "rows", 5], 1: ["batch", "rows", 5]}, alpha=1.5)
    squares = np.pad(x * x, ((0, 0), (1, 2), (0, 0)))  # the reference evaluator takes the batch size for the channels
    sums = sum(squares[:, i:i + 3] for i in range(4))
    c.add("lrn_even", "LRN", [x], size=4, alpha=0.5, beta=0.7, bias=1.5, symbolic={0: ["batch", 3, 5]}, expected=[x / (1.5 + 0.125 * sums) ** 0.7])
    c.add("cumprod_one", "CumProd", [rand(3, 1), np.array(1, I64)], constants=(1,))
    c.add("cumprod_odd", "CumProd", [rand(2, 17), np.array(-1, I64)], constants=(1,), reverse=1, exclusive=1)
    c.add("einsum_trace", "Einsum", [rand(3, 4, 4)], equation="bii->b")
    c.add("compress_known", "Compress", [x, np.array([True, False, True])], constants=(1,), axis=1, symbolic={0: ["batch", 3, 5]})
    c.add("reduce_axes_input", "ReduceL2", [rand(3, 2, 2), np.array([-1], I64)], keepdims=0, declared={0: [3, 2]}, opset=18)
    c.add("reduce_axes_input_other", "ReduceL2", [rand(3, 2, 2), np.array([1], I64)], keepdims=0, declared={0: [3, 2]}, opset=18)
    c.add("shift_signed", "BitShift", [ints(-2**31, 2**31, 9, dtype=I32), ints(-1, 40, 9, dtype=I32)], opset=28, direction="RIGHT")


def experts(c):
    """ONNX Runtime has no third layer on CPUs."""
    x, router = rand(2, 3, 8), rand(6, 4)
    first, second, third = rand(4, 6, 8), rand(4, 8, 6), rand(4, 6, 8)
    tokens = x.reshape(6, 8)
    gate, linear = (np.einsum("th,eih->eti", tokens, w) for w in (first, third))
    each = np.einsum("eti,ehi->eth", gate / (1 + np.exp(-gate)) * linear, second)
    weights = np.exp(router) / np.exp(router).sum(1, keepdims=True)
    weights *= router >= np.sort(router, 1)[:, -2:-1]
    c.add("moe_third", "MoE", [x, router, first, None, second, None, third], domain="com.microsoft", opset=21, constants=(2, 4, 6), k=2,
          activation_type="silu", tolerance=1e-4, expected=[np.einsum("eth,te->th", each, weights).reshape(2, 3, 8).astype(F32)])


def old_opsets(c):
    a, b = rand(2, 3, 4, 5), rand(3, 4)
    for op, answer in (("Add", a + b[:, :, None]), ("Mul", a * b[:, :, None]), ("Greater", a > b[:, :, None])):
        c.add(f"old_{op.lower()}_axis", op, [a, b], opset=6, broadcast=1, axis=1, expected=[answer])
    c.add("old_reshape", "Reshape", [a], opset=1, shape=[0, -1, 5], expected=[a.reshape(2, -1, 5)])
    c.add("old_cast", "Cast", [a], opset=1, to="INT32", expected=[a.astype(I32)])
    c.add("old_concat", "Concat", [a, a], opset=1, expected=[np.concatenate([a, a], 1)])
    c.add("old_tile", "Tile", [a, np.array([3], I64), np.array([2], I64)], opset=1, constants=(1, 2), expected=[np.tile(a, (1, 1, 3, 1))])
    slope = rand(3)
    c.add("old_prelu", "PRelu", [a, slope], opset=6, expected=[np.where(a < 0, a * slope[:, None, None], a)])
    c.add("old_pad", "Pad", [a[0, 0]], opset=1, paddings=[1, 0, 0, 2], value=1.5, expected=[np.pad(a[0, 0], ((1, 0), (0, 2)), constant_values=1.5)])
    c.add("old_clip", "Clip", [a], opset=6, min=-0.5, expected=[np.maximum(a, F32(-0.5))])


def images(c):
    """All of the node suite's cases of Resize, whose scales, sizes and regions are constants here; then what exporters write beside that."""
    from onnx.backend.test.case.node import collect_testcases

    for case in collect_testcases("Resize"):
        for inputs, outputs in case.data_sets:
            given = dict(zip((info.name for info in case.model.graph.input), inputs))
            node = case.model.graph.node[0]
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            c.add(case.name, "Resize", [given.get(name) for name in node.input], constants=(1, 2, 3), opset=19, expected=outputs, **attributes)

    batches = {0: ["batch", 3, 4, 6]}

    def resized(name, dtype=F32, opset=19, **attributes):
        c.add(name, "Resize", [rand(2, 3, 4, 6, dtype=dtype), np.zeros(0, F32), np.array([1, 1, 2.5, 0.5], F32)], constants=(1, 2), symbolic=batches, opset=opset,
              tolerance=2e-3 if dtype == F16 else 1e-5, **attributes)

    resized("resize_linear", mode="linear", coordinate_transformation_mode="pytorch_half_pixel")
    resized("resize_cubic", mode="cubic")
    resized("resize_cubic_half", dtype=F16, opset=23, mode="cubic")
    resized("resize_nearest", mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")
    resized("resize_tf", opset=11, mode="nearest", coordinate_transformation_mode="tf_half_pixel_for_nn")
    scales = np.array([1, 1, 3, 2], F32)
    for mode in ("nearest", "linear"):
        c.add(f"resize_10_{mode}", "Resize", [rand(2, 3, 4, 6), scales], constants=(1,), symbolic=batches, opset=10, mode=mode)
        c.add(f"upsample_9_{mode}", "Upsample", [rand(2, 3, 4, 6), scales], constants=(1,), symbolic=batches, opset=9, mode=mode)
        c.add(f"upsample_7_{mode}", "Upsample", [rand(2, 3, 4, 6)], symbolic=batches, opset=7, mode=mode, scales=scales.tolist())


def make(out, only):
    cases = Cases(out, only)
    for group in (convolutions, recurrent_attention, narrow, others, experts, old_opsets, images):
        group(cases)


if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, make, onnx_cases.expect_all))
