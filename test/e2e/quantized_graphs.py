"""Small ONNX graphs with weights of 4 and 8 bits, and ONNX Runtime's answers to them."""
import os

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from harness import scratch

random = np.random.default_rng(5)


def witness(path):
    """ONNX Runtime as written: it otherwise rounds x to 8 bits where it joins DequantizeLinear and MatMul."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def finished(name, nodes, weights, depth, columns, kind=TensorProto.FLOAT):
    graph = helper.make_graph(nodes, name, [helper.make_tensor_value_info("x", kind, ["rows", depth])],
                              [helper.make_tensor_value_info("y", kind, ["rows", columns])], weights)
    path = scratch(name + ".onnx")
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)], ir_version=10), path)
    return path


def nbits(name, depth, columns, bits, block, zeros, kind=np.float32, gated=False, level=0):
    """y = x W^T, or silu(x W^T) * (x V^T); `bits` may be those of W and V."""
    blocks, nodes, weights = -(-depth // block), [], []
    for w, bits in zip("wv" if gated else "w", bits if isinstance(bits, tuple) else (bits, bits)):
        weights += [numpy_helper.from_array(random.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8), w),
                    numpy_helper.from_array(random.uniform(0.2, 2, (columns, blocks)).astype(kind) / kind(depth**0.5 * 2**bits), w + "_scale")]
        inputs = ["x", w, w + "_scale"]
        if zeros:
            weights.append(numpy_helper.from_array(random.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(np.uint8), w + "_zero"))
            inputs.append(w + "_zero")
        nodes.append(helper.make_node("MatMulNBits", inputs, ["x" + w if gated else "y"], domain="com.microsoft", K=depth, N=columns, bits=bits, block_size=block,
                                      accuracy_level=level))
    if gated:
        nodes += [helper.make_node("Sigmoid", ["xw"], ["s"]), helper.make_node("Mul", ["xw", "s"], ["silu"]), helper.make_node("Mul", ["silu", "xv"], ["y"])]
    return finished(name, nodes, weights, depth, columns, helper.np_dtype_to_tensor_dtype(np.dtype(kind)))


def dequantized(name, depth, columns, kind, block):
    """DequantizeLinear of [K, N] in blocks of K, or a scale for each column."""
    low, high = {"INT4": (-8, 8), "UINT4": (0, 16), "INT8": (-128, 128), "UINT8": (0, 256)}[kind]
    kind = getattr(TensorProto, kind)
    shape = (-(-depth // block), columns) if block else (columns,)
    weights = [helper.make_tensor("w", kind, (depth, columns), random.integers(low, high, depth * columns).tolist()),
               numpy_helper.from_array((random.uniform(0.2, 2, shape) / (depth**0.5 * (high - low))).astype(np.float32), "scale")]
    inputs = ["w", "scale"]
    if low == 0:
        weights.append(helper.make_tensor("zero", kind, shape, random.integers(0, high, int(np.prod(shape))).tolist()))
        inputs.append("zero")
    where = dict(axis=0, block_size=block) if block else dict(axis=1)
    return finished(name, [helper.make_node("DequantizeLinear", inputs, ["d"], **where), helper.make_node("MatMul", ["x", "d"], ["y"])], weights, depth, columns)


def plain(name, depth, columns):
    """A product without quantization, and its matrix [K, N]."""
    matrix = random.normal(0, 0.1, (depth, columns)).astype(np.float32)
    matrix[:64, 0] = 0  # a block of zeros
    return finished(name, [helper.make_node("MatMul", ["x", "w"], ["y"])], [numpy_helper.from_array(matrix, "w")], depth, columns), matrix


def rounded_in_blocks(matrix, bits):
    """As --dtype=int8 and int4 say: blocks of 32 of K, scales in f16, the largest magnitude at 127 or -8."""
    blocks = matrix.T.reshape(matrix.shape[1], -1, 32)
    high, low = blocks.max(2, keepdims=True), blocks.min(2, keepdims=True)
    scale = np.where(high > -low, high, low) / np.float32(-8) if bits == 4 else np.maximum(high, -low) / np.float32(127)
    scale = scale.astype(np.float16).astype(np.float32)
    codes = np.clip(np.round(blocks / np.where(scale == 0, 1, scale)), -8 if bits == 4 else -127, 7 if bits == 4 else 127)
    return (codes * scale).reshape(matrix.shape[::-1]).T


def save(folder, name, tensors):
    os.makedirs(folder, exist_ok=True)
    for i, (key, value) in enumerate(tensors):
        with open(os.path.join(folder, f"{name}_{i}.pb"), "wb") as file:
            file.write(numpy_helper.from_array(value, key).SerializeToString())


def layers():
    """(name, file, columns of x, its type)"""
    return [("four-bits", nbits("four-bits", 400, 331, 4, 32, True), 400, "f32"), ("four-bits-128", nbits("four-bits-128", 1024, 70, 4, 128, False), 1024, "f32"),
            ("odd-depth", nbits("odd-depth", 203, 70, 4, 16, True), 203, "f32"), ("eight-bits", nbits("eight-bits", 200, 70, 8, 32, True), 200, "f32"),
            ("half", nbits("half", 256, 70, 4, 64, True, np.float16), 256, "f16"), ("gate", nbits("gate", 200, 161, 4, 32, True, gated=True), 200, "f32"),
            ("half-gate", nbits("half-gate", 512, 130, 8, 32, False, np.float16, True), 512, "f16"), ("int4", dequantized("int4", 256, 70, "INT4", 32), 256, "f32"),
            ("uint4", dequantized("uint4", 1024, 300, "UINT4", 64), 1024, "f32"), ("int8", dequantized("int8", 256, 70, "INT8", 0), 256, "f32"),
            ("uint8", dequantized("uint8", 300, 37, "UINT8", 0), 300, "f32")]
