# Imports ONNX test folders and runs them in the reference interpreter; one line a case.
add_executable(onnx_interpret onnx_interpret.cpp)
target_link_libraries(onnx_interpret PRIVATE LLMOptFrontendOnnx LLMOptInterpreter)
llmopt_use_mlir(onnx_interpret)
# The shared precompiled header is made with -fPIC; programs default to -fPIE, which the compiler calls a mismatch.
set_target_properties(onnx_interpret PROPERTIES POSITION_INDEPENDENT_CODE OFF RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
target_compile_options(onnx_interpret PRIVATE -fPIC)

set(_unit ${CMAKE_SOURCE_DIR}/test/unit)
add_llmopt_unittest(OnnxTests USES_MLIR ${_unit}/OnnxFileTest.cpp ${_unit}/OnnxGraphTest.cpp ${_unit}/OnnxImportTest.cpp
  LINK_LIBS LLMOptFrontendOnnx)
target_include_directories(OnnxTests PRIVATE ${_unit})
set_target_properties(OnnxTests PROPERTIES POSITION_INDEPENDENT_CODE OFF)
target_compile_options(OnnxTests PRIVATE -fPIC)
set_tests_properties(OnnxTests PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
