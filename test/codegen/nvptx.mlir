// Kernels to PTX by LLVM alone: no CUDA needed.
// RUN: llmopt-compile %s --target sm_90 --cuda-compiler=llvm --emit=ptx -q -o %t.ptx
// RUN: FileCheck %s < %t.ptx
// RUN: FileCheck %s --check-prefix=NONE < %t.ptx
// RUN: llmopt-compile %s --target sm_100 --cuda-compiler=llvm --emit=ptx -q -o %t.100.ptx
// RUN: FileCheck %s --check-prefix=BLACKWELL < %t.100.ptx
// RUN: llmopt-compile %s --target sm_89 --cuda-compiler=llvm --emit=ptx -q -o %t.89.ptx
// RUN: FileCheck %s --check-prefix=ADA < %t.89.ptx
// REQUIRES: llmopt-compile

// ADA-NOT: griddepcontrol

// The ABI's tables and the function around the work unit are gone.
// NONE-NOT: .local
// NONE-NOT: call
// NONE-NOT: .extern
// NONE-NOT: fma.rn
// BLACKWELL: .target sm_100

// A reduction: a thread each row; parameters are global addresses.
// CHECK: .version 8.0
// CHECK: .target sm_90{{$}}
// CHECK-LABEL: .visible .entry rows_
// CHECK: .param .u64 .ptr
// CHECK: .reqntid 128
// CHECK-NOT: ld.global
// CHECK: griddepcontrol.wait;
// CHECK-NEXT: griddepcontrol.launch_dependents;
// CHECK: %ctaid.x;
// CHECK: %tid.x;
// CHECK: ld.global.b32
// CHECK: add.rn.f32
// CHECK: sqrt.rn.f32
// CHECK: st.global.b32

// Pointwise: a thread each element.
// CHECK-LABEL: .visible .entry loops_
// CHECK-NOT: ld.global
// CHECK: griddepcontrol.wait;
// CHECK: ld.global.b32
// CHECK: ld.global.b32
// CHECK-NEXT: mul.rn.f32
// CHECK-NEXT: add.rn.f32
// CHECK: st.global.b32
// CHECK: ret;
func.func @main(%x: tensor<?x40xf32> {llm.name = "x", llm.dims = ["rows", 40]}, %z: tensor<?x40xf32> {llm.name = "z", llm.dims = ["rows", 40]},
                %w: tensor<40xf32> {llm.name = "w"}) -> (tensor<?x40xf32> {llm.name = "y"}, tensor<?x40xf32> {llm.name = "n"}) {
  %p = llm.mul %x, %z : tensor<?x40xf32>, tensor<?x40xf32> -> tensor<?x40xf32>
  %y = llm.add %p, %x : tensor<?x40xf32>, tensor<?x40xf32> -> tensor<?x40xf32>
  %n = llm.rms_norm %z scale %w : tensor<40xf32> {epsilon = 1.0e-5 : f32} : tensor<?x40xf32> -> tensor<?x40xf32>
  return %y, %n : tensor<?x40xf32>, tensor<?x40xf32>
}
