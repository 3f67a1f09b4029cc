# Makes a C file of the files that the gateway serves, so that the binary needs nothing beside it. They are committed as
# client/build.mjs made them: building the gateway needs no Node. Each is in it as it is and, where there is a gzip
# program, compressed.
# cmake -DOUT=assets.c -DDIR=client/dist -P embed.cmake
set(files "/=index.html=text/html" "/dashboard.js=dashboard.js=text/javascript"
    "/dashboard.css=dashboard.css=text/css" "/favicon.svg=favicon.svg=image/svg+xml"
    "/favicon-down.svg=favicon-down.svg=image/svg+xml"
    "/client.js=client.js=text/javascript" "/elements.js=elements.js=text/javascript" "/client.mjs=client.mjs=text/javascript" "/share.mjs=share.mjs=text/javascript"
    "/openapi.json=../api/openapi.json=application/json" "/asyncapi.json=../api/asyncapi.json=application/json")
set(code "/* Made from client/ by embed.cmake. */\n#include \"http/api.h\"\n\n")
set(table "")
set(number 0)
find_program(GZIP gzip)

function(add_bytes name file)
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," hex "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" hex "${hex}")
  set(code "${code}static const unsigned char ${name}[] = {\n${hex}};\n" PARENT_SCOPE)
endfunction()

foreach(row ${files})
  string(REGEX MATCH "^([^=]*)=([^=]*)=(.*)$" _ "${row}")
  set(path "${CMAKE_MATCH_1}")
  set(name "${CMAKE_MATCH_2}")
  set(type "${CMAKE_MATCH_3}")
  add_bytes(asset_${number} "${DIR}/${name}")
  file(SHA256 "${DIR}/${name}" hash)
  string(SUBSTRING "${hash}" 0 20 hash)
  set(entry "{\"${path}\", \"${type}; charset=utf-8\", asset_${number}, sizeof asset_${number}, \"\\\"${hash}\\\"\"")
  if(GZIP)
    # -n: no time in it, the same bytes from every build.
    execute_process(COMMAND "${GZIP}" -9nc "${DIR}/${name}" OUTPUT_FILE "${OUT}.gz" RESULT_VARIABLE failed)
    if(failed)
      message(FATAL_ERROR "gzip ${name}: ${failed}")
    endif()
    add_bytes(gzip_${number} "${OUT}.gz")
    file(REMOVE "${OUT}.gz")
    string(APPEND entry ", gzip_${number}, sizeof gzip_${number}, \"\\\"${hash}-gzip\\\"\"")
  else()
    string(APPEND entry ", NULL, 0, NULL")
  endif()
  string(APPEND table "    ${entry}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUT}" "${code}\nconst struct gw_asset gw_assets[] = {\n${table}    {0},\n};\n")
