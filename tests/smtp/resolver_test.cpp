// The resolver against a getaddrinfo(3) that this program defines: the dynamic linker takes ours.
#include "mail/smtp/resolver.h"

#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <netdb.h>
#include <netinet/in.h>
#include <uv.h>

using namespace mailotp;
using mail::Endpoint;
using mail::Resolver;

namespace {

// What getaddrinfo says next; it is called in libuv's pool.
std::mutex k_mutex;
int k_error = 0;
std::vector<std::uint32_t> k_addresses;  // IPv4, host order
int k_questions = 0;

void world(int error, std::vector<std::uint32_t> addresses = {}) {
  const std::lock_guard lock(k_mutex);
  k_error = error;
  k_addresses = std::move(addresses);
}

addrinfo* entry(std::uint32_t address, addrinfo* next) {
  auto* in = new sockaddr_in{};
  in->sin_family = AF_INET;
  in->sin_addr.s_addr = htonl(address);
  auto* out = new addrinfo{};
  out->ai_family = AF_INET;
  out->ai_socktype = SOCK_STREAM;
  out->ai_addr = reinterpret_cast<sockaddr*>(in);
  out->ai_addrlen = sizeof *in;
  out->ai_next = next;
  return out;
}

}  // namespace

extern "C" int getaddrinfo(const char*, const char*, const addrinfo*, addrinfo** out) {
  const std::lock_guard lock(k_mutex);
  ++k_questions;
  *out = nullptr;
  if (k_error != 0) return k_error;
  for (auto it = k_addresses.rbegin(); it != k_addresses.rend(); ++it)
    *out = entry(*it, *out);
  return 0;
}

extern "C" void freeaddrinfo(addrinfo* list) {
  while (list != nullptr) {
    addrinfo* next = list->ai_next;
    delete reinterpret_cast<sockaddr_in*>(list->ai_addr);
    delete list;
    list = next;
  }
}

namespace {

class World {
 public:
  World() { REQUIRE(uv_loop_init(&loop_) == 0); }
  ~World() {
    resolver_.reset();
    (void)uv_run(&loop_, UV_RUN_DEFAULT);
    REQUIRE(uv_loop_close(&loop_) == 0);
  }

  core::Result<std::vector<Endpoint>> ask() {
    if (!resolver_) resolver_.emplace(&loop_, "relay.example", 25, deadlines);
    std::optional<core::Result<std::vector<Endpoint>>> answer;
    resolver_->resolve(this, [&answer](const auto& found) { answer = found; });
    while (!answer)
      (void)uv_run(&loop_, UV_RUN_ONCE);
    return *answer;
  }

  mail::Deadlines deadlines;

 private:
  uv_loop_t loop_;
  std::optional<Resolver> resolver_;
};

constexpr std::uint32_t k_one = 0xc0000201;  // 192.0.2.1
constexpr std::uint32_t k_two = 0xc0000202;

}  // namespace

TEST_CASE("row 4: no answer about a name is ever more than a temporary fault") {
  for (const int error : {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_NODATA}) {
    World w;
    world(error);
    const auto found = w.ask();
    REQUIRE_FALSE(found);
    CHECK(found.error().code == core::Errc::unavailable);
    CHECK(found.error().what.find("cannot resolve relay.example: ") == 0);
    world(0, {k_one});
    CHECK(w.ask().value().size() == 1);
  }
  World empty;
  world(0, {});
  CHECK_FALSE(empty.ask());
}

TEST_CASE("row 4: the last good addresses stand in, for their time") {
  World w;
  world(0, {k_one, k_two});
  REQUIRE(w.ask().value().size() == 2);
  for (const int error : {EAI_NONAME, EAI_AGAIN, EAI_FAIL}) {
    world(error);
    CHECK(mail::to_string(w.ask().value().at(0)) == "192.0.2.1:0");
  }
  world(0, {});
  CHECK(w.ask().value().size() == 2);
  w.deadlines.address_memory = core::Millis{0};
  CHECK_FALSE(w.ask());
}

TEST_CASE("row 6: every connection asks anew") {
  World w;
  world(0, {k_one});
  const int before = k_questions;
  CHECK(mail::to_string(w.ask().value().at(0)) == "192.0.2.1:0");
  world(0, {k_two});
  CHECK(mail::to_string(w.ask().value().at(0)) == "192.0.2.2:0");
  CHECK(k_questions == before + 2);
}
