// As much JSON as a plugin needs: the fields of one object read, a string written.
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind { JSON_ABSENT, JSON_NULL, JSON_STRING, JSON_INTEGER, JSON_OTHER };

struct json_value {
  enum json_kind kind;
  int64_t integer;
  // Unescaped, with a zero at its end; from malloc.
  char *string;
};

// False if `data` is not one JSON object. A key that is not there is JSON_ABSENT.
bool json_field(const uint8_t *data, size_t len, const char *key, struct json_value *found);

// `text` in quotes, escaped; from malloc.
char *json_quoted(const char *text);

#endif
