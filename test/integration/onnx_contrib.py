#!/usr/bin/env python3
# llmopt-test: long
# llmopt-packages: numpy onnx onnxruntime
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Cases for the com.microsoft operators, with ONNX Runtime's answers.

    onnx_contrib.py [--out FOLDER] [--only REGEX] [--run PROGRAM]

Each case is one operator with random inputs. All must pass, in the interpreter and compiled at -O0 and -O3.
"""
import os
import re
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

import onnx_cases

RANDOM = np.random.default_rng(7)
F32, I32, I64, U8, I8 = np.float32, np.int32, np.int64, np.uint8, np.int8


def rand(*shape):
    return RANDOM.standard_normal(shape).astype(F32)


def ints(high, *shape, dtype=I32):
    return RANDOM.integers(0, high, shape).astype(dtype)


class Cases:
    def __init__(self, out, only):
        self.out, self.only, self.skipped = out, only, []

    def add(self, name, op, inputs, outputs=1, constants=(), symbolic=None, domain="com.microsoft", tolerance=1e-4, declared=None,
            compared=None, **attributes):
        """`inputs`: arrays or None, in the operator's order; those at `constants` become initializers. `symbolic`: {input: [names]}.
        `outputs`: how many, or a list of bools; the first `compared` are compared."""
        if not re.search(self.only, name):
            return
        wanted = [True] * outputs if isinstance(outputs, int) else outputs
        names = [f"i{i}" if v is not None else "" for i, v in enumerate(inputs)]
        results = [f"o{i}" if w else "" for i, w in enumerate(wanted)]
        graph_inputs, feed, initializers = [], {}, []
        for i, value in enumerate(inputs):
            if value is None:
                continue
            if i in constants:
                initializers.append(numpy_helper.from_array(value, names[i]))
                continue
            shape = (symbolic or {}).get(i, value.shape)
            graph_inputs.append(helper.make_tensor_value_info(names[i], helper.np_dtype_to_tensor_dtype(value.dtype), shape))
            feed[names[i]] = value
        node = helper.make_node(op, names, results, domain=domain, **attributes)
        graph_outputs = [helper.make_tensor_value_info(r, TensorProto.FLOAT if not declared else declared[i], None)
                         for i, r in enumerate(results) if r]
        graph = helper.make_graph([node], name, graph_inputs, graph_outputs, initializers)
        imports = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        try:
            got = onnxruntime.InferenceSession(model.SerializeToString(), options).run(None, feed)
        except Exception as e:
            self.skipped.append(f"{name}: {str(e)[:160]}")
            return
        folder = os.path.join(self.out, name)
        os.makedirs(folder, exist_ok=True)
        onnx.save(model, os.path.join(folder, "model.onnx"))
        onnx_cases.write_set(folder, 0, feed.values(), got[:compared])
        onnx_cases.write_tolerance(folder, tolerance, tolerance)


def activations(c):
    x, b = rand(2, 3, 8), rand(8)
    c.add("gelu", "Gelu", [x])
    c.add("fast_gelu", "FastGelu", [x])
    c.add("fast_gelu_bias", "FastGelu", [x, b])
    c.add("bias_gelu", "BiasGelu", [x, b])
    c.add("quick_gelu", "QuickGelu", [x])
    c.add("quick_gelu_silu", "QuickGelu", [x], alpha=1.0)
    c.add("fused_matmul", "FusedMatMul", [rand(2, 4, 3), rand(2, 5, 4)], alpha=0.5, transA=1, transB=1)
    c.add("fused_gemm", "FusedGemm", [rand(3, 4), rand(4, 5), rand(5)], activation="Relu", alpha=0.5, beta=2.0)
    c.add("fused_gemm_leaky", "FusedGemm", [rand(3, 4), rand(5, 4), rand(1)], activation="LeakyRelu", activation_alpha=0.2, transB=1)


def normalizations(c):
    x, skip, g, b, bias = rand(2, 3, 8), rand(2, 3, 8), rand(8), rand(8), rand(8)
    c.add("skip_layer_norm", "SkipLayerNormalization", [x, skip, g, b], epsilon=1e-5)
    c.add("skip_layer_norm_bias_sum", "SkipLayerNormalization", [x, skip, g, b, bias], [True, False, False, True], epsilon=1e-5)
    c.add("skip_layer_norm_no_beta", "SkipLayerNormalization", [x, skip, g, None, bias])
    c.add("skip_layer_norm_broadcast", "SkipLayerNormalization", [x, skip[:1], g, b], epsilon=1e-5)
    c.add("skip_layer_norm_broadcast_2d", "SkipLayerNormalization", [x, skip[0], g, b], epsilon=1e-5)
    c.add("skip_simplified", "SkipSimplifiedLayerNormalization", [x, skip, g], [True, False, False, True], epsilon=1e-6)
    c.add("skip_simplified_bias", "SkipSimplifiedLayerNormalization", [x, skip, g, bias], epsilon=1e-6)
    c.add("simplified", "SimplifiedLayerNormalization", [x, g], domain="", axis=-1, epsilon=1e-6, stash_type=1)
    tables = [rand(20, 8), rand(10, 8), rand(2, 8)]
    ids, segments = ints(20, 2, 5), ints(2, 2, 5)
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], I32)
    types = [TensorProto.FLOAT, TensorProto.INT32, TensorProto.FLOAT]
    c.add("embed", "EmbedLayerNormalization", [ids, segments, *tables, g, b, mask], 2, declared=types)
    c.add("embed_no_segment", "EmbedLayerNormalization", [ids, None, *tables[:2], None, g, b], 2, declared=types)
    c.add("embed_positions_sum", "EmbedLayerNormalization", [ids, segments, *tables, g, b, mask, ints(10, 2, 5)], 3, declared=types)


def rotary(c):
    cos, sin = rand(16, 4), rand(16, 4)
    x3, x4, ids = rand(2, 5, 24), rand(2, 3, 5, 8), ints(16, 2, 5, dtype=I64)
    c.add("rotary_3d", "RotaryEmbedding", [x3, ids, cos, sin])
    c.add("rotary_4d", "RotaryEmbedding", [x4, ids, cos, sin])
    c.add("rotary_offset", "RotaryEmbedding", [x3, np.array([3], I64), cos, sin])
    c.add("rotary_interleaved", "RotaryEmbedding", [x3, ids, cos, sin], interleaved=1)
    c.add("rotary_partial", "RotaryEmbedding", [rand(2, 5, 36), ids, cos, sin], num_heads=3, rotary_embedding_dim=8)


def attention(c):
    batch, length, heads, size = 2, 4, 2, 6
    hidden = heads * size
    x, w, b = rand(batch, length, 10), rand(10, 3 * hidden), rand(3 * hidden)
    c.add("attention", "Attention", [x, w, b], num_heads=heads)
    c.add("attention_causal", "Attention", [x, w, b], num_heads=heads, unidirectional=1)
    c.add("attention_scale", "Attention", [x, w, b], num_heads=heads, scale=0.3)
    masks = {"lengths": np.array([4, 2], I32), "ends_begins": np.array([4, 3, 0, 1], I32), "2d": np.array([[1, 1, 1, 1], [0, 1, 1, 0]], I32),
             "3d": ints(2, batch, length, length) | np.eye(length, dtype=I32), "4d": np.tril(np.ones((batch, 1, 6, 6), I32))}
    for name, mask in masks.items():
        c.add(f"attention_mask_{name}", "Attention", [x, w, b, mask], num_heads=heads)
        if name != "4d":
            c.add(f"attention_mask_{name}_causal", "Attention", [x, w, b, mask], num_heads=heads, unidirectional=1)
    c.add("attention_filter", "Attention", [x, w, b, masks["2d"]], num_heads=heads, mask_filter_value=-50.0)
    past = rand(2, batch, heads, 3, size)
    c.add("attention_past", "Attention", [x, w, b, None, past], 2, num_heads=heads, unidirectional=1)
    c.add("attention_past_mask", "Attention", [x, w, b, np.array([[0, 1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 1, 0]], I32), past], 2,
          num_heads=heads, unidirectional=1)
    c.add("attention_past_4d", "Attention", [x, w, b, np.tril(np.ones((batch, 1, 9, 9), I32)), past], 2, num_heads=heads)
    c.add("attention_empty_past", "Attention", [x, w, b, None, past[:, :, :, :0]], 2, num_heads=heads, unidirectional=1)
    c.add("attention_bias", "Attention", [x, w, b, None, None, rand(batch, heads, length, length)], num_heads=heads)
    c.add("attention_sizes", "Attention", [x, rand(10, 2 * 12 + 8), rand(32)], num_heads=heads, qkv_hidden_sizes=[12, 12, 8])

    q, k, v = rand(batch, length, hidden), rand(batch, 5, hidden), rand(batch, 5, hidden)
    c.add("mha", "MultiHeadAttention", [q, k, v], num_heads=heads)
    c.add("mha_bias", "MultiHeadAttention", [q, k, v, b], num_heads=heads)
    c.add("mha_value_size", "MultiHeadAttention", [q, k, rand(batch, 5, 8), rand(32)], num_heads=heads)
    c.add("mha_causal", "MultiHeadAttention", [q, k[:, :4], v[:, :4]], num_heads=heads, unidirectional=1)
    c.add("mha_lengths", "MultiHeadAttention", [q, k, v, None, np.array([5, 3], I32)], num_heads=heads)
    c.add("mha_mask", "MultiHeadAttention", [q, k, v, None, np.array([[1, 1, 1, 1, 0], [0, 1, 1, 1, 1]], I32)], num_heads=heads)
    c.add("mha_mask_3d", "MultiHeadAttention", [q, k, v, None, ints(2, batch, length, 5) | np.eye(length, 5, dtype=I32)], num_heads=heads)
    c.add("mha_attention_bias", "MultiHeadAttention", [q, k, v, None, None, rand(1, heads, length, 5)], num_heads=heads)
    c.add("mha_attention_bias_row", "MultiHeadAttention", [q, k, v, None, None, rand(batch, 1, length, 5)], num_heads=heads)
    pk, pv = rand(batch, heads, 3, size), rand(batch, heads, 3, size)
    c.add("mha_past", "MultiHeadAttention", [q, k[:, :4], v[:, :4], None, None, None, pk, pv], 3, num_heads=heads, unidirectional=1)
    c.add("mha_cross_cache", "MultiHeadAttention", [q, rand(batch, heads, 5, size), rand(batch, heads, 5, size)], num_heads=heads)
    c.add("mha_packed_kv", "MultiHeadAttention", [q, rand(batch, 5, heads, 2, size)], num_heads=heads)
    c.add("mha_packed_qkv", "MultiHeadAttention", [rand(batch, length, heads, 3, size)], num_heads=heads)


def group_query(c):
    heads, groups, size = 4, 2, 16  # ONNX Runtime rotates multiples of 16 only
    tables = [rand(32, size // 2), rand(32, size // 2)]

    def gqa(name, batch, length, past, totals, buffer=0, packed=False, extra=(), tables=None, outputs=3, dynamic=True, **attributes):
        """`totals`: length of each row with the new tokens. `buffer` > 0: the cache has this length whatever is in it."""
        q, k, v = rand(batch, length, heads * size), rand(batch, length, groups * size), rand(batch, length, groups * size)
        if packed:
            q, k, v = np.concatenate([q, k, v], 2), None, None
        cache = [rand(batch, groups, buffer or past, size) for _ in range(2)] if past is not None else [None, None]
        total = length if past is None else past + length
        inputs = [q, k, v, *cache, np.array(totals, I32) - 1, np.array(total, I32), *(tables or [None, None]), *extra]
        symbolic = {3: ["batch", groups, "past", size], 4: ["batch", groups, "past", size]} if past is not None and dynamic else None
        c.add(name, "GroupQueryAttention", inputs, outputs, constants=(6,), symbolic=symbolic, num_heads=heads, kv_num_heads=groups,
              **attributes)

    gqa("gqa_prompt", 2, 5, None, [5, 5])
    gqa("gqa_prompt_empty_past", 2, 5, 0, [5, 5])
    gqa("gqa_prompt_rotary", 2, 5, 0, [5, 5], tables=tables, do_rotary=1)
    gqa("gqa_decode", 2, 1, 6, [7, 7])
    gqa("gqa_decode_rotary", 2, 1, 6, [7, 7], tables=tables, do_rotary=1)
    gqa("gqa_decode_interleaved", 2, 1, 6, [7, 7], tables=tables, do_rotary=1, rotary_interleaved=1)
    gqa("gqa_decode_ragged", 2, 1, 6, [7, 4], tables=tables, do_rotary=1, compared=1)
    gqa("gqa_buffer", 2, 1, 6, [7, 5], buffer=16, tables=tables, do_rotary=1, compared=1)
    gqa("gqa_chunk", 1, 3, 6, [9], tables=tables, do_rotary=1)
    gqa("gqa_packed", 2, 5, 0, [5, 5], packed=True, tables=tables, do_rotary=1)
    gqa("gqa_packed_decode", 2, 1, 6, [7, 7], packed=True, tables=tables, do_rotary=1)
    gqa("gqa_window", 1, 8, 0, [8], local_window_size=3)
    gqa("gqa_window_decode", 2, 1, 9, [10, 10], local_window_size=4)
    gqa("gqa_softcap", 2, 5, 0, [5, 5], softcap=2.0)
    gqa("gqa_scale", 2, 5, 0, [5, 5], scale=0.1)
    gqa("gqa_smooth", 2, 5, 0, [5, 5], smooth_softmax=1)
    gqa("gqa_bias", 2, 4, 0, [4, 4], extra=(None, rand(2, heads, 4, 4)))
    gqa("gqa_positions_decode", 2, 1, 6, [7, 7], tables=tables, do_rotary=1, extra=(np.array([[3], [5]], I64),))
    gqa("gqa_positions_chunk", 1, 3, 6, [9], tables=tables, do_rotary=1, extra=(np.array([[3, 9, 1]], I64),))
    gqa("gqa_positions_first", 2, 4, 0, [4, 4], tables=tables, do_rotary=1, extra=(np.array([[3, 1, 2, 3], [2, 3, 4, 5]], I64),))
    gqa("gqa_positions", 2, 4, 0, [4, 4], tables=tables, do_rotary=1, extra=(np.array([[0, 1, 2, 3], [2, 3, 4, 5]], I64),))
    gqa("gqa_sinks", 2, 4, 0, [4, 4], extra=(None, None, rand(heads)))
    gqa("gqa_sinks_decode", 2, 1, 6, [7, 7], extra=(None, None, rand(heads)))


def quantized(c):
    def nbits(name, bits, k, n, block, zero=None, bias=False, rows=(3,), **attributes):
        blocks, size = -(-k // block), block * bits // 8
        a, b, scales = rand(*rows, k), RANDOM.integers(0, 256, (n, blocks, size)).astype(U8), rand(n * blocks) * F32(0.1)
        packed = -(-blocks * bits // 8)
        zeros = {"packed": RANDOM.integers(0, 256, n * packed).astype(U8), "float": rand(n * blocks) + F32(8)}.get(zero)
        c.add(name, "MatMulNBits", [a, b, scales, zeros, None, rand(n) if bias else None], constants=(1, 2, 3, 5), K=k, N=n, bits=bits,
              block_size=block, tolerance=1e-3, **attributes)

    nbits("nbits4", 4, 64, 6, 32)
    nbits("nbits4_3d", 4, 64, 6, 16, rows=(2, 3))
    nbits("nbits4_zero", 4, 96, 6, 32, zero="packed")
    nbits("nbits4_zero_float", 4, 64, 6, 32, zero="float")
    nbits("nbits4_tail", 4, 72, 6, 32, zero="packed")
    nbits("nbits4_bias", 4, 64, 6, 32, bias=True)
    nbits("nbits8", 8, 64, 6, 32)
    nbits("nbits8_zero", 8, 64, 6, 32, zero="packed")
    nbits("nbits2", 2, 64, 6, 32)
    nbits("nbits2_zero", 2, 128, 6, 32, zero="packed")
    data, scales = RANDOM.integers(0, 256, (10, 32)).astype(U8), rand(10, 2) * F32(0.1)
    ids = ints(10, 2, 3, dtype=I64)
    c.add("gather_block", "GatherBlockQuantized", [data, ids, scales], constants=(0, 2), bits=4, block_size=32, quantize_axis=1)
    c.add("gather_block_zero", "GatherBlockQuantized", [data, ids, scales, RANDOM.integers(0, 256, (10, 1)).astype(U8)], constants=(0, 2, 3),
          bits=4, block_size=32, quantize_axis=1)
    c.add("gather_block_8", "GatherBlockQuantized", [data, ids, scales], constants=(0, 2), bits=8, block_size=16, quantize_axis=1)
    a, b = ints(256, 2, 3, 8, dtype=U8), RANDOM.integers(-128, 128, (8, 5)).astype(I8)
    scale, zero = np.array(0.03, F32), np.array(120, U8)
    c.add("integer_to_float", "MatMulIntegerToFloat", [a, b, scale, np.array(0.02, F32), zero])
    c.add("integer_to_float_columns", "MatMulIntegerToFloat", [a, b, scale, np.abs(rand(5)), zero, ints(9, 5, dtype=I8), rand(5)])
    c.add("dynamic_quantize", "DynamicQuantizeMatMul", [rand(2, 3, 8), b, np.array(0.02, F32)], tolerance=1e-3)
    c.add("dynamic_quantize_columns", "DynamicQuantizeMatMul", [rand(2, 3, 8), b, np.abs(rand(5)), ints(9, 5, dtype=I8), rand(5)], tolerance=1e-3)
    c.add("quantize", "QuantizeLinear", [rand(3, 4), np.array(0.02, F32), zero], declared=[TensorProto.UINT8])
    c.add("quantize_axis", "QuantizeLinear", [rand(3, 4), np.abs(rand(4)) + F32(0.01), ints(9, 4, dtype=I8)], declared=[TensorProto.INT8], axis=1)
    c.add("dequantize_axis", "DequantizeLinear", [ints(256, 3, 4, dtype=U8), np.abs(rand(3)), ints(9, 3, dtype=U8)], axis=0)


def quantized_tensors(c):
    """Operators between quantized tensors, as ONNX Runtime's static quantization writes them."""
    scale, zero = (lambda v: np.array(v, F32)), (lambda v: np.array(v, U8))
    a, b = ints(256, 2, 3, 8, dtype=U8), ints(256, 3, 8, dtype=U8)
    u8 = [TensorProto.UINT8]
    for op in ("QLinearAdd", "QLinearMul"):
        c.add(op, op, [a, scale(0.03), zero(120), b, scale(0.02), zero(7), scale(0.05), zero(100)], declared=u8, constants=(1, 2, 4, 5, 6, 7))
    for op, attributes in (("QLinearSigmoid", {}), ("QLinearLeakyRelu", {"alpha": 0.2}), ("QLinearSoftmax", {"axis": -1, "opset": 13})):
        c.add(op, op, [a, scale(0.03), zero(120), scale(1 / 256), zero(0)], declared=u8, constants=(1, 2, 3, 4), tolerance=1.01, **attributes)
    c.add("QLinearConcat", "QLinearConcat", [scale(0.05), zero(100), a, scale(0.03), zero(120), a, scale(0.02), zero(7)], declared=u8, axis=1,
          constants=(0, 1, 3, 4, 6, 7))
    image = ints(256, 1, 3, 4, 5, dtype=U8)
    c.add("QLinearGlobalAveragePool", "QLinearGlobalAveragePool", [image, scale(0.03), zero(120), scale(0.02), zero(110)], declared=u8,
          constants=(1, 2, 3, 4), channels_last=0)
    m, n, bias = ints(256, 4, 9, dtype=U8), RANDOM.integers(-128, 128, (5, 9)).astype(I8), ints(1000, 5)
    c.add("qgemm", "QGemm", [m, scale(0.03), zero(120), n, scale(0.02), np.array(3, I8), bias, scale(0.9), zero(90)], declared=u8, transB=1,
          constants=(1, 2, 3, 4, 5, 6, 7, 8))
    c.add("qgemm_float", "QGemm", [m, scale(0.03), zero(120), n, scale(0.02), np.array(3, I8), bias], transB=1, constants=(1, 2, 3, 4, 5, 6), tolerance=1e-3)
    for name, kind in (("fp4", 0), ("nf4", 1)):
        c.add(f"bnb4_{name}", "MatMulBnb4", [rand(3, 64), ints(256, 6 * 64 // 2, dtype=U8), np.abs(rand(6 * 64 // 16))], constants=(1, 2), K=64, N=6,
              block_size=16, quant_type=kind, tolerance=1e-3)
    x, w = ints(256, 2, 3, 8, dtype=U8), RANDOM.integers(-128, 128, (8, 12)).astype(I8)
    c.add("qattention", "QAttention", [x, w, rand(12), scale(0.02), scale(0.01), None, zero(120), np.array(3, I8)], constants=(1, 2, 3, 4, 6, 7),
          num_heads=2, tolerance=1e-3)
    c.add("qattention_mask", "QAttention", [x, w, rand(12), scale(0.02), scale(0.01), np.array([2, 3], I32), zero(120), np.array(3, I8)],
          constants=(1, 2, 3, 4, 6, 7), num_heads=2, unidirectional=1, tolerance=1e-3)


def experts(c):
    def moe(name, tokens, count, hidden, inner, width=1, biases=True, **attributes):
        x, router = rand(tokens, hidden), rand(tokens, count)
        inputs = [x, router, rand(count, width * inner, hidden), rand(count, width * inner) if biases else None, rand(count, hidden, inner),
                  rand(count, hidden) if biases else None]
        c.add(name, "MoE", inputs, constants=(2, 3, 4, 5), tolerance=1e-3, **attributes)

    moe("moe_relu", 5, 4, 8, 6, k=2, activation_type="relu")
    moe("moe_one", 1, 3, 7, 5, k=1, activation_type="silu", biases=False)
    moe("moe_normalized", 5, 4, 8, 6, k=2, activation_type="gelu", normalize_routing_weights=1)
    moe("moe_swiglu", 5, 4, 8, 6, width=2, k=2, activation_type="swiglu", swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0,
        swiglu_limit=7.0, normalize_routing_weights=1)


def quantized_experts(c):
    def qmoe(name, bits, block, zero, tokens=5, count=4, hidden=32, inner=32, **attributes):
        def weight(rows, columns):
            blocks = columns // block if block else 0
            scale = np.abs(rand(count, rows, blocks) if block else rand(count, rows)) * F32(0.02)
            packed = (count, rows, -(-blocks * bits // 8)) if block else (count, rows * bits // 8)
            return [ints(256, count, rows, columns * bits // 8, dtype=U8), scale], ints(256, *packed, dtype=U8) if zero else None

        (first, zero1), (second, zero2) = weight(2 * inner, hidden), weight(hidden, inner)
        inputs = [rand(tokens, hidden), rand(tokens, count), *first, rand(count, 2 * inner), *second, rand(count, hidden), None, None, None, zero1, zero2]
        c.add(name, "QMoE", inputs, constants=tuple(range(2, 13)), tolerance=2e-3, expert_weight_bits=bits, activation_type="swiglu", swiglu_fusion=1,
              activation_alpha=1.702, activation_beta=1.0, swiglu_limit=7.0, k=2, **({"block_size": block} if block else {}), **attributes)

    qmoe("qmoe4", 4, 0, False, normalize_routing_weights=1)
    qmoe("qmoe8", 8, 0, False, normalize_routing_weights=1)
    qmoe("qmoe4_blocks", 4, 16, False, normalize_routing_weights=1)
    qmoe("qmoe4_zero", 4, 16, True, normalize_routing_weights=1)
    qmoe("qmoe8_one", 8, 0, True, tokens=1, normalize_routing_weights=1)


def make(out, only):
    cases = Cases(out, only)
    for group in (activations, normalizations, rotary, attention, group_query, quantized, quantized_tensors, experts, quantized_experts):
        group(cases)
    for line in cases.skipped:
        print(f"not run by ONNX Runtime: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(onnx_cases.main(__doc__, make, onnx_cases.expect_all))
