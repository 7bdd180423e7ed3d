#include "daemon/api/json_writer.h"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace mailotp::daemon {

namespace {

bool stands_for_itself(char c) {
  return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

}  // namespace

void JsonWriter::key(std::string_view name) {
  separate();
  append_quoted(name);
  out_ += ':';
  first_ = true;
}

void JsonWriter::value(std::string_view text) {
  separate();
  append_quoted(text);
}

void JsonWriter::raw(std::string_view json) {
  separate();
  out_ += json;
}

void JsonWriter::begin(char bracket) {
  separate();
  out_ += bracket;
  first_ = true;
}

void JsonWriter::end(char bracket) {
  out_ += bracket;
  first_ = false;
}

void JsonWriter::separate() {
  if (!first_) out_ += ',';
  first_ = false;
}

// Nearly all texts are plain; which escape another one needs, and what becomes of bytes that are not UTF-8,
// the library knows.
void JsonWriter::append_quoted(std::string_view text) {
  if (!std::all_of(text.begin(), text.end(), stands_for_itself)) {
    out_ += nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    return;
  }
  out_ += '"';
  out_ += text;
  out_ += '"';
}

}  // namespace mailotp::daemon
