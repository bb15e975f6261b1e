# Imports ONNX test folders and runs them in the reference interpreter; one line a case.
add_executable(onnx_interpret onnx_interpret.cpp)
target_link_libraries(onnx_interpret PRIVATE LLMOptFrontendOnnx LLMOptInterpreter)
llmopt_use_mlir(onnx_interpret)
set_target_properties(onnx_interpret PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)

set(_unit ${CMAKE_SOURCE_DIR}/test/unit)
add_llmopt_unittest(OnnxTests USES_MLIR ${_unit}/OnnxFileTest.cpp ${_unit}/OnnxGraphTest.cpp ${_unit}/OnnxImportTest.cpp
  LINK_LIBS LLMOptFrontendOnnx)
target_include_directories(OnnxTests PRIVATE ${_unit})
set_tests_properties(OnnxTests PROPERTIES WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
