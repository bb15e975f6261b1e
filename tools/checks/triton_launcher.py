"""Loads and launches kernels by Triton's launch metadata (KERNEL.json beside KERNEL.cubin, .ptx or .so) with nothing but the driver's C interface, as a
program does that knows Triton's files and not llmopt. LLMOPT_LIBCUDA names another driver, such as the stand-in.

parameters(cubin, kernel) gives the places and sizes of a kernel's parameters by the cubin itself.
"""
import ctypes
import json
import os
import struct


def parameters(path, kernel):
    """[(offset, size)] from section .nv.info.<kernel>."""
    with open(path, "rb") as file:
        data = file.read()
    sections, = struct.unpack_from("<Q", data, 0x28)
    count, names = struct.unpack_from("<HH", data, 0x3C)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, sections + 64 * i) for i in range(count)]
    name = lambda header: data[headers[names][4] + header[0]:].split(b"\0", 1)[0].decode()
    found = {}
    for header in headers:
        if name(header) != ".nv.info." + kernel:
            continue
        place, end = header[4], header[4] + header[5]
        while place < end:
            form, attribute, size = struct.unpack_from("<BBH", data, place)
            place += 4
            if form == 4:
                if attribute == 0x17:
                    _, ordinal, offset, word = struct.unpack_from("<IHHI", data, place)
                    found[ordinal] = (offset, word >> 18)
                place += size
    return [found[i] for i in sorted(found)]


class Driver:
    def __init__(self):
        self.driver = ctypes.CDLL(os.environ.get("LLMOPT_LIBCUDA", "libcuda.so.1"))
        self.modules = {}
        self.call("cuInit", ctypes.c_uint(0))
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuDeviceGet", ctypes.byref(device), ctypes.c_int(0))
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        self.stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(self.stream), ctypes.c_uint(0))

    def call(self, name, *arguments):
        code = getattr(self.driver, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.driver.cuGetErrorString(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {code} {(text.value or b'').decode()}")

    def module(self, image):
        """Loaded once, however many kernels it has."""
        if image not in self.modules:
            self.modules[image] = ctypes.c_void_p()
            self.call("cuModuleLoadData", ctypes.byref(self.modules[image]), image)
        return self.modules[image]

    def upload(self, content):
        """Bytes to memory of their own."""
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(len(content)))
        self.copy(pointer.value, content)
        return pointer

    def copy(self, address, content):
        self.call("cuMemcpyHtoDAsync_v2", ctypes.c_uint64(address), ctypes.c_char_p(content), ctypes.c_size_t(len(content)), self.stream)
        self.call("cuStreamSynchronize", self.stream)

    def tensor_map(self, address, sizes, stride, box, element=6):
        """The 128 bytes of a map of a matrix with the 128-byte swizzle; sizes and box: columns, rows; element: cuda.h's number of its type, 6 for f16."""
        constants = [ctypes.c_int(n) for n in (0, 3, 2, 0)]  # no interleaving, the swizzle, L2 promotion to 128 bytes, zeros outside
        space = ctypes.create_string_buffer(192)  # the map begins at a multiple of 64 bytes
        place = (ctypes.addressof(space) + 63) // 64 * 64
        self.call("cuTensorMapEncodeTiled", ctypes.c_void_p(place), ctypes.c_int(element), ctypes.c_uint(2), ctypes.c_uint64(address), (ctypes.c_uint64 * 2)(*sizes),
                  (ctypes.c_uint64 * 1)(stride), (ctypes.c_uint32 * 2)(*box), (ctypes.c_uint32 * 2)(1, 1), *constants)
        return ctypes.string_at(place, 128)

    def download(self, pointer, count):
        content = ctypes.create_string_buffer(count)
        self.call("cuMemcpyDtoHAsync_v2", content, pointer, ctypes.c_size_t(count), self.stream)
        self.call("cuStreamSynchronize", self.stream)
        return content.raw


class Kernel:
    def __init__(self, driver, path):
        """`path`: without ending."""
        self.driver = driver
        with open(path + ".json") as file:
            self.metadata = json.load(file)
        ending = next(e for e in (".cubin", ".ptx", ".so") if os.path.exists(path + e))
        with open(path + ending, "rb") as file:
            self.image = file.read() + b"\0"  # PTX ends with a zero
        self.function = ctypes.c_void_p()
        driver.call("cuModuleGetFunction", ctypes.byref(self.function), driver.module(self.image), self.metadata["name"].encode())
        if self.metadata["shared"] > 48 << 10:
            driver.call("cuFuncSetAttribute", self.function, ctypes.c_int(8), ctypes.c_int(self.metadata["shared"]))

    def launch(self, grid, arguments):
        """`arguments`: ctypes values, in the order of the signature."""
        self.start(grid, arguments)
        self.driver.call("cuStreamSynchronize", self.driver.stream)

    def start(self, grid, arguments):
        """Without waiting for it."""
        assert self.metadata["num_ctas"] == 1 and self.metadata["global_scratch_size"] == 0
        addresses = (ctypes.c_void_p * len(arguments))(*[ctypes.addressof(a) for a in arguments])
        threads = 32 * self.metadata["num_warps"]
        sizes = [ctypes.c_uint(n) for n in (*grid, threads, 1, 1, self.metadata["shared"])]
        self.driver.call("cuLaunchKernel", self.function, *sizes, self.driver.stream, addresses, None)
