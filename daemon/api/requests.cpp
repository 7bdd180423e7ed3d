#include "daemon/api/requests.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "daemon/api/client_network.h"
#include "daemon/api/fields.h"

namespace mailotp::daemon {

namespace {

using nlohmann::json;

constexpr std::size_t k_max_metadata = 4096;
constexpr std::size_t k_max_typed_code = 64;  // more than any code with its spaces
constexpr double k_entropy_rounding = 0.05;   // bits: 19.93 counts as the six digits that they are

Parsed<std::optional<std::int64_t>> number_of(const json& object, const char* name, std::int64_t low,
                                              std::int64_t high, const std::string& prefix = {}) {
  const auto at = object.find(name);
  if (at == object.end() || at->is_null()) return std::optional<std::int64_t>{};
  const std::string field = prefix + name;
  if (!at->is_number_integer()) return bad_field(field, "must be a whole number");
  // A number over the range of int64 is kept unsigned, and is too large in any case.
  if (at->is_number_unsigned() && at->get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX))
    return bad_field(field, fmt::format("must be {} to {}", low, high));
  const auto value = at->get<std::int64_t>();
  if (value < low || value > high) return bad_field(field, fmt::format("must be {} to {}", low, high));
  return std::optional<std::int64_t>{value};
}

Parsed<std::string> purpose_of(const json& object, const core::Config& config, const core::AppConfig& app) {
  auto purpose = text_of(object, "purpose", 64);
  if (!purpose) return purpose;
  if (purpose->empty()) *purpose = "login";
  if (!config.purposes.contains(*purpose))
    return bad_field("purpose", "no purpose of that name is configured");
  if (!core::may_use(app, *purpose)) {
    return refuse(Problem::purpose_not_allowed,
                  fmt::format("this app may not use the purpose \"{}\"; its own are {}", *purpose,
                              fmt::join(app.purposes, ", ")),
                  "purpose");
  }
  return purpose;
}

Parsed<std::string> metadata_of(const json& object) {
  const auto at = object.find("metadata");
  if (at == object.end() || at->is_null()) return std::string{};
  std::string text = at->dump();
  if (text.size() > k_max_metadata)
    return bad_field("metadata", fmt::format("must have at most {} bytes", k_max_metadata));
  return text;
}

Parsed<core::Secret> code_of(const json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) return bad_field(name, "is required");
  // A code as a number would have lost its leading zeros on the way here.
  if (!at->is_string()) return bad_field(name, "must be a string");
  const auto& text = at->get_ref<const std::string&>();
  if (text.empty() || text.size() > k_max_typed_code)
    return bad_field(name, fmt::format("must have 1 to {} characters", k_max_typed_code));
  return core::Secret(text);
}

Parsed<core::CodeSpec> code_spec_of(const json& object, const core::PurposeConfig& purpose) {
  core::CodeSpec spec = purpose.code;
  const auto at = object.find("code");
  if (at == object.end() || at->is_null()) return spec;
  if (!at->is_object()) return bad_field("code", "must be an object");
  for (const auto& [key, value] : at->items()) {
    if (key != "length" && key != "alphabet") return bad_field("code." + key, "no such field");
  }
  const auto name = text_of(*at, "alphabet", 32, "code.");
  if (!name) return tl::unexpected(name.error());
  if (!name->empty()) {
    const auto alphabet = core::parse_alphabet(*name);
    if (!alphabet) return bad_field("code.alphabet", alphabet.error().what);
    spec.alphabet = *alphabet;
  }
  const auto length = number_of(*at, "length", core::k_min_code_length, core::k_max_code_length, "code.");
  if (!length) return tl::unexpected(length.error());
  if (*length) spec.length = static_cast<int>(**length);
  if (const auto ok = core::check_code_spec(spec, purpose.entropy_floor); !ok)
    return bad_field("code.length", ok.error().what);
  if (core::entropy_bits(spec) + k_entropy_rounding < core::entropy_bits(purpose.code)) {
    return bad_field("code.length",
                     fmt::format("gives fewer bits than the purpose's {} of {}; a request may only tighten",
                                 purpose.code.length, core::to_string(purpose.code.alphabet)));
  }
  return spec;
}

Parsed<core::ChallengeTerms> tightened_terms(const json& object, const core::PurposeConfig& purpose) {
  core::ChallengeTerms terms = terms_of(purpose);
  const auto ttl = number_of(object, "ttl_seconds", 1, purpose.ttl.count());
  if (!ttl) return tl::unexpected(ttl.error());
  if (*ttl) terms.ttl = core::Seconds{**ttl};
  // A life shorter than the useful minimum would leave no time to send at all: half of it must do then.
  if (terms.ttl <= terms.usable_minimum) terms.usable_minimum = terms.ttl / 2;
  const auto attempts = number_of(object, "max_attempts", 1, purpose.max_attempts);
  if (!attempts) return tl::unexpected(attempts.error());
  if (*attempts) terms.max_attempts = static_cast<int>(**attempts);
  const auto code = code_spec_of(object, purpose);
  if (!code) return tl::unexpected(code.error());
  terms.code = *code;
  return terms;
}

Parsed<core::Client> client_of(const json& object) {
  const auto at = object.find("client");
  if (at == object.end() || at->is_null()) return core::Client{};
  if (!at->is_object()) return bad_field("client", "must be an object");
  for (const auto& [key, value] : at->items()) {
    if (key != "ip" && key != "id") return bad_field("client." + key, "no such field");
  }
  core::Client client;
  const auto ip = text_of(*at, "ip", 64, "client.");
  if (!ip) return tl::unexpected(ip.error());
  if (!ip->empty()) {
    auto network = client_network(*ip);
    if (!network) return bad_field("client.ip", "must be an IPv4 or IPv6 address");
    client.network = *std::move(network);
  }
  auto id = text_of(*at, "id", 128, "client.");
  if (!id) return tl::unexpected(id.error());
  client.id = *std::move(id);
  return client;
}

Parsed<SendNow> send_of(const json& object) {
  const auto at = object.find("send");
  if (at == object.end() || at->is_null()) return SendNow::yes;
  if (!at->is_boolean()) return bad_field("send", "must be true or false");
  return at->get<bool>() ? SendNow::yes : SendNow::no;
}

Parsed<core::SuppressedUse> suppressed_of(const json& object) {
  const auto suppressed = text_of(object, "suppressed", 16);
  if (!suppressed) return tl::unexpected(suppressed.error());
  if (*suppressed == "probe") return core::SuppressedUse::probe;
  if (suppressed->empty() || *suppressed == "refuse") return core::SuppressedUse::refuse;
  return bad_field("suppressed", "must be refuse or probe");
}

Parsed<core::WallTime> not_after_of(const json& object, core::WallTime now) {
  const auto text = text_of(object, "not_after", 40);
  if (!text) return tl::unexpected(text.error());
  if (text->empty()) return now + k_message_life;
  const auto time = core::parse_rfc3339(*text);
  if (!time) return bad_field("not_after", "must be a time such as 2026-11-20T12:10:00Z");
  if (*time <= now) return bad_field("not_after", "is in the past");
  if (*time > now + k_message_life) return bad_field("not_after", "must be at most 5 days from now");
  return *time;
}

Parsed<bool> fill_texts(const json& object, const core::PurposeConfig& purpose, const core::Config& config,
                        CreateRequest& request) {
  auto locale = locale_of(object, config);
  if (!locale) return tl::unexpected(locale.error());
  request.locale = std::move(*locale);
  auto name = text_of(object, "template", 64);
  if (!name) return tl::unexpected(name.error());
  request.template_name = name->empty() ? purpose.template_name : std::move(*name);
  return true;
}

}  // namespace

core::ChallengeTerms terms_of(const core::PurposeConfig& purpose) {
  core::ChallengeTerms terms;
  terms.ttl = purpose.ttl;
  terms.max_attempts = purpose.max_attempts;
  terms.max_sends = purpose.max_sends;
  terms.cooldown = purpose.cooldown;
  terms.usable_minimum = purpose.usable_minimum;
  terms.resend = purpose.resend;
  terms.code = purpose.code;
  return terms;
}

Parsed<CreateRequest> parse_create(std::string_view body, const core::Config& config,
                                   const core::AppConfig& app) {
  const auto object =
      parse_object(body, {"recipient", "purpose", "locale", "template", "data", "ttl_seconds", "max_attempts",
                          "code", "binding", "client", "metadata", "send", "suppressed"});
  if (!object) return tl::unexpected(object.error());
  CreateRequest request;
  auto recipient = address_of(*object, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  request.recipient = std::move(*recipient);
  auto purpose_name = purpose_of(*object, config, app);
  if (!purpose_name) return tl::unexpected(purpose_name.error());
  request.purpose = std::move(*purpose_name);
  const core::PurposeConfig& purpose = config.purposes.at(request.purpose);
  auto terms = tightened_terms(*object, purpose);
  if (!terms) return tl::unexpected(terms.error());
  request.terms = *terms;
  if (const auto texts = fill_texts(*object, purpose, config, request); !texts)
    return tl::unexpected(texts.error());
  auto variables = strings_of(*object, "data");
  if (!variables) return tl::unexpected(variables.error());
  request.variables = std::move(*variables);
  auto binding = strings_of(*object, "binding");
  if (!binding) return tl::unexpected(binding.error());
  request.binding = std::move(*binding);
  auto client = client_of(*object);
  if (!client) return tl::unexpected(client.error());
  request.client = std::move(*client);
  auto metadata = metadata_of(*object);
  if (!metadata) return tl::unexpected(metadata.error());
  request.metadata = std::move(*metadata);
  const auto send = send_of(*object);
  if (!send) return tl::unexpected(send.error());
  request.send = *send;
  const auto suppressed = suppressed_of(*object);
  if (!suppressed) return tl::unexpected(suppressed.error());
  request.suppressed = *suppressed;
  return request;
}

Parsed<CheckRequest> parse_check(std::string_view body) {
  const auto object = parse_object(body, {"code", "binding", "client"});
  if (!object) return tl::unexpected(object.error());
  auto code = code_of(*object, "code");
  if (!code) return tl::unexpected(code.error());
  auto binding = strings_of(*object, "binding");
  if (!binding) return tl::unexpected(binding.error());
  auto client = client_of(*object);
  if (!client) return tl::unexpected(client.error());
  return CheckRequest{std::move(*code), std::move(*binding), std::move(client->id)};
}

Parsed<GenerateRequest> parse_generate(std::string_view body, const core::Config& config,
                                       const core::AppConfig& app) {
  const auto object = parse_object(body, {"email", "purpose", "client"});
  if (!object) return tl::unexpected(object.error());
  auto recipient = address_of(*object, "email");
  if (!recipient) return tl::unexpected(recipient.error());
  auto purpose = purpose_of(*object, config, app);
  if (!purpose) return tl::unexpected(purpose.error());
  auto client = client_of(*object);
  if (!client) return tl::unexpected(client.error());
  return GenerateRequest{std::move(*recipient), std::move(*purpose), std::move(*client)};
}

Parsed<VerifyRequest> parse_verify(std::string_view body, const core::Config& config,
                                   const core::AppConfig& app) {
  const auto object = parse_object(body, {"email", "otp", "purpose", "client"});
  if (!object) return tl::unexpected(object.error());
  auto recipient = address_of(*object, "email");
  if (!recipient) return tl::unexpected(recipient.error());
  auto purpose = purpose_of(*object, config, app);
  if (!purpose) return tl::unexpected(purpose.error());
  auto code = code_of(*object, "otp");
  if (!code) return tl::unexpected(code.error());
  auto client = client_of(*object);
  if (!client) return tl::unexpected(client.error());
  return VerifyRequest{std::move(*recipient), std::move(*purpose), std::move(*code), std::move(client->id)};
}

Parsed<MessageRequest> parse_message(std::string_view body, const core::Config& config, core::WallTime now) {
  const auto object =
      parse_object(body, {"recipient", "template", "locale", "data", "not_after", "metadata"});
  if (!object) return tl::unexpected(object.error());
  auto recipient = address_of(*object, "recipient");
  if (!recipient) return tl::unexpected(recipient.error());
  auto name = text_of(*object, "template", 64);
  if (!name) return tl::unexpected(name.error());
  if (name->empty()) return bad_field("template", "is required");
  auto locale = locale_of(*object, config);
  if (!locale) return tl::unexpected(locale.error());
  auto variables = strings_of(*object, "data");
  if (!variables) return tl::unexpected(variables.error());
  const auto not_after = not_after_of(*object, now);
  if (!not_after) return tl::unexpected(not_after.error());
  auto metadata = metadata_of(*object);
  if (!metadata) return tl::unexpected(metadata.error());
  return MessageRequest{std::move(*recipient), std::move(*name), std::move(*locale),
                        std::move(*variables), *not_after,       std::move(*metadata)};
}

Parsed<core::Address> parse_erase(std::string_view body) {
  const auto object = parse_object(body, {"recipient"});
  if (!object) return tl::unexpected(object.error());
  return address_of(*object, "recipient");
}

Parsed<bool> parse_nothing(std::string_view body) {
  if (body.empty()) return true;
  const auto object = parse_object(body, {});
  if (!object) return tl::unexpected(object.error());
  return true;
}

}  // namespace mailotp::daemon
