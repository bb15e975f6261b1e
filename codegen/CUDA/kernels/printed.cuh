//===- printed.cuh - what printed kernels are written in ------------------===//
//
// Part of llmopt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A printed kernel has no barrier and shares nothing: each thread takes work units of its own, so that on the host the threads run
// one after the other.
//
//===----------------------------------------------------------------------===//
#pragma once
#include "printed_values.cuh"

//===----------------------------------------------------------------------===//
// Threads of the grid
//===----------------------------------------------------------------------===//

#ifdef LLMOPT_EMULATE

struct llmopt_Launch {
  unsigned grid[3], block[3], sharedBytes;
};
static thread_local u64 llmopt_thread, llmopt_threads;
DEVICE u64 gridThread() { return llmopt_thread; }
DEVICE u64 gridThreads() { return llmopt_threads; }

template <int... I>
struct Numbers {};
template <int N, int... I>
struct NumbersTo : NumbersTo<N - 1, N - 1, I...> {};
template <int... I>
struct NumbersTo<0, I...> {
  using Type = Numbers<I...>;
};
template <typename... Parameters, int... I>
static void llmopt_call(void (*kernel)(Parameters...), void **parameters, Numbers<I...>) {
  kernel(*static_cast<Parameters *>(parameters[I])...);
}
template <typename... Parameters>
static void llmopt_call(void (*kernel)(Parameters...), void **parameters) {
  llmopt_call(kernel, parameters, typename NumbersTo<int(sizeof...(Parameters))>::Type());
}
template <typename... Parameters>
static const unsigned *llmopt_sizes(void (*)(Parameters...)) {
  static const unsigned sizes[] = {unsigned(sizeof(Parameters))..., 0};
  return sizes;
}

/// The host's way in: bytes of each parameter (0 behind the last), and all threads of all blocks.
#define LLMOPT_PRINTED_EXPORT(name)                                                                                    \
  extern "C" const unsigned *name##_sizes() { return llmopt_sizes(name); }                                             \
  extern "C" const char *name##_launch(void **parameters, const llmopt_Launch *launch) {                               \
    llmopt_threads = u64(launch->grid[0]) * launch->block[0];                                                          \
    for (llmopt_thread = 0; llmopt_thread < llmopt_threads; ++llmopt_thread)                                           \
      llmopt_call(name, parameters);                                                                                   \
    return nullptr;                                                                                                    \
  }

#else

#if defined(__clang__) && !defined(__CUDACC_RTC__)
DEVICE u64 gridThread() {
  return u64(__nvvm_read_ptx_sreg_ctaid_x()) * __nvvm_read_ptx_sreg_ntid_x() + __nvvm_read_ptx_sreg_tid_x();
}
DEVICE u64 gridThreads() { return u64(__nvvm_read_ptx_sreg_nctaid_x()) * __nvvm_read_ptx_sreg_ntid_x(); }
#else
DEVICE u64 gridThread() { return u64(blockIdx.x) * blockDim.x + threadIdx.x; }
DEVICE u64 gridThreads() { return u64(gridDim.x) * blockDim.x; }
#endif
#define LLMOPT_PRINTED_EXPORT(name)

#endif
