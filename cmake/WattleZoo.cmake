# The zoo's texts as C: with -P, writes OUT from the *.net files of FOLDER; included, defines
# wtl_zoo_sources(TARGET FOLDER), which adds such a file to a target.

function(wtl_zoo_write folder out)
  file(GLOB nets ${folder}/*.net)
  list(SORT nets)
  set(texts "")
  set(entries "")
  set(names "")
  set(index 0)
  foreach(net IN LISTS nets)
    file(READ ${net} text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    get_filename_component(name ${net} NAME)
    string(REGEX REPLACE "\\.net$" "" name ${name})
    string(APPEND texts "static const char text_${index}[] =\n    \"${text}\";\n")
    string(APPEND entries "    {\"${name}\", text_${index}, sizeof text_${index} - 1},\n")
    string(APPEND names "    \"${name}\",\n")
    math(EXPR index "${index} + 1")
  endforeach()
  file(WRITE ${out} "/* Made from models/zoo/ by cmake/WattleZoo.cmake. */
#include \"zoo_texts.h\"

${texts}
const wtl_zoo_entry wtl_zoo_entries[] = {
${entries}    {0},
};

const char *const wtl_zoo_name_list[] = {
${names}    NULL,
};
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  wtl_zoo_write(${FOLDER} ${OUT})
  return()
endif()

set(WTL_ZOO_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(wtl_zoo_sources target folder)
  file(GLOB nets CONFIGURE_DEPENDS ${folder}/*.net)
  set(out ${PROJECT_BINARY_DIR}/generated/zoo_texts.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DFOLDER=${folder} -DOUT=${out} -P ${WTL_ZOO_SCRIPT}
    DEPENDS ${nets} ${WTL_ZOO_SCRIPT}
    COMMENT "Writing the zoo's texts as C" VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
