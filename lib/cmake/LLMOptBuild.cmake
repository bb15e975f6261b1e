# Compiler flags and the two wrappers every room uses: add_llmopt_library and add_llmopt_tool.

include_directories(${CMAKE_SOURCE_DIR}/include ${CMAKE_BINARY_DIR}/include ${CMAKE_SOURCE_DIR})

# One spelling for libraries and programs, so that all can use one precompiled header.
add_compile_options(-fPIC)
add_compile_options(-Wall -Wextra -Wno-unused-parameter -fvisibility=hidden -fvisibility-inlines-hidden)
add_link_options(-fuse-ld=lld)
if(LLMOPT_SANITIZE)
  list(JOIN LLMOPT_SANITIZE "," _sanitizers)
  add_compile_options(-fsanitize=${_sanitizers} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=${_sanitizers})
endif()

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM)
  # The precompiled header is part of the hash; without the sloppiness ccache refuses to cache its users.
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
  add_compile_options($<$<COMPILE_LANGUAGE:CXX>:-fpch-instantiate-templates> "$<$<COMPILE_LANGUAGE:CXX>:SHELL:-Xclang -fno-pch-timestamp>")
endif()

# What the wrappers below have in common: their arguments DEPENDS and USES_MLIR.
macro(llmopt_apply target)
  if(ARG_DEPENDS)
    add_dependencies(${target} ${ARG_DEPENDS})
  endif()
  if(ARG_USES_MLIR)
    llmopt_use_mlir(${target})
  endif()
endmacro()

# add_llmopt_library(NAME sources... [USES_MLIR] [PLUGIN_API] [INSTALL runtime|compiler] [LINK_LIBS libs...] [DEPENDS targets...])
#   USES_MLIR  sources include MLIR headers: shared precompiled header, no exceptions, warnings of LLVM's headers off
#   PLUGIN_API  plugins may use its symbols, which they find in the program that loads them
#   INSTALL  the exported component that carries the library (see LLMOptInstall.cmake)
function(add_llmopt_library name)
  cmake_parse_arguments(ARG "USES_MLIR;PLUGIN_API" "INSTALL" "LINK_LIBS;DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PUBLIC ${ARG_LINK_LIBS})
  llmopt_apply(${name})
  if(ARG_PLUGIN_API)
    target_compile_options(${name} PRIVATE -fvisibility=default)
  endif()
  if(ARG_INSTALL)
    set_property(GLOBAL APPEND PROPERTY LLMOPT_INSTALL_${ARG_INSTALL} ${name})
  endif()
endfunction()

# add_llmopt_tool(NAME sources... [USES_MLIR] [LOADS_PLUGINS] [LINK_LIBS libs...]): a program in build/bin that is installed.
function(add_llmopt_tool name)
  cmake_parse_arguments(ARG "USES_MLIR;LOADS_PLUGINS" "" "LINK_LIBS;DEPENDS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS})
  llmopt_apply(${name})
  if(ARG_LOADS_PLUGINS)
    set_target_properties(${name} PROPERTIES ENABLE_EXPORTS ON)
  endif()
  install(TARGETS ${name} RUNTIME DESTINATION bin)
endfunction()

# add_llmopt_unittest(NAME sources... [USES_MLIR] LINK_LIBS libs...): a GoogleTest program registered with ctest.
function(add_llmopt_unittest name)
  cmake_parse_arguments(ARG "USES_MLIR" "" "LINK_LIBS;DEPENDS" ${ARGN})
  find_package(GTest REQUIRED)
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_LINK_LIBS} GTest::gtest GTest::gtest_main)
  llmopt_apply(${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/test/bin)
  add_test(NAME ${name} COMMAND ${name})
endfunction()
