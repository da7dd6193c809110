#include "json.h"

#include <stdlib.h>
#include <string.h>

// Author-controlled: how deep arrays and objects may nest.
enum { DEPTH_MAX = 64 };

struct reader {
  const uint8_t *at, *end;
  int depth;
};

static bool value(struct reader *in, struct json_value *found);

static void space(struct reader *in) {
  while (in->at < in->end && memchr(" \t\r\n", *in->at, 4)) in->at++;
}

static bool take(struct reader *in, char c) {
  space(in);
  if (in->at == in->end || *in->at != (uint8_t)c) return false;
  in->at++;
  return true;
}

static bool word(struct reader *in, const char *text) {
  size_t len = strlen(text);
  if ((size_t)(in->end - in->at) < len || memcmp(in->at, text, len) != 0) return false;
  in->at += len;
  return true;
}

static bool hex4(struct reader *in, uint32_t *code) {
  if (in->end - in->at < 4) return false;
  *code = 0;
  for (int i = 0; i < 4; i++) {
    uint8_t c = *in->at++;
    uint32_t digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : 16;
    if (digit == 16) return false;
    *code = *code << 4 | digit;
  }
  return true;
}

static char *utf8(char *out, uint32_t code) {
  if (code < 0x80) {
    *out++ = (char)code;
    return out;
  }
  if (code >= 0x10000) {
    *out++ = (char)(0xf0 | code >> 18);
    *out++ = (char)(0x80 | (code >> 12 & 0x3f));
  } else if (code >= 0x800) {
    *out++ = (char)(0xe0 | code >> 12);
  }
  *out++ = (char)(code < 0x800 ? 0xc0 | code >> 6 : 0x80 | (code >> 6 & 0x3f));
  *out++ = (char)(0x80 | (code & 0x3f));
  return out;
}

static bool escape(struct reader *in, char **out) {
  static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
  if (in->at == in->end) return false;
  uint8_t c = *in->at++;
  if (c != 'u') {
    const char *name = memchr(names, c, sizeof names - 1);
    if (!name) return false;
    *(*out)++ = meant[name - names];
    return true;
  }
  uint32_t code, low;
  if (!hex4(in, &code)) return false;
  if (code >= 0xd800 && code < 0xdc00) {
    if (!word(in, "\\u") || !hex4(in, &low) || low < 0xdc00 || low > 0xdfff) return false;
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code <= 0xdfff) {
    return false;
  }
  *out = utf8(*out, code);
  return true;
}

// Past the opening quote. What comes out is never longer than what went in.
static bool string(struct reader *in, char **found) {
  char *out = *found = malloc((size_t)(in->end - in->at) + 1);
  while (in->at < in->end && *in->at != '"') {
    uint8_t c = *in->at++;
    if (c < 0x20) return false;
    if (c != '\\') *out++ = (char)c;
    else if (!escape(in, &out)) return false;
  }
  *out = 0;
  return in->at < in->end && *in->at++ == '"';
}

static bool number(struct reader *in, struct json_value *found) {
  found->kind = JSON_INTEGER;
  bool negative = word(in, "-");
  if (in->at == in->end || *in->at < '0' || *in->at > '9') return false;
  int64_t n = 0;
  for (; in->at < in->end && *in->at >= '0' && *in->at <= '9'; in->at++) {
    if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *in->at - '0', &n)) found->kind = JSON_OTHER;
  }
  // A fraction or an exponent: not a whole number, and nothing more is asked of it.
  while (in->at < in->end && memchr(".eE+-0123456789", *in->at, 15)) {
    found->kind = JSON_OTHER;
    in->at++;
  }
  found->integer = negative ? -n : n;
  return true;
}

// Fields or items up to the closing bracket, which is taken; `key` of an object goes to `found`.
static bool many(struct reader *in, bool object, const char *key, struct json_value *found) {
  if (++in->depth > DEPTH_MAX) return false;
  char closing = object ? '}' : ']';
  if (take(in, closing)) return in->depth--, true;
  do {
    char *name = NULL;
    if (object && !(take(in, '"') && string(in, &name) && take(in, ':'))) return false;
    struct json_value item = {0};
    if (!value(in, &item)) return false;
    if (found && name && strcmp(name, key) == 0) *found = item;
    free(name);
  } while (take(in, ','));
  in->depth--;
  return take(in, closing);
}

static bool value(struct reader *in, struct json_value *found) {
  space(in);
  if (in->at == in->end) return false;
  found->kind = JSON_OTHER;
  switch (*in->at) {
  case '"':
    in->at++;
    found->kind = JSON_STRING;
    return string(in, &found->string);
  case '{':
  case '[':
    return many(in, *in->at++ == '{', NULL, NULL);
  case 't':
    return word(in, "true");
  case 'f':
    return word(in, "false");
  case 'n':
    found->kind = JSON_NULL;
    return word(in, "null");
  default:
    return number(in, found);
  }
}

bool json_field(const uint8_t *data, size_t len, const char *key, struct json_value *found) {
  struct reader in = {data, data + len, 0};
  *found = (struct json_value){.kind = JSON_ABSENT};
  if (!take(&in, '{') || !many(&in, true, key, found)) return false;
  space(&in);
  return in.at == in.end;
}

char *json_quoted(const char *text) {
  static const char digits[] = "0123456789abcdef";
  char *quoted = malloc(6 * strlen(text) + 3), *out = quoted;
  *out++ = '"';
  for (; *text; text++) {
    uint8_t c = (uint8_t)*text;
    if (c < 0x20) {
      memcpy(out, "\\u00", 4);
      out[4] = digits[c >> 4];
      out[5] = digits[c & 15];
      out += 6;
      continue;
    }
    if (c == '"' || c == '\\') *out++ = '\\';
    *out++ = (char)c;
  }
  *out++ = '"';
  *out = 0;
  return quoted;
}
