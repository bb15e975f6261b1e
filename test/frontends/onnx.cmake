# Imports ONNX test folders and runs them in the reference interpreter; one line a case.
add_executable(onnx_interpret onnx_interpret.cpp)
target_link_libraries(onnx_interpret PRIVATE LLMOptFrontendOnnx LLMOptInterpreter)
llmopt_use_mlir(onnx_interpret)
# The shared precompiled header is made with -fPIC; programs default to -fPIE, which the compiler calls a mismatch.
set_target_properties(onnx_interpret PROPERTIES POSITION_INDEPENDENT_CODE OFF RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
target_compile_options(onnx_interpret PRIVATE -fPIC)
