/* json_flaw.c: what is wrong with text that is no JSON, in words for the log. */
#include "base/json_mend.h"
#include "base/json_scan.h"

/* `what` at byte N`then`. */
static const struct {
    const char *what, *then;
} flaw_words[] = {
    [GW_JSON_NAN] = {"NaN", " is not JSON; the device should send null"},
    [GW_JSON_INFINITY] = {"infinity", " is not JSON; the device should send null"},
    [GW_JSON_NONE] = {"a word for nothing", " is not JSON's; the device should send null"},
    [GW_JSON_CASE] = {"a word", " has capital letters; JSON has true, false and null"},
    [GW_JSON_SINGLE_QUOTE] = {"a single quote", ": JSON has double quotes around texts and names"},
    [GW_JSON_BARE_NAME] = {"a member's name", " has no double quotes"},
    [GW_JSON_TRAILING_COMMA] = {"nothing follows the last comma before the bracket", ""},
    [GW_JSON_EXTRA_COMMA] = {"a comma too many", ""},
    [GW_JSON_MISSING] = {"a value is missing", "; the device should send null"},
    [GW_JSON_COMMENT] = {"a comment", ": JSON has none"},
    [GW_JSON_CONTROL] = {"a control character inside of a text", " must be escaped"},
    [GW_JSON_ESCAPE] = {"a backslash", " begins no escape of JSON's; a backslash itself is written twice"},
    [GW_JSON_ZEROS] = {"a number", " has leading zeros"},
    [GW_JSON_PLUS] = {"a number", " has a plus sign"},
    [GW_JSON_POINT] = {"a number", " begins or ends with its decimal point"},
    [GW_JSON_HEX] = {"a number", " is hexadecimal; JSON's are decimal"},
    [GW_JSON_BOM] = {"a byte order mark", ": JSON begins without one"},
    [GW_JSON_BLANK] = {"a blank", " is none of JSON's (space, tab and line ends)"},
    [GW_JSON_NOT_UTF8] = {"a byte that is not UTF-8", "; the device seems to write Latin-1"},
    [GW_JSON_NUL_BEHIND] = {"a NUL", " behind the end; the device should send the text without its terminating NUL"},
    [GW_JSON_EMPTY] = {"nothing but blanks or NULs", ""},
    [GW_JSON_CUT_OFF] = {"the text is cut off", "; is a buffer in the device too small?"},
    [GW_JSON_SECOND] = {"a second value begins", "; one message holds one value"},
    [GW_JSON_DEPTH] = {"a bracket", ""},
    [GW_JSON_DECIMAL_COMMA] = {"a number where a name belongs", "; is it a decimal comma? JSON has a decimal point"},
    [GW_JSON_BARE_WORD] = {"a word", " has no double quotes, and is none of true, false and null"},
    [GW_JSON_BAD_NUMBER] = {"a number", " is not complete, or larger than 64 bits in hexadecimal"},
    [GW_JSON_ESCAPED_QUOTE] = {"a backslash before a quote", "; the quotes were escaped once too often"},
    [GW_JSON_CURLY_QUOTE] = {"a typographic quote", ": JSON has plain double quotes"},
    [GW_JSON_UTF16] = {"UTF-16", ": JSON is UTF-8"},
    [GW_JSON_GZIP] = {"a gzip file", ": the device compresses what it sends"},
    [GW_JSON_NUL] = {"a NUL", ""},
};

void gw_json_flaw_describe(const struct gw_json_flaw *flaw, struct gw_buf *out)
{
    size_t at = flaw->at + 1;
    if (flaw->kind == GW_JSON_UNEXPECTED) {
        if (flaw->byte > 0x20 && flaw->byte < 0x7f)
            gw_buf_printf(out, "'%c' at byte %zu", flaw->byte, at);
        else
            gw_buf_printf(out, "0x%02x at byte %zu", flaw->byte, at);
    } else {
        gw_buf_printf(out, "%s at byte %zu", flaw_words[flaw->kind].what, at);
    }
    if (flaw->expected)
        gw_buf_printf(out, ", where %s should be", flaw->expected);
    if (flaw->kind == GW_JSON_DEPTH)
        gw_buf_printf(out, " opens level %d of objects and arrays; %d are allowed", GW_JSON_DEPTH_MAX + 1,
                      GW_JSON_DEPTH_MAX);
    else if (flaw->kind != GW_JSON_UNEXPECTED)
        gw_buf_adds(out, flaw_words[flaw->kind].then);
}
