# A folder's text files as C: with -P, writes OUT from FOLDER/*.EXTENSION; included, defines
# wtl_texts(TARGET NAME FOLDER EXTENSION), which adds such a file to a target. It defines
# wtl_NAME_entries and wtl_NAME_name_list, which the target declares in NAME_texts.h.

function(wtl_texts_write name folder extension out)
  file(GLOB files ${folder}/*.${extension})
  list(SORT files)
  set(texts "")
  set(entries "")
  set(names "")
  set(index 0)
  foreach(file IN LISTS files)
    file(READ ${file} text)
    string(REPLACE "\\" "\\\\" text "${text}")
    string(REPLACE "\"" "\\\"" text "${text}")
    string(REPLACE "\n" "\\n\"\n    \"" text "${text}")
    get_filename_component(entry ${file} NAME)
    string(REGEX REPLACE "\\.${extension}$" "" entry ${entry})
    string(APPEND texts "static const char text_${index}[] =\n    \"${text}\";\n")
    string(APPEND entries "    {\"${entry}\", text_${index}, sizeof text_${index} - 1},\n")
    string(APPEND names "    \"${entry}\",\n")
    math(EXPR index "${index} + 1")
  endforeach()
  file(WRITE ${out} "/* Made from the *.${extension} files by cmake/WattleTexts.cmake. */
#include \"${name}_texts.h\"

${texts}
const wtl_named_text wtl_${name}_entries[] = {
${entries}    {0},
};

const char *const wtl_${name}_name_list[] = {
${names}    NULL,
};
")
endfunction()

if(CMAKE_SCRIPT_MODE_FILE)
  wtl_texts_write(${NAME} ${FOLDER} ${EXTENSION} ${OUT})
  return()
endif()

set(WTL_TEXTS_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(wtl_texts target name folder extension)
  file(GLOB files CONFIGURE_DEPENDS ${folder}/*.${extension})
  set(out ${PROJECT_BINARY_DIR}/generated/${name}_texts.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DNAME=${name} -DFOLDER=${folder} -DEXTENSION=${extension}
      -DOUT=${out} -P ${WTL_TEXTS_SCRIPT}
    DEPENDS ${files} ${WTL_TEXTS_SCRIPT}
    COMMENT "Writing ${folder} as C" VERBATIM)
  target_sources(${target} PRIVATE ${out})
endfunction()
