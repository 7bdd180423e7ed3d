#include "mail/imap/folders.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace mailotp::mail {
namespace {

// The next code point of `text`, taken off it.
char32_t next_code_point(std::string_view& text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 1;
  char32_t value = length == 1 ? first : first & (0xffU >> (length + 1));
  bool good = length <= text.size();
  for (std::size_t i = 1; good && i < length; ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    good = (byte & 0xc0U) == 0x80;
    value = value << 6U | (byte & 0x3fU);
  }
  good = good && value <= 0x10ffff;
  text.remove_prefix(good ? length : 1);
  return good ? value : first;
}

void put_utf16(std::string& out, char32_t value) {
  const auto put = [&out](char32_t unit) {
    out.push_back(static_cast<char>(unit >> 8U));
    out.push_back(static_cast<char>(unit & 0xffU));
  };
  if (value < 0x10000) return put(value);
  value -= 0x10000;
  put(0xd800 + (value >> 10U));
  put(0xdc00 + (value & 0x3ffU));
}

// Base64 with a comma for the slash, and without padding.
std::string shifted(std::string_view utf16) {
  constexpr std::string_view k_alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
  std::string out = "&";
  std::uint32_t bits = 0;
  int held = 0;
  for (const char c : utf16) {
    bits = bits << 8U | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6)
      out += k_alphabet[bits >> (static_cast<unsigned>(held) - 6U) & 0x3fU];
  }
  if (held > 0) out += k_alphabet[bits << (6U - static_cast<unsigned>(held)) & 0x3fU];
  return out + "-";
}

core::Result<bool> exists(ImapClient& client, const std::string& folder) {
  client.heard().folders.clear();
  // A server that refuses to list says no more than that it does not know.
  if (auto listed = client.ask("LIST \"\" " + quoted(folder)); !listed) {
    if (listed.error().code != core::Errc::invalid) return tl::unexpected(listed.error());
  }
  const auto& folders = client.heard().folders;
  return std::any_of(folders.begin(), folders.end(),
                     [&](const ListedFolder& listed) { return listed.selectable && listed.name == folder; });
}

// The personal namespace's prefix; where there is no NAMESPACE, what stands before a folder below the inbox.
core::Result<std::string> personal_prefix(ImapClient& client) {
  client.heard().personal_prefix.clear();
  if (client.offers("NAMESPACE")) {
    auto asked = client.ask("NAMESPACE");
    if (!asked && asked.error().code != core::Errc::invalid) return tl::unexpected(asked.error());
    if (asked) return client.heard().personal_prefix;
  }
  client.heard().folders.clear();
  auto asked = client.ask(R"(LIST "" "")");
  if (!asked && asked.error().code != core::Errc::invalid) return tl::unexpected(asked.error());
  const auto& folders = client.heard().folders;
  if (folders.empty() || folders.front().delimiter.empty()) return std::string();
  return "INBOX" + folders.front().delimiter;
}

core::Result<> make_folder(ImapClient& client, const std::string& folder) {
  if (auto made = client.create(folder); !made) return made;
  // So that a person's mail program shows it; one that cannot be subscribed serves as well.
  auto subscribed = client.subscribe(folder);
  if (!subscribed && subscribed.error().code != core::Errc::invalid) return subscribed;
  return {};
}

}  // namespace

std::string to_mailbox_name(std::string_view utf8) {
  std::string out;
  std::string utf16;
  const auto shift = [&] {
    if (!utf16.empty()) out += shifted(utf16);
    utf16.clear();
  };
  while (!utf8.empty()) {
    const char32_t value = next_code_point(utf8);
    if (value < 0x20 || value > 0x7e) {
      put_utf16(utf16, value);
      continue;
    }
    shift();
    out += static_cast<char>(value);
    if (value == '&') out += '-';
  }
  shift();
  return out;
}

core::Result<std::string> find_or_make_folder(ImapClient& client, std::string_view name) {
  const std::string plain = to_mailbox_name(name);
  auto there = exists(client, plain);
  if (!there) return tl::unexpected(there.error());
  if (*there) return plain;
  const auto prefix = personal_prefix(client);
  if (!prefix) return tl::unexpected(prefix.error());
  const std::string prefixed = *prefix + plain;
  if (!prefix->empty()) {
    there = exists(client, prefixed);
    if (!there) return tl::unexpected(there.error());
    if (*there) return prefixed;
  }
  auto made = make_folder(client, plain);
  if (made) return plain;
  if (made.error().code != core::Errc::invalid || prefix->empty()) return tl::unexpected(made.error());
  auto below = make_folder(client, prefixed);
  if (below) return prefixed;
  return tl::unexpected(below.error().code == core::Errc::invalid ? made.error() : below.error());
}

}  // namespace mailotp::mail
