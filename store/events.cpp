#include "store/events.h"

#include <array>
#include <utility>

#include <fmt/format.h>

namespace mailotp::store {

namespace {

constexpr std::array<std::string_view, k_challenge_news> k_names{"challenge.created", "challenge.sent",
                                                                 "challenge.checked", "challenge.exhausted",
                                                                 "challenge.expired", "challenge.canceled"};

constexpr std::array<std::string_view, k_recipient_news> k_recipient_names{
    "recipient.suppressed", "recipient.healed", "recipient.reported", "recipient.erased",
    "recipient.refused"};
constexpr std::array<std::string_view, k_app_news> k_app_names{"app.braked", "app.released"};

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (byte < 0x20 || byte > 0x7e) {
      out += fmt::format("\\u{:04x}", byte);
    } else {
      out += c;
    }
  }
  out += '"';
}

}  // namespace

core::Result<std::string> event_type_name(std::int64_t type) {
  if (type >= 0 && type < k_challenge_news) return std::string(k_names[static_cast<std::size_t>(type)]);
  if (type >= k_message_event && type < k_message_event + core::k_message_states)
    return "message." + std::string(to_string(static_cast<core::MessageState>(type - k_message_event)));
  if (type >= k_recipient_event && type < k_recipient_event + k_recipient_news)
    return std::string(k_recipient_names[static_cast<std::size_t>(type - k_recipient_event)]);
  if (type >= k_app_event && type < k_app_event + k_app_news)
    return std::string(k_app_names[static_cast<std::size_t>(type - k_app_event)]);
  return core::fail(core::Errc::corrupt, fmt::format("store: no event has the number {}", type));
}

void Detail::name(std::string_view name) {
  json_ += json_.empty() ? '{' : ',';
  append_quoted(json_, name);
  json_ += ':';
}

Detail& Detail::add(std::string_view field, std::string_view text) {
  name(field);
  append_quoted(json_, text);
  return *this;
}

Detail& Detail::add(std::string_view field, std::int64_t number) {
  name(field);
  json_ += std::to_string(number);
  return *this;
}

Detail& Detail::add(const core::Reply& reply) {
  name("reply");
  Detail inner;
  json_ += inner.add("code", reply.code).add("status", reply.status).add("text", reply.text).take();
  return *this;
}

std::string Detail::take() {
  if (!json_.empty()) json_ += '}';
  return std::exchange(json_, {});
}

}  // namespace mailotp::store
