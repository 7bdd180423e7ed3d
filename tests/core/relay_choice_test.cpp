// Which relay takes a message.
#include "core/relay_choice.h"

#include <catch2/catch.hpp>

namespace mailotp::core {
namespace {

RelayOffer relay(std::string name, int priority = 10, RelayUse use = RelayUse::clean, int jobs = 1) {
  RelayOffer out;
  out.name = std::move(name);
  out.priority = priority;
  out.use = use;
  out.jobs = jobs;
  return out;
}

std::string chosen(const MessageRow& row, const std::vector<RelayOffer>& relays) {
  const RelayChoice choice = choose_relay(row, relays);
  if (std::holds_alternative<RelayWait>(choice)) return "wait";
  if (std::holds_alternative<RelayNone>(choice)) return "none";
  return relays[std::get<std::size_t>(choice)].name;
}

TEST_CASE("the lower number comes first, however busy it is") {
  const MessageRow row;
  CHECK(chosen(row, {relay("a", 20), relay("b", 10)}) == "b");
  CHECK(chosen(row, {relay("a", 20), relay("b", 10, RelayUse::clean, 0)}) == "wait");
  CHECK(chosen(row, {relay("a", 20), relay("b", 10, RelayUse::no)}) == "a");
}

TEST_CASE("a clean record goes before priority") {
  const MessageRow row;
  CHECK(chosen(row, {relay("a", 10, RelayUse::doubtful), relay("b", 20)}) == "b");
  CHECK(chosen(row, {relay("a", 10, RelayUse::doubtful), relay("b", 20, RelayUse::doubtful)}) == "a");
  CHECK(chosen(row, {relay("a", 10, RelayUse::doubtful), relay("b", 20, RelayUse::no)}) == "a");
}

TEST_CASE("equal ones take turns, and a full one is passed over") {
  const MessageRow row;
  std::vector<RelayOffer> relays{relay("a", 10, RelayUse::clean, 9), relay("b", 10, RelayUse::clean, 9),
                                 relay("c", 10, RelayUse::clean, 2)};
  std::string order;
  for (std::uint64_t turn = 1; turn <= 9; ++turn) {
    const RelayChoice choice = choose_relay(row, relays);
    REQUIRE(std::holds_alternative<std::size_t>(choice));
    RelayOffer& taken = relays[std::get<std::size_t>(choice)];
    taken.last_turn = turn;
    --taken.jobs;
    order += taken.name;
  }
  CHECK(order == "abcabcaba");
}

TEST_CASE("what was tried or has refused is not asked") {
  MessageRow row;
  row.tried = {"a"};
  row.refused_by = "b";
  CHECK(chosen(row, {relay("a"), relay("b"), relay("c", 99)}) == "c");
  CHECK(chosen(row, {relay("a"), relay("b")}) == "none");
  CHECK(chosen(row, {}) == "none");
}

TEST_CASE("greylisting keeps to its relay as long as that can be used") {
  MessageRow row;
  row.relay = "b";
  row.waits_for = WaitsFor::greylist;
  CHECK(chosen(row, {relay("a", 1), relay("b", 20)}) == "b");
  CHECK(chosen(row, {relay("a", 1), relay("b", 20, RelayUse::doubtful)}) == "b");
  CHECK(chosen(row, {relay("a", 1), relay("b", 20, RelayUse::clean, 0)}) == "wait");
  CHECK(chosen(row, {relay("a", 1), relay("b", 20, RelayUse::no)}) == "a");
}

TEST_CASE("a relay that puts a message off again and again gives way to another one") {
  MessageRow row;
  row.relay = "a";
  row.reply = Reply{452, "4.3.1", "disk full"};
  row.attempts = 1;
  CHECK(chosen(row, {relay("a", 1), relay("b", 20)}) == "a");
  row.attempts = 2;
  CHECK(chosen(row, {relay("a", 1), relay("b", 20)}) == "b");
  CHECK(chosen(row, {relay("a", 1), relay("b", 20, RelayUse::doubtful)}) == "a");
  CHECK(chosen(row, {relay("a", 1)}) == "a");
  row.relay = "b";  // which has put it off as well
  CHECK(chosen(row, {relay("a", 1), relay("b", 20)}) == "a");
  row.reply = Reply{0, "", "uncertain: cut"};
  CHECK(chosen(row, {relay("a", 30), relay("b", 20)}) == "b");
  // Greylisting keeps to its relay.
  row.reply = Reply{450, "4.7.1", "greylisted"};
  row.waits_for = WaitsFor::greylist;
  CHECK(chosen(row, {relay("a", 1), relay("b", 20)}) == "b");
}

TEST_CASE("whether another relay is left") {
  MessageRow row;
  row.relay = "a";
  const auto left = [&](const std::vector<RelayOffer>& relays) {
    return other_relay(row, relays) == OtherRelay::usable;
  };
  CHECK_FALSE(left({relay("a")}));
  CHECK(left({relay("a"), relay("b", 10, RelayUse::doubtful, 0)}));
  CHECK_FALSE(left({relay("a"), relay("b", 10, RelayUse::no)}));
  row.tried = {"b"};
  CHECK_FALSE(left({relay("a"), relay("b")}));
  row.tried.clear();
  row.refused_by = "b";
  CHECK_FALSE(left({relay("a"), relay("b")}));
}

}  // namespace
}  // namespace mailotp::core
