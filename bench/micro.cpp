// bench-micro: the steps of a send and a check, one by one, without sockets and disk. Each benchmark checks
// once that what it measures works.
#include <cstdlib>
#include <string>
#include <utility>
#include <vector>

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "core/code.h"
#include "core/limits.h"
#include "daemon/api/requests.h"
#include "daemon/api/views.h"
#include "daemon/app/kernel_random.h"
#include "daemon/http/parser.h"
#include "mail/compose/composer.h"
#include "mail/compose/keyed_tokens.h"
#include "store/events.h"
#include "store/hmac.h"
#include "store/keys.h"

namespace mailotp::bench {
namespace {

// The value, or the end of the program.
template <class Result>
auto good(Result result) {
  if (result) return *std::move(result);
  fmt::print(stderr, "bench-micro: something that must work does not\n");
  std::exit(70);
}

core::Id id_of(int last) {
  core::Id id;
  id.bytes = {0x01, 0x90, 0xb5, 0xa0, 0x7c, 0x1e, 0x7e, 0x3a, 0x9f};
  id.bytes[15] = static_cast<std::uint8_t>(last);
  return id;
}

const core::WallTime k_now = core::from_unix_ms(1'795'176'000'000);
constexpr std::string_view k_least = R"({"recipient":"alice@example.net"})";
constexpr std::string_view k_more =
    R"({"recipient":"alice@example.net","purpose":"login","locale":"de-AT","ttl_seconds":300,)"
    R"("data":{"name":"Alice"},"binding":{"amount":"5 EUR","payee":"Acme"},"metadata":{"order":7},)"
    R"("client":{"ip":"192.0.2.7","id":"0123456789abcdef"}})";

// ---- HTTP and JSON

void http_request(benchmark::State& state) {
  const std::string bytes = fmt::format(
      "POST /v1/challenges HTTP/1.1\r\nHost: mailotpd\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\n"
      "Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
      k_least.size(), k_least);
  const daemon::HttpLimits limits;
  daemon::RequestParser parser(limits);
  for (auto _ : state) {
    parser.feed(bytes);
    if (parser.advance() != daemon::RequestParser::Status::complete) return state.SkipWithError("not parsed");
    benchmark::DoNotOptimize(parser.take());
  }
}
BENCHMARK(http_request);

core::Config config() {
  core::Config made;
  made.mail.locale = "en";
  made.purposes["login"] = {};
  return made;
}

void create_request(benchmark::State& state, std::string_view body) {
  const core::Config common = config();
  const core::AppConfig app;
  if (!daemon::parse_create(body, common, app)) return state.SkipWithError("not parsed");
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::parse_create(body, common, app));
}
BENCHMARK_CAPTURE(create_request, recipient_alone, k_least);
BENCHMARK_CAPTURE(create_request, all_fields, k_more);

void check_request(benchmark::State& state) {
  if (!daemon::parse_check(R"({"code":"123456"})")) return state.SkipWithError("not parsed");
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::parse_check(R"({"code":"123456"})"));
}
BENCHMARK(check_request);

core::MessageView message_view() {
  core::MessageView view;
  view.id = id_of(1);
  view.challenge = id_of(2);
  view.app = "shop";
  view.recipient = "alice@example.net";
  view.created_at = k_now;
  view.not_after = k_now + core::Seconds{540};
  view.message_id = "<magillid4dz7dvhyaaerukz4jvnp3h7ja4pqy5iuwjy@otp.example.org>";
  view.template_name = "otp";
  view.template_version = "0123456789abcdef";
  view.locale = "en";
  return view;
}

void challenge_answer(benchmark::State& state) {
  core::ChallengeView view;
  view.id = id_of(2);
  view.app = "shop";
  view.purpose = "login";
  view.recipient = "alice@example.net";
  view.created_at = k_now;
  view.expires_at = k_now + core::Seconds{600};
  view.attempts_left = 5;
  view.sends_left = 4;
  view.resend_at = k_now + core::Seconds{30};
  view.message = message_view();
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::challenge_json(view));
}
BENCHMARK(challenge_answer);

void check_answer(benchmark::State& state) {
  core::CheckAnswer answer;
  answer.attempts_left = 4;
  answer.state = core::ChallengeState::otp_invalid;
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::check_json(answer, 5));
}
BENCHMARK(check_answer);

void outbox_page(benchmark::State& state) {
  core::PageOf<core::MessageView> page;
  page.items.assign(50, message_view());
  page.next_cursor = "12345";
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::outbox_json(page, k_now));
}
BENCHMARK(outbox_page);

void event_line(benchmark::State& state) {
  core::EventView event;
  event.seq = 4711;
  event.at = k_now;
  event.type = "message.relayed";
  event.app = "shop";
  event.challenge = id_of(2);
  event.message = id_of(1);
  event.detail = R"({"attempt":1,"relay":"primary","reply":"250 2.0.0 Ok: queued as 4F1A2B3C4D"})";
  for (auto _ : state)
    benchmark::DoNotOptimize(daemon::event_json(event, "4711", daemon::UidShown::no));
}
BENCHMARK(event_line);

void event_detail(benchmark::State& state) {
  const core::Reply reply{250, "2.0.0", "Ok: queued as 4F1A2B3C4D"};
  for (auto _ : state) {
    store::Detail detail;
    detail.add("attempt", std::int64_t{1}).add("relay", "primary").add(reply);
    benchmark::DoNotOptimize(detail.take());
  }
}
BENCHMARK(event_detail);

// ---- Mails

mail::TemplateSet templates() {
  return good(mail::TemplateSet::load({MAILOTP_TEMPLATES}, "en"));
}

mail::KeyedTokens tokens() {
  std::vector<core::Secret> keys;
  keys.emplace_back(std::string(32, 't'));
  return good(mail::KeyedTokens::create(keys));
}

// Subject, text and HTML.
void template_render(benchmark::State& state) {
  const mail::TemplateSet set = templates();
  const auto match = set.find("otp", "en");
  mail::Values values;
  values.recipient = "alice@example.net";
  values.purpose = "login";
  values.app = "Example";
  values.domain = "example.org";
  values.code = "012345";
  values.minutes = "10";
  values.expires_at = "12:10 UTC";
  for (auto _ : state) {
    for (const auto* part : {&match->variant.subject, &match->variant.text, &match->variant.html}) {
      std::string out;
      if (!part->render(values, out)) return state.SkipWithError("not rendered");
      benchmark::DoNotOptimize(out);
    }
  }
}
BENCHMARK(template_render);

core::ComposeRequest otp_mail() {
  core::ComposeRequest request;
  request.app = "shop";
  request.template_name = "otp";
  request.locale = "en";
  request.recipient = {"alice", "example.net"};
  request.message = id_of(1);
  request.challenge = id_of(2);
  request.at = k_now;
  request.life = core::Seconds{600};
  request.code = core::Secret(std::string("012345"));
  request.purpose = "login";
  return request;
}

mail::MailComposer composer_with(const mail::KeyedTokens& keyed) {
  mail::ComposerSettings settings;
  settings.from = {"Example", {"no-reply", "example.org"}};
  settings.hostname = "otp.example.org";
  settings.tokens = &keyed;
  return {templates(), std::move(settings)};
}

std::string composed() {
  const mail::KeyedTokens keyed = tokens();
  const mail::MailComposer composer = composer_with(keyed);
  return std::string(good(composer.compose(otp_mail())).content.reveal());
}

void compose_mail(benchmark::State& state) {
  const mail::KeyedTokens keyed = tokens();
  const mail::MailComposer composer = composer_with(keyed);
  const core::ComposeRequest request = otp_mail();
  for (auto _ : state) {
    auto mail = composer.compose(request);
    if (!mail) return state.SkipWithError("not composed");
    benchmark::DoNotOptimize(mail);
  }
  state.counters["bytes"] = static_cast<double>(composed().size());
}
BENCHMARK(compose_mail);

void token_of_recipient(benchmark::State& state) {
  const mail::KeyedTokens keyed = tokens();
  for (auto _ : state)
    benchmark::DoNotOptimize(keyed.recipient(4711, "alice@example.net", k_now));
}
BENCHMARK(token_of_recipient);

// ---- Codes, hashes, seals

void code_made(benchmark::State& state, core::CodeSpec spec) {
  daemon::KernelRandom random;
  for (auto _ : state)
    benchmark::DoNotOptimize(core::make_code(spec, random));
}
BENCHMARK_CAPTURE(code_made, six_digits, core::CodeSpec{});
BENCHMARK_CAPTURE(code_made, ten_of_crockford32, core::CodeSpec{10, core::Alphabet::crockford32});

void id_made(benchmark::State& state) {
  daemon::KernelRandom random;
  core::IdSource ids(random);
  for (auto _ : state)
    benchmark::DoNotOptimize(ids.next(k_now));
}
BENCHMARK(id_made);

store::KeyRing key_ring() {
  std::vector<core::Secret> masters;
  masters.emplace_back(std::string(32, 'k'));
  return good(store::KeyRing::create(masters, "bench.key"));
}

// What a check does with the code: normalise, hash, compare.
void code_checked(benchmark::State& state) {
  store::KeyRing keys = key_ring();
  const core::Id challenge = id_of(2);
  const store::CodeSubject subject{challenge, "shop", "login", "alice@example.net"};
  const store::Mac kept = good(keys.code_mac(keys.writing(), subject, "123456"));
  for (auto _ : state) {
    const core::Secret typed = core::normalise_typed("123 456", core::Alphabet::digits);
    const auto mac = keys.code_mac(keys.writing(), subject, typed.reveal());
    if (!mac || !store::same_bytes(store::bytes_of(*mac), store::bytes_of(kept)))
      return state.SkipWithError("a right code is wrong");
  }
}
BENCHMARK(code_checked);

// What store/limits.h hashes for a send of which network and device are known.
void budget_keys(benchmark::State& state) {
  store::Hmac hmac = good(store::Hmac::create(core::Secret(std::string(32, 'b'))));
  const core::LimitsConfig limits;
  const core::Address recipient{"alice", "example.net"};
  for (auto _ : state) {
    const std::string to = core::folded(recipient, limits);
    benchmark::DoNotOptimize(hmac.of({"sends", "shop", "login", to}));
    benchmark::DoNotOptimize(hmac.of({"network", "shop", "192.0.2.7"}));
    benchmark::DoNotOptimize(hmac.of({"device", "shop", to, "0123456789abcdef"}));
  }
}
BENCHMARK(budget_keys);

void body_sealed(benchmark::State& state) {
  store::KeyRing keys = key_ring();
  daemon::KernelRandom random;
  const std::string body = composed();
  const core::Id message = id_of(1);
  for (auto _ : state)
    benchmark::DoNotOptimize(keys.seal(store::Sealed::content, message, body, random));
}
BENCHMARK(body_sealed);

void body_unsealed(benchmark::State& state) {
  store::KeyRing keys = key_ring();
  daemon::KernelRandom random;
  const core::Id message = id_of(1);
  const std::string sealed = good(keys.seal(store::Sealed::content, message, composed(), random));
  for (auto _ : state) {
    auto opened = keys.unseal(keys.writing(), store::Sealed::content, message, sealed);
    if (!opened) return state.SkipWithError("not opened");
    benchmark::DoNotOptimize(opened);
  }
}
BENCHMARK(body_unsealed);

}  // namespace
}  // namespace mailotp::bench

BENCHMARK_MAIN();
