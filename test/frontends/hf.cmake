# Imports a folder and runs it in the reference interpreter; test/integration/hf_architectures.py compares its output.
add_executable(hf_interpret hf_interpret.cpp)
target_link_libraries(hf_interpret PRIVATE LLMOptFrontendHF LLMOptInterpreter)
llmopt_use_mlir(hf_interpret)
# The shared precompiled header is made with -fPIC; programs default to -fPIE, which the compiler calls a mismatch.
set_target_properties(hf_interpret PROPERTIES POSITION_INDEPENDENT_CODE OFF RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
target_compile_options(hf_interpret PRIVATE -fPIC)
