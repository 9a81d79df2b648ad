# How wattle's folders become one library.

set(WTL_WARNINGS -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
  -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wformat=2 -Wundef)
if(WTL_WERROR)
  list(APPEND WTL_WARNINGS -Werror)
endif()

add_library(wtl_flags INTERFACE)
target_compile_options(wtl_flags INTERFACE ${WTL_WARNINGS} -fvisibility=hidden
  -ffp-contract=fast -fno-math-errno -fno-trapping-math)
target_compile_definitions(wtl_flags INTERFACE WTL_VERSION="${PROJECT_VERSION}")
if(NOT WTL_CLONES OR WTL_SANITIZE)
  target_compile_definitions(wtl_flags INTERFACE WTL_NO_CLONES)
endif()
if(WTL_SANITIZE)
  target_compile_options(wtl_flags INTERFACE -fsanitize=address,undefined
    -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(wtl_flags INTERFACE -fsanitize=address,undefined)
endif()
if(WTL_FUZZ)
  target_compile_options(wtl_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(WTL_COVERAGE)
  target_compile_options(wtl_flags INTERFACE --coverage)
  target_link_options(wtl_flags INTERFACE --coverage)
endif()

# wtl_folder(NAME USES folder... LIBRARIES lib...): the sources of one folder as an object
# library that sees its own private headers and the public headers of what it uses.
function(wtl_folder name)
  cmake_parse_arguments(ARG "" "" "USES;LIBRARIES" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "/kernels/native/") # wtl_native() compiles those
  add_library(wtl_${name} OBJECT ${sources})
  target_include_directories(wtl_${name}
    PUBLIC ${PROJECT_SOURCE_DIR}/${name}/include
    PRIVATE ${PROJECT_SOURCE_DIR}/${name})
  set_target_properties(wtl_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(wtl_${name} PRIVATE wtl_flags PUBLIC ${ARG_LIBRARIES})
  foreach(used IN LISTS ARG_USES)
    target_include_directories(wtl_${name} PUBLIC ${PROJECT_SOURCE_DIR}/${used}/include)
  endforeach()
endfunction()

# wtl_native(ISA flag...): the kernels of models/kernels/native compiled for an instruction set, as
# a part of folder models.
function(wtl_native isa)
  string(TOLOWER ${isa} name)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/models/kernels/native/*.c)
  add_library(wtl_native_${name} OBJECT ${sources})
  target_include_directories(wtl_native_${name} PRIVATE ${PROJECT_SOURCE_DIR}/models
    ${PROJECT_SOURCE_DIR}/models/include ${PROJECT_SOURCE_DIR}/base/include)
  target_compile_definitions(wtl_native_${name} PRIVATE WTL_FOR_${isa})
  target_compile_options(wtl_native_${name} PRIVATE ${ARGN})
  set_target_properties(wtl_native_${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  target_link_libraries(wtl_native_${name} PRIVATE wtl_flags)
  target_sources(wattle PRIVATE $<TARGET_OBJECTS:wtl_native_${name}>)
endfunction()

# wtl_library(folder...): libwattle (static by default, BUILD_SHARED_LIBS for shared).
function(wtl_library)
  add_library(wattle)
  add_library(wattle::wattle ALIAS wattle)
  foreach(name IN LISTS ARGN)
    target_sources(wattle PRIVATE $<TARGET_OBJECTS:wtl_${name}>)
    target_include_directories(wattle PUBLIC
      $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/${name}/include>)
    # PRIVATE: no public header needs another library's, so users get no foreign include
    # paths or flags (of a static library they still link everything).
    get_target_property(libraries wtl_${name} INTERFACE_LINK_LIBRARIES)
    list(FILTER libraries EXCLUDE REGEX wtl_flags)
    target_link_libraries(wattle PRIVATE ${libraries})
  endforeach()
  target_link_libraries(wattle PRIVATE $<BUILD_INTERFACE:wtl_flags>)
  set_target_properties(wattle PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0)
endfunction()
