#include "tests/fuzz/json_invariants.h"

#include <algorithm>
#include <cstddef>
#include <string>

#include <nlohmann/json.hpp>

#include "daemon/api/bounce_requests.h"
#include "daemon/api/requests.h"
#include "daemon/api/strict_json.h"
#include "mail/compose/utf8.h"
#include "tests/fuzz/must.h"

namespace mailotp::fuzz {
namespace {

using core::Config;
using daemon::ProblemDetail;
using nlohmann::json;

constexpr core::WallTime k_now = core::from_unix_ms(1'795'176'000'000);  // 2026-11-20 12:00:00 UTC

const Config& config() {
  static const Config made = [] {
    Config c;
    c.mail.locale = "en";
    c.purposes["login"] = {};
    core::PurposeConfig strict;
    strict.template_name = "strict";
    strict.ttl = core::Seconds{120};
    strict.code = {8, core::Alphabet::crockford32};
    strict.entropy_floor = 39;
    strict.max_attempts = 3;
    strict.max_sends = 1;
    strict.cooldown = core::Seconds{3600};
    strict.usable_minimum = core::Seconds{119};
    strict.resend = core::ResendMode::fresh;
    c.purposes["strict"] = strict;
    core::PurposeConfig loose;
    loose.ttl = core::Seconds{86'400};
    loose.code = {4, core::Alphabet::digits};
    loose.entropy_floor = 13;
    loose.max_attempts = 20;
    loose.usable_minimum = core::Seconds{0};
    c.purposes["loose"] = loose;
    return c;
  }();
  return made;
}

// ---- Refusals.

void check_refusal(const ProblemDetail& refused) {
  using daemon::Problem;
  must(refused.problem == Problem::malformed_request || refused.problem == Problem::invalid_field ||
           refused.problem == Problem::invalid_recipient,
       "a refusal blames the body");
  must(!refused.detail.empty() && mail::valid_utf8(refused.detail), "a refusal says why");
  must(refused.problem != Problem::invalid_field || refused.detail.starts_with(refused.field + ": "),
       "a refusal begins with its field");
  must(refused.problem != Problem::malformed_request || refused.field.empty(),
       "a body that is none has no fields");
  const daemon::HttpResponse answer = daemon::make_problem(refused, "id");
  must(answer.status == 400 && json::accept(answer.body), "a refusal can be answered");
}

// ---- What was accepted.

void check_address(const core::Address& address) {
  const auto again = core::parse_address(address.mailbox());
  must(again.has_value() && *again == address, "a recipient is an address");
}

void check_locale(std::string_view locale) {
  must(!locale.empty() && locale.size() <= 35 &&
           std::all_of(locale.begin(), locale.end(),
                       [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                                c == '-';
                       }),
       "a locale is letters, digits and hyphens");
}

// Canonical: an object of strings with sorted keys, or nothing.
void check_strings(const core::Secret& kept) {
  if (kept.empty()) return;
  const auto object = daemon::parse_strict(kept.reveal());
  must(object.has_value() && object->is_object() && !object->empty(), "what is kept is an object");
  must(object->dump() == kept.reveal(), "what is kept is canonical");
  must(object->size() <= 32, "an object has few fields");
  for (const auto& [name, value] : object->items()) {
    must(!name.empty() && name.size() <= 64 && !has_control(name), "a field has a name");
    must(value.is_string() && value.get_ref<const std::string&>().size() <= 1024,
         "a field is a short string");
  }
}

void check_metadata(std::string_view metadata) {
  must(metadata.size() <= 4096, "metadata is short");
  if (metadata.empty()) return;
  const auto value = daemon::parse_strict(metadata);
  must(value.has_value() && value->dump() == metadata, "metadata is JSON");
}

void check_code(const core::Secret& code) {
  must(code.size() >= 1 && code.size() <= 64, "a typed code has 1 to 64 characters");
}

void check_terms(const core::ChallengeTerms& terms, const core::PurposeConfig& purpose) {
  must(terms.ttl >= core::Seconds{1} && terms.ttl <= purpose.ttl,
       "a request lives no longer than its purpose says");
  must(terms.max_attempts >= 1 && terms.max_attempts <= purpose.max_attempts,
       "a request has no more attempts");
  must(terms.max_sends == purpose.max_sends && terms.cooldown == purpose.cooldown &&
           terms.resend == purpose.resend,
       "a request changes no sends");
  must(terms.usable_minimum >= core::Seconds{0} && terms.usable_minimum <= purpose.usable_minimum &&
           terms.usable_minimum < terms.ttl,
       "there is time to send");
  must(core::check_code_spec(terms.code, purpose.entropy_floor).has_value(), "a code is hard to guess");
  // Rounded: 19.93 bits are the six digits that they are.
  must(core::entropy_bits(terms.code) + 0.1 >= core::entropy_bits(purpose.code),
       "a code is no easier to guess");
}

// The client is not kept: what was accepted shows in the body alone.
void check_client(const json& body) {
  if (!body.contains("client") || body["client"].is_null()) return;
  const json& client = body["client"];
  must(client.is_object(), "a client is an object");
  const auto ip = client.find("ip");
  if (ip == client.end() || ip->is_null()) return;
  const auto& text = ip->get_ref<const std::string&>();
  must(text.size() <= 45 && text.find_first_not_of("0123456789abcdefABCDEF:.") == std::string::npos,
       "the address of a client is one");
}

void check_client(const core::Client& client) {
  const std::string& network = client.network;
  must(network.empty() || network.ends_with("/64") ||
           (network.size() <= 15 && network.find_first_not_of("0123456789.") == std::string::npos),
       "a network is an IPv4 address or a /64");
  must(network.find('\0') == std::string::npos && client.id.size() <= 128, "a client is short");
}

void check(const daemon::CreateRequest& request, const json& body) {
  check_address(request.recipient);
  must(config().purposes.contains(request.purpose), "a purpose is configured");
  check_terms(request.terms, config().purposes.at(request.purpose));
  check_locale(request.locale);
  must(!request.template_name.empty() && request.template_name.size() <= 64, "a template has a name");
  check_strings(request.variables);
  check_strings(request.binding);
  check_metadata(request.metadata);
  check_client(body);
  check_client(request.client);
}

void check(const daemon::CheckRequest& request, const json&) {
  check_code(request.code);
  check_strings(request.binding);
}

void check(const core::Address& erased, const json&) {
  check_address(erased);
}

void check(const daemon::GenerateRequest& request, const json& body) {
  check_address(request.recipient);
  check_client(body);
  check_client(request.client);
  must(config().purposes.contains(request.purpose), "a purpose is configured");
}

void check(const daemon::VerifyRequest& request, const json&) {
  check_address(request.recipient);
  must(config().purposes.contains(request.purpose), "a purpose is configured");
  check_code(request.code);
}

void check(const daemon::MessageRequest& request, const json&) {
  check_address(request.recipient);
  must(!request.template_name.empty() && request.template_name.size() <= 64, "a template has a name");
  check_locale(request.locale);
  check_strings(request.variables);
  must(request.not_after > k_now && request.not_after <= k_now + daemon::k_message_life,
       "a mail has five days");
  check_metadata(request.metadata);
}

void check(bool nothing, const json& body) {
  must(nothing && body.empty(), "a body that says nothing is empty");
}

bool is_status(std::string_view text) {
  return text.size() >= 5 && text.size() <= 9 &&
         std::string_view("245").find(text.front()) != std::string_view::npos &&
         std::count(text.begin(), text.end(), '.') == 2 &&
         text.find_first_not_of("0123456789.") == std::string_view::npos;
}

void check(const daemon::BounceNotice& notice, const json&) {
  const core::BouncedRecipient& one = notice.recipient;
  must(!notice.message_id.empty() || !notice.envid.empty(), "a notice is about a message");
  must(notice.message_id.size() <= 998 && notice.envid.size() <= 100, "what a notice names is short");
  must(one.kind == core::BounceKind::bounce || one.kind == core::BounceKind::delay ||
           one.kind == core::BounceKind::success,
       "a notice has an action");
  must(one.status.empty() || is_status(one.status), "a status is one");
  must(one.diagnostic.size() <= core::k_bounce_diagnostic && !has_control(one.diagnostic),
       "a diagnostic is printable and short");
  must(one.kind != core::BounceKind::success || !one.permanent, "a success is no failure");
}

void check(const daemon::SuppressionRequest& request, const json&) {
  if (!request.until) return;
  must(*request.until > k_now, "a suppression ends later");
  const auto again = core::parse_rfc3339(core::format_rfc3339(*request.until));
  must(again.has_value() && *again == *request.until, "an end can be written down and read again");
}

// ---- The calls. Here and nowhere else is what each reader takes.

constexpr std::size_t k_readers = 9;

// May use every purpose.
const core::AppConfig& app() {
  static const core::AppConfig k_app{};
  return k_app;
}

template <class F>
void one_reader(std::size_t which, std::string_view body, F give) {
  switch (which) {
    case 0:
      return give(daemon::parse_create(body, config(), app()));
    case 1:
      return give(daemon::parse_check(body));
    case 2:
      return give(daemon::parse_generate(body, config(), app()));
    case 3:
      return give(daemon::parse_verify(body, config(), app()));
    case 4:
      return give(daemon::parse_message(body, config(), k_now));
    case 5:
      return give(daemon::parse_nothing(body));
    case 6:
      return give(daemon::parse_bounce(body));
    case 7:
      return give(daemon::parse_suppression(body, k_now));
    case 8:
      return give(daemon::parse_erase(body));
    default:
      must(false, "there are nine readers");
  }
}

template <class F>
void every_reader(std::string_view body, F give) {
  for (std::size_t which = 0; which < k_readers; ++which)
    one_reader(which, body, give);
}

// ---- Secrets.

// Every string below becomes as many of `letter`, every number another one: codes, what a mail shows, what a
// challenge is bound to.
void mask(json& value, char letter) {
  if (value.is_string()) value = std::string(value.get_ref<const std::string&>().size(), letter);
  if (value.is_number()) value = letter - 'a';
  if (!value.is_structured()) return;
  for (json& inner : value)
    mask(inner, letter);
}

std::string masked(json body, char letter) {
  for (const char* name : {"otp", "data", "binding", "metadata"})
    if (body.contains(name)) mask(body[name], letter);
  // A creation has an object of that name, and what it says is no secret.
  if (body.contains("code") && !body["code"].is_object()) mask(body["code"], letter);
  return body.dump();
}

// What the readers say of a body, one after the other.
std::string refusals(std::string_view body) {
  std::string all;
  every_reader(body, [&all](const auto& parsed) {
    all += parsed ? "accepted\n" : parsed.error().field + "\n" + parsed.error().detail + "\n";
  });
  return all;
}

}  // namespace

void check_json(std::string_view body) {
  const auto strict = daemon::parse_strict(body);
  must(!strict || json::accept(body), "strict JSON is JSON");
  if (!strict) {
    must(strict.error().code == core::Errc::malformed && !strict.error().what.empty(),
         "what is no JSON is told why");
    // One is enough: they all begin with the same parser, whose throw costs more than all the rest.
    one_reader(body.size() % k_readers, body, [&](const auto& parsed) {
      must(parsed || parsed.error().detail == strict.error().what, "what is no JSON is refused as that");
      must(!parsed || body.empty(), "what is no JSON says nothing");
      if (!parsed) check_refusal(parsed.error());
    });
    return;
  }
  const json object = strict->is_object() ? *strict : json::object();
  every_reader(body, [&object](const auto& parsed) {
    if (parsed)
      check(*parsed, object);
    else
      check_refusal(parsed.error());
  });
  const std::string one = masked(object, 'x');
  const std::string other = masked(object, 'y');
  if (one != other) must(refusals(one) == refusals(other), "no refusal depends on a secret");
}

}  // namespace mailotp::fuzz
