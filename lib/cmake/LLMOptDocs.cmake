# The reference of operations and passes, generated from TableGen into <build>/docs: cmake --build build --target llmopt-docs

# llmopt_reference(FILE td generator...): one page.
function(llmopt_reference file td)
  set(_output ${CMAKE_BINARY_DIR}/docs/${file})
  file(GLOB_RECURSE _sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/include/llmopt/*.td)
  add_custom_command(
    OUTPUT ${_output}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/docs
    COMMAND ${MLIR_TABLEGEN_EXE} ${ARGN} -I ${CMAKE_SOURCE_DIR}/include -I ${MLIR_INCLUDE_DIRS} ${CMAKE_SOURCE_DIR}/include/llmopt/${td} -o ${_output}
    DEPENDS ${_sources}
    VERBATIM)
  set_property(GLOBAL APPEND PROPERTY LLMOPT_REFERENCE_PAGES ${_output})
endfunction()

llmopt_reference(llm.md dialects/LLM/LLM.td -gen-dialect-doc -dialect=llm)
llmopt_reference(exec.md dialects/Exec/Exec.td -gen-dialect-doc -dialect=exec)
llmopt_reference(strategy.md dialects/Strategy/Strategy.td -gen-dialect-doc -dialect=strategy)
llmopt_reference(passes.md passes/Passes.td -gen-pass-doc)

get_property(_pages GLOBAL PROPERTY LLMOPT_REFERENCE_PAGES)
add_custom_target(llmopt-docs DEPENDS ${_pages})
