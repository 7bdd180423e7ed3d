// The small grammars of configuration values. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/config.h"
#include "core/time.h"

namespace mailotp::daemon {

// "500ms", "30s", "10m", "1h", "1d": a whole number and one unit, no sign, no space.
[[nodiscard]] std::optional<core::Millis> parse_duration(std::string_view text);
// The shortest spelling that parse_duration reads back: 90 s is "90s", 600 s is "10m".
[[nodiscard]] std::string format_duration(core::Millis duration);
// "64MiB", units B, KiB, MiB, GiB, TiB; "0": a whole number and one unit, no sign, no space. Bytes.
[[nodiscard]] std::optional<std::int64_t> parse_size(std::string_view text);
// "3/15m": max from 1 to 1,000,000,000, period from 1s to 366d in whole seconds.
[[nodiscard]] std::optional<core::Rate> parse_rate(std::string_view text);
// "0660": three or four octal digits up to 0777.
[[nodiscard]] std::optional<std::uint32_t> parse_file_mode(std::string_view text);

// Rules for texts: what is wrong, in words that follow the key's name.
[[nodiscard]] core::Result<> absolute_path(std::string_view text);
[[nodiscard]] core::Result<> absolute_path_or_empty(std::string_view text);
// Fits sockaddr_un: at most 107 bytes.
[[nodiscard]] core::Result<> socket_path(std::string_view text);
[[nodiscard]] core::Result<> socket_path_or_empty(std::string_view text);
// RFC 1123 section 2.1, at most 253 bytes; names with other letters as A-labels.
[[nodiscard]] core::Result<> host_name(std::string_view text);
// A host name or an IPv4 or IPv6 address without brackets.
[[nodiscard]] core::Result<> host(std::string_view text);
[[nodiscard]] core::Result<> host_or_empty(std::string_view text);
// RFC 5646 in its shape: "de", "de-AT".
[[nodiscard]] core::Result<> locale(std::string_view text);
[[nodiscard]] core::Result<> not_empty(std::string_view text);
// A name of ours (relay, app, purpose, template): 1 to 32 of a-z 0-9 and hyphen; also underscore for the
// last three.
[[nodiscard]] core::Result<> relay_name(std::string_view text);
[[nodiscard]] core::Result<> plain_name(std::string_view text);
// A user or group of the system, as useradd(8) takes it.
[[nodiscard]] core::Result<> account_name(std::string_view text);
[[nodiscard]] core::Result<> account_name_or_empty(std::string_view text);

// 127.0.0.0/8, ::1 or "localhost": bytes for it do not leave the machine.
[[nodiscard]] bool is_loopback(std::string_view host);

}  // namespace mailotp::daemon
