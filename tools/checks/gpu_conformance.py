"""Primitives of the CUDA kernels on a GPU against the emulator's answers.

    prepare(folder, clang, ptxas)   on any machine: images of test/codegen/cuda/conformance.cu, inputs, and the answers of the emulator
    check(folder, driver)           yields (name, worst difference, allowed difference, problem) for each group; on a GPU, or with the stand-in driver

Products round in another order on tensor cores, approximations differ in the last bits; everything else must be equal.
"""
import glob
import json
import os
import random
import struct
import subprocess
import sys

from triton_launcher import Driver, Kernel

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
KERNELS, SOURCE = os.path.join(ROOT, "codegen", "CUDA", "kernels"), os.path.join(ROOT, "test", "codegen", "cuda", "conformance.cu")
# Host images keep matrices in thread-local memory, of which the C library gives loaded libraries little.
HOST_IMAGES = {"GLIBC_TUNABLES": "glibc.rtld.optional_static_tls=1048576"}
# Name: threads, shared bytes, kind of input, its bytes, output bytes, output format (f: float, I: word), allowed relative difference.
GROUPS = {
    "conversions": (128, 0, "f32", 1024, 5120, "I", 0),
    "approximations": (128, 0, "f32", 512, 2560, "f", 2e-3),
    "lanes": (32, 0, "bits", 384, 768, "I", 0),
    "mma_bf16": (32, 1024, "bf16", 768, 1024, "mma", 1e-5),
    "mma_f16": (32, 1024, "f16", 768, 1024, "mma", 1e-5),
    "mma_tf32": (32, 1024, "f32", 768, 1024, "mma", 1e-5),
    "mma_e4m3": (32, 1024, "e4m3", 768, 1024, "mma", 1e-3),
    "mma_i8": (32, 1024, "bits", 768, 1024, "I", 0),
    "mma_u8i8": (32, 1024, "bits", 768, 1024, "I", 0),
    "copies": (128, 4112, "bits", 2048, 2056, "I", 0),
    "wgmma_bf16": (128, 128 * 128 + 16, "bf16", 128 * 128, 64 * 64 * 4, "f", 1e-5),
    "wgmma_f16": (128, 192 * 128 + 16, "f16", 192 * 128, 64 * 128 * 4, "f", 1e-5),
    "wgmma_e4m3": (128, 128 * 128 + 16, "e4m3", 128 * 128, 64 * 64 * 4, "f", 1e-3),
    "wgmma_i8": (128, 128 * 128 + 16, "bits", 128 * 128, 64 * 64 * 4, "I", 0),
    "wgmma_u8i8": (128, 128 * 128 + 16, "bits", 128 * 128, 64 * 64 * 4, "I", 0),
    "wgmma_transposed_bf16": (128, 2048 + 16, "bf16", 4096, 2 * 64 * 64 * 4, "f", 1e-5),
    "wgmma_transposed_f16": (128, 2048 + 16, "f16", 4096, 2 * 64 * 64 * 4, "f", 1e-5),
    "wgmma_registers_bf16": (128, 8192, "bf16", 2048 + 8192, 64 * 64 * 4, "f", 1e-5),
    "wgmma_registers_f16": (128, 8192, "f16", 2048 + 8192, 64 * 64 * 4, "f", 1e-5),
    "tensor_map": (128, 8192 + 16, "map", 128 + 40 * 176, 8192, "I", 0),
}


def numbers(kind, count, generator):
    """Bytes of random numbers of a kind; of small floats, those between about 1/16 and 2."""
    if kind in ("bits", "map"):
        return generator.randbytes(count)
    if kind == "f32":
        return b"".join(struct.pack("<f", generator.uniform(-4, 4)) for _ in range(count // 4))
    if kind == "bf16":
        return b"".join(struct.pack("<f", generator.uniform(-2, 2))[2:] for _ in range(count // 2))
    if kind == "f16":
        return b"".join(struct.pack("<e", generator.uniform(-2, 2)) for _ in range(count // 2))
    return bytes(generator.choice((0, 128)) | generator.randrange(3 << 3, 8 << 3) for _ in range(count))


def launch(driver, folder, name, content):
    kernel = Kernel(driver, os.path.join(folder, "conform_" + name))
    size = GROUPS[name][4]
    given, result = driver.upload(content), driver.upload(b"\xee" * size)
    if GROUPS[name][2] == "map":  # of the 40 rows of 80 numbers behind it, 176 bytes apart
        given = driver.upload(driver.tensor_map(given.value + 128, (80, 40), 176, (64, 32)) + content[128:])
    kernel.launch((1, 1, 1), [given, result])
    return driver.download(result, size)


def prepare(folder, clang, ptxas=None, architecture="sm_90a"):
    """A cubin with ptxas, else PTX; with `ptxas` "emulate" host images, for the stand-in driver. The answers come from host images in any case."""
    os.makedirs(folder, exist_ok=True)
    host = os.path.join(folder, "host")
    os.makedirs(host, exist_ok=True)
    stem = os.path.join(folder, "conformance")
    flags = ["-std=c++17", "-I", KERNELS, SOURCE, "-w"]
    subprocess.run([clang, "-x", "c++", "-O1", "-fPIC", "-shared", "-DLLMOPT_EMULATE", "-fno-strict-aliasing", *flags, "-o", stem + ".so"], check=True)
    image = stem + ".so"
    if ptxas != "emulate":
        image = stem + ".ptx"
        subprocess.run([clang, "-x", "cuda", "--cuda-device-only", "--cuda-gpu-arch=" + architecture, "-nocudainc", "-nocudalib", "-O3", "-fms-extensions",
                        "--cuda-feature=+ptx84", "-Wno-unknown-cuda-version", "-S", *flags, "-o", image], check=True)
        if ptxas:
            subprocess.run([ptxas, "-arch=" + architecture, image, "-o", stem + ".cubin"], check=True)
            image = stem + ".cubin"
    generator = random.Random(1)
    for name, (threads, shared, kind, given, *_) in GROUPS.items():
        metadata = {"name": "conform_" + name, "num_warps": threads // 32, "num_ctas": 1, "shared": shared, "global_scratch_size": 0}
        for place, file in ((folder, image), (host, stem + ".so")):
            base = os.path.join(place, "conform_" + name)
            with open(base + ".json", "w") as out:
                json.dump(metadata, out)
            ending = os.path.splitext(file)[1]
            if os.path.lexists(base + ending):
                os.remove(base + ending)
            os.link(file, base + ending)
        with open(os.path.join(folder, name + ".in"), "wb") as out:
            out.write(numbers(kind, given, generator))
    subprocess.run([sys.executable, os.path.abspath(__file__), folder, host], check=True, env=dict(os.environ, **HOST_IMAGES))


def answer(folder, host):
    """The emulator's answers, through the stand-in driver in LLMOPT_LIBCUDA."""
    driver = Driver()
    for name in GROUPS:
        with open(os.path.join(folder, name + ".in"), "rb") as given, open(os.path.join(folder, name + ".out"), "wb") as out:
            out.write(launch(driver, host, name, given.read()))


def difference(got, wanted, form):
    """The worst relative difference of floats; 0 or infinity for words."""
    worst = 0.0
    words = [struct.unpack(f"<{len(content) // 4}I", content) for content in (got, wanted)]
    for i, (a, b) in enumerate(zip(*words)):
        if a == b:
            continue
        if form == "I" or (form == "mma" and i % 8 >= 4):  # fragments beside the sums
            return float("inf")
        x, y = (struct.unpack("<f", struct.pack("<I", word))[0] for word in (a, b))
        worst = max(worst, abs(x - y) / max(1.0, abs(y))) if x == x and y == y else float("inf")
    return worst


def check(folder, driver):
    for name, (*_, form, allowed) in GROUPS.items():
        if not glob.glob(os.path.join(folder, f"conform_{name}.*[!n]")):
            continue
        with open(os.path.join(folder, name + ".in"), "rb") as given, open(os.path.join(folder, name + ".out"), "rb") as wanted:
            try:
                yield name, difference(launch(driver, folder, name, given.read()), wanted.read(), form), allowed, ""
            except RuntimeError as error:  # the driver's; the context may be lost
                yield name, float("inf"), allowed, str(error)


if __name__ == "__main__":
    answer(*sys.argv[1:3])
