# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Exporters that want other packages than the other scripts: each is run by an interpreter of its own.

    python onnx_exporters.py optimum FOLDER OUT.onnx          a decoder with a cache; pip install optimum-onnx
    python onnx_exporters.py genai FOLDER OUT.onnx            the same by ONNX Runtime GenAI's model builder; pip install onnxruntime-genai
    python onnx_exporters.py tf2onnx WEIGHTS.npz OUT.onnx     onnx_same_block.py's layer in Keras; pip install tensorflow-cpu tf2onnx
    python onnx_exporters.py multihead WEIGHTS.npz OUT.onnx   the same with Keras' own attention layer, whose products are einsums
    python onnx_exporters.py jax2onnx WEIGHTS.npz OUT.onnx    the same in JAX; pip install jax2onnx flax

Tests find the interpreters in LLMOPT_OPTIMUM_PYTHON, LLMOPT_GENAI_PYTHON, LLMOPT_TF2ONNX_PYTHON and LLMOPT_JAX2ONNX_PYTHON.
"""
import os
import shutil
import subprocess
import sys
import tempfile

INTERPRETERS = {"multihead": "TF2ONNX"}


def run(exporter, source, path):
    """None, or why it could not be done."""
    variable = f"LLMOPT_{INTERPRETERS.get(exporter, exporter.upper())}_PYTHON"
    python = os.environ.get(variable)
    if not python:
        return f"{variable} names no interpreter"
    done = subprocess.run([python, os.path.abspath(__file__), exporter, source, path], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    return None if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


def optimum(folder, path):
    from optimum.exporters.onnx import main_export

    with tempfile.TemporaryDirectory() as out:
        main_export(folder, output=out, task="text-generation-with-past", device="cpu", do_validation=False)
        shutil.copy(os.path.join(out, "model.onnx"), path)


def genai(folder, path):
    import json

    import onnx
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    with tempfile.TemporaryDirectory() as temporary:
        source, out = (os.path.join(temporary, name) for name in ("source", "out"))
        shutil.copytree(folder, source)
        with open(os.path.join(source, "config.json")) as f:
            words = Tokenizer(models.WordLevel({f"t{i}": i for i in range(json.load(f)["vocab_size"])}, unk_token="t0"))
        PreTrainedTokenizerFast(tokenizer_object=words, pad_token="t0", bos_token="t1", eos_token="t2").save_pretrained(source)  # it insists on one
        subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", out, "-p", "fp32", "-e", "cpu",
                        "-c", os.path.join(temporary, "cache")], check=True, stdout=subprocess.DEVNULL)
        onnx.save(onnx.load(os.path.join(out, "model.onnx")), path)  # its weights are in a file beside it


def tf2onnx(weights, path, multihead=False):
    import keras
    import numpy
    import tensorflow as tf
    from tf2onnx.convert import from_function

    w = numpy.load(weights)
    width, inner, heads = w["i.weight"].shape[0], w["i.weight"].shape[1], int(w["heads"])
    size = width // heads
    layers = {}

    def named(name, layer):
        layers[name] = layer
        return layer

    class Attention(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.parts = [named(name, keras.layers.Dense(width)) for name in "qkvo"]

        def call(self, x):
            batch, (q, k, v, o) = tf.shape(x)[0], self.parts
            q, k, v = (tf.transpose(tf.reshape(part(x), (batch, -1, heads, size)), (0, 2, 1, 3)) for part in (q, k, v))
            mixed = tf.matmul(tf.nn.softmax(tf.matmul(q, k, transpose_b=True) / tf.math.sqrt(tf.cast(size, tf.float32)), -1), v)
            return o(tf.reshape(tf.transpose(mixed, (0, 2, 1, 3)), (batch, -1, width)))

    def gelu(x):
        return 0.5 * x * (1.0 + tf.math.erf(x / tf.cast(tf.sqrt(2.0), x.dtype)))

    def norm(name):
        return named(name, keras.layers.LayerNormalization(epsilon=1e-12))

    x = keras.Input((None, width), name="x")
    if multihead:
        own = keras.layers.MultiHeadAttention(heads, size)
        mixed = own(x, x)
    else:
        mixed = Attention()(x)
    h = norm("a")(keras.layers.Add()([mixed, x]))
    m = named("f", keras.layers.Dense(width))(named("i", keras.layers.Dense(inner, activation=gelu))(h))
    model = keras.Model(x, norm("b")(keras.layers.Add()([m, h])))
    for name, layer in layers.items():
        layer.set_weights([w[f"{name}.weight"], w[f"{name}.bias"]])
    if multihead:
        split = [w[f"{name}.{part}"].reshape(*shape, heads, size) for name in "qkv" for part, shape in (("weight", (width,)), ("bias", ()))]
        own.set_weights([*split, w["o.weight"].reshape(heads, size, width), w["o.bias"]])
    signature = [tf.TensorSpec((None, None, width), tf.float32, name="x")]
    from_function(tf.function(lambda x: model(x), input_signature=signature), input_signature=signature, opset=17, output_path=path)


def multihead(weights, path):
    tf2onnx(weights, path, multihead=True)


def jax2onnx(weights, path):
    import jax
    import jax.numpy as jnp
    import numpy
    import onnx
    from flax import nnx
    from jax2onnx import to_onnx

    w = numpy.load(weights)
    width, heads = w["q.weight"].shape[0], int(w["heads"])

    class Block(nnx.Module):
        def __init__(self):
            rngs = nnx.Rngs(0)
            for name in "qkvoif":
                setattr(self, name, nnx.Linear(*w[f"{name}.weight"].shape, rngs=rngs))
                getattr(self, name).kernel[...] = w[f"{name}.weight"]
                getattr(self, name).bias[...] = w[f"{name}.bias"]
            for name in "ab":
                setattr(self, name, nnx.LayerNorm(width, epsilon=1e-12, rngs=rngs))
                getattr(self, name).scale[...] = w[f"{name}.weight"]
                getattr(self, name).bias[...] = w[f"{name}.bias"]

        def __call__(self, x):
            batch, tokens, _ = x.shape
            q, k, v = (part(x).reshape(batch, tokens, heads, width // heads) for part in (self.q, self.k, self.v))
            scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / numpy.sqrt(width // heads).astype(numpy.float32)
            mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v).reshape(batch, tokens, width)
            h = self.a(self.o(mixed) + x)
            return self.b(self.f(jax.nn.gelu(self.i(h), approximate=False)) + h)

    onnx.save(to_onnx(Block(), [("batch", "tokens", width)], model_name="block"), path)


if __name__ == "__main__":
    {"optimum": optimum, "genai": genai, "tf2onnx": tf2onnx, "multihead": multihead, "jax2onnx": jax2onnx}[sys.argv[1]](*sys.argv[2:])
