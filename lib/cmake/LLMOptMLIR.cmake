# LLVM, MLIR and LLD 22, and what a target needs to use them.

find_package(MLIR 22.1 REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/mlir)
find_package(LLD REQUIRED CONFIG HINTS /usr/lib/llvm-22/lib/cmake/lld)
list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(TableGen)
include(AddLLVM)
include(AddMLIR)
# TableGen looks at the directory property, not at targets.
include_directories(SYSTEM ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})

add_library(llmopt_mlir_headers INTERFACE)
target_include_directories(llmopt_mlir_headers SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
separate_arguments(_llvm_definitions NATIVE_COMMAND ${LLVM_DEFINITIONS})
target_compile_definitions(llmopt_mlir_headers INTERFACE ${_llvm_definitions})

# One precompiled header of the MLIR core for all users.
file(WRITE ${CMAKE_BINARY_DIR}/llmopt_pch.cpp "")
add_library(llmopt_mlir_pch OBJECT ${CMAKE_BINARY_DIR}/llmopt_pch.cpp)
target_link_libraries(llmopt_mlir_pch PRIVATE llmopt_mlir_headers)
target_precompile_headers(llmopt_mlir_pch PRIVATE
  <algorithm> <cstdint> <functional> <map> <memory> <optional> <string> <string_view> <vector>
  <mlir/IR/Builders.h> <mlir/IR/BuiltinOps.h> <mlir/IR/BuiltinTypes.h> <mlir/IR/BuiltinAttributes.h>
  <mlir/IR/OpDefinition.h> <mlir/IR/OpImplementation.h> <mlir/IR/PatternMatch.h> <mlir/IR/Verifier.h>
  <mlir/Interfaces/SideEffectInterfaces.h> <mlir/Interfaces/InferTypeOpInterface.h>
  <mlir/Dialect/Func/IR/FuncOps.h> <mlir/Pass/Pass.h> <llvm/ADT/StringSwitch.h> <llvm/ADT/TypeSwitch.h>)

function(llmopt_use_mlir name)
  target_link_libraries(${name} PUBLIC llmopt_mlir_headers MLIR LLVM)
  target_precompile_headers(${name} REUSE_FROM llmopt_mlir_pch)
  if(TARGET llmopt_dialect_headers)
    add_dependencies(${name} llmopt_dialect_headers)
  endif()
endfunction()
