#include "mail/imap/name_lookup.h"

#include <atomic>
#include <cstring>
#include <string>

#include <catch2/catch.hpp>
#include <netdb.h>
#include <poll.h>

using namespace mailotp;
using mail::NameLookup;
using mail::StopSignal;

namespace {

std::atomic<int> g_asked{0};     // calls of getaddrinfo
StopSignal* g_answer = nullptr;  // raised: "stuck" gets its answer
constexpr core::Millis k_long{60'000};
constexpr core::Millis k_short{20};

}  // namespace

// In place of the C library's: "stuck" waits as a name server that does not answer, "none" does not exist.
extern "C" int getaddrinfo(const char* host, const char* port, const addrinfo* hints, addrinfo** list) {
  ++g_asked;
  if (std::strcmp(host, "none") == 0) return EAI_NONAME;
  if (std::strcmp(host, "stuck") == 0) {
    pollfd wait{g_answer->descriptor(), POLLIN, 0};
    (void)::poll(&wait, 1, -1);
  }
  auto* found = new addrinfo{};
  auto* address = new sockaddr_in{};
  address->sin_family = AF_INET;
  address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address->sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
  found->ai_family = AF_INET;
  found->ai_socktype = hints->ai_socktype;
  found->ai_addr = reinterpret_cast<sockaddr*>(address);
  found->ai_addrlen = sizeof *address;
  *list = found;
  return 0;
}
extern "C" void freeaddrinfo(addrinfo* list) {
  delete reinterpret_cast<sockaddr_in*>(list->ai_addr);
  delete list;
}

TEST_CASE("an address needs no resolver, a name has one") {
  const StopSignal stop;
  const int before = g_asked;
  for (const char* host : {"127.0.0.1", "::1", "name.test"}) {
    NameLookup names(host, 993);
    const auto found = names.lookup(k_long, stop);
    REQUIRE(found);
    REQUIRE(found->size() == 1);
    CHECK(mail::is_loopback(found->front()));
    CHECK(mail::to_string(found->front()).ends_with(":993"));
  }
  CHECK(g_asked == before + 1);
}

TEST_CASE("a name that does not exist is unavailable") {
  const StopSignal stop;
  NameLookup names("none", 993);
  const auto found = names.lookup(k_long, stop);
  REQUIRE_FALSE(found);
  CHECK(found.error().code == core::Errc::unavailable);
  CHECK(found.error().what.starts_with("cannot resolve none: "));
}

TEST_CASE("a resolver that does not answer is given up in time, asked once, and its answer is used") {
  const StopSignal stop;
  static StopSignal answer;  // the resolver's thread may outlast the test case
  g_answer = &answer;
  const int before = g_asked;
  NameLookup names("stuck", 993);
  for (int i = 0; i < 3; ++i) {
    const auto found = names.lookup(k_short, stop);
    REQUIRE_FALSE(found);
    CHECK(found.error().code == core::Errc::timed_out);
  }
  answer.raise(core::Millis{0});
  CHECK(names.lookup(k_long, stop));
  CHECK(g_asked == before + 1);
}

TEST_CASE("the stop signal ends a lookup, and a resolver that outlasts its owner harms nobody") {
  static StopSignal answer;
  g_answer = &answer;
  StopSignal stop;
  stop.raise(core::Millis{0});
  {
    NameLookup names("stuck", 993);
    CHECK(names.lookup(k_long, stop).error().code == core::Errc::timed_out);
  }
  answer.raise(core::Millis{0});
}
