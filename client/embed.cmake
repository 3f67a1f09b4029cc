# Makes a C file of the files that the gateway serves, so that the binary needs nothing beside it. They are committed as
# client/build.mjs made them: building the gateway needs no Node.
# cmake -DOUT=assets.c -DDIR=client/dist -P embed.cmake
set(files "/=index.html=text/html" "/dashboard.js=dashboard.js=text/javascript"
    "/dashboard.css=dashboard.css=text/css" "/favicon.svg=favicon.svg=image/svg+xml"
    "/favicon-down.svg=favicon-down.svg=image/svg+xml"
    "/client.js=client.js=text/javascript")
set(code "/* Made from client/ by embed.cmake. */\n#include \"http/api.h\"\n\n")
set(table "")
set(number 0)
foreach(row ${files})
  string(REGEX MATCH "^([^=]*)=([^=]*)=(.*)$" _ "${row}")
  set(path "${CMAKE_MATCH_1}")
  set(name "${CMAKE_MATCH_2}")
  set(type "${CMAKE_MATCH_3}")
  file(READ "${DIR}/${name}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," hex "${hex}")
  string(REGEX REPLACE "(................................................................................)" "\\1\n" hex "${hex}")
  string(APPEND code "static const unsigned char asset_${number}[] = {\n${hex}};\n")
  string(APPEND table "    {\"${path}\", \"${type}; charset=utf-8\", asset_${number}, sizeof asset_${number}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUT}" "${code}\nconst struct gw_asset gw_assets[] = {\n${table}    {0},\n};\n")
