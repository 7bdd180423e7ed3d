#include "store/keys.h"

#include <fstream>

#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include "store/key_file.h"
#include "tests/store/store_fixture.h"

namespace mailotp::store::test {

using core::Errc;
using core::Secret;

namespace {

const std::string k_zeros(64, '0');
const std::string k_ones = std::string(63, '0') + "1";

core::Id id_of(std::uint8_t last) {
  core::Id id;
  id.bytes[15] = last;
  return id;
}

}  // namespace

TEST_CASE("a key file has one key a line, comments and blank lines") {
  const auto keys = parse_key_file("# ours\n\n" + k_ones + "\r\n  " + k_zeros + "  \n# end");
  REQUIRE(keys);
  REQUIRE(keys->size() == 2);
  CHECK((*keys)[0].reveal() == std::string(31, '\0') + '\1');
  CHECK((*keys)[1].reveal() == std::string(32, '\0'));
}

TEST_CASE("an error in a key file names the line and nothing of its content") {
  const std::string bad =
      GENERATE_COPY(std::string(63, 'a'), std::string(65, 'a'), std::string(63, 'a') + "g",
                    std::string(63, 'a') + "A", std::string("secret words"));
  const auto keys = parse_key_file("# ours\n" + k_zeros + "\n" + bad + "\n");
  REQUIRE_FALSE(keys);
  CHECK(keys.error().code == Errc::malformed);
  CHECK(keys.error().what.find("line 3") != std::string::npos);
  CHECK(keys.error().what.find(bad) == std::string::npos);
}

TEST_CASE("a key file without a key, or with one twice, is refused") {
  CHECK(parse_key_file("").error().code == Errc::malformed);
  CHECK(parse_key_file("# nothing\n").error().code == Errc::malformed);
  CHECK(parse_key_file(k_ones + "\n" + k_ones).error().what.find("line 2") != std::string::npos);
}

TEST_CASE("a key file that others can access is refused") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/otp.key";
  std::ofstream(path) << k_ones << "\n";
  REQUIRE(::chmod(path.c_str(), 0600) == 0);
  REQUIRE(load_key_file(path));
  const mode_t mode = GENERATE(mode_t{0640}, mode_t{0604}, mode_t{0620});
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  const auto keys = load_key_file(path);
  REQUIRE_FALSE(keys);
  CHECK(keys.error().code == Errc::invalid);
  CHECK(keys.error().what.find(path) != std::string::npos);
}

TEST_CASE("a key that systemd hands over may be read by its group, and no more") {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/otp-key";
  std::ofstream(path) << k_ones << "\n";
  REQUIRE(::chmod(path.c_str(), 0440) == 0);  // the mask of an access list
  CHECK(load_key_file(path, KeyKeeper::systemd));
  const mode_t mode = GENERATE(mode_t{0444}, mode_t{0460}, mode_t{0450});
  REQUIRE(::chmod(path.c_str(), mode) == 0);
  CHECK_FALSE(load_key_file(path, KeyKeeper::systemd));
}

TEST_CASE("a key file that is missing or a folder is an error with its path") {
  const TemporaryFolder folder;
  CHECK(load_key_file(folder.path() + "/none").error().code == Errc::io);
  REQUIRE(::chmod(folder.path().c_str(), 0700) == 0);
  CHECK(load_key_file(folder.path()).error().code == Errc::invalid);
}

TEST_CASE("a code's hash depends on everything it is bound to") {
  KeyRing ring = key_ring({'a', 'b'});
  const core::Id id = id_of(1);
  const auto mac = [&](const CodeSubject& subject, const char* code) {
    return *ring.code_mac(ring.writing(), subject, code);
  };
  const Mac own = mac({id, "shop", "login", "a@b.org"}, "123456");
  CHECK(own == mac({id, "shop", "login", "a@b.org"}, "123456"));
  CHECK(own != mac({id_of(2), "shop", "login", "a@b.org"}, "123456"));
  CHECK(own != mac({id, "shop2", "login", "a@b.org"}, "123456"));
  CHECK(own != mac({id, "shop", "signup", "a@b.org"}, "123456"));
  CHECK(own != mac({id, "shop", "login", "c@b.org"}, "123456"));
  CHECK(own != mac({id, "shop", "login", "a@b.org"}, "123457"));
  // The same characters, cut at other places.
  CHECK(own != mac({id, "shoplogin", "", "a@b.org"}, "123456"));
  CHECK(own != mac({id, "shop", "login", "a@b.org1"}, "23456"));
  KeyRing other = key_ring({'b'});
  CHECK(own != *other.code_mac(other.writing(), {id, "shop", "login", "a@b.org"}, "123456"));
  CHECK(ring.code_mac(other.writing(), {id, "shop", "login", "a@b.org"}, "123456"));
  CHECK(other.code_mac(ring.writing(), {id, "", "", ""}, "1").error().code == Errc::not_found);
}

TEST_CASE("a sealed value opens for its own record, kind and key only") {
  KeyRing ring = key_ring({'a', 'b'});
  SeededRandom random(3);
  const core::Id id = id_of(1);
  const std::string plain = GENERATE(std::string(), std::string("x"), std::string(70'000, 'y'));
  const auto sealed = ring.seal(Sealed::content, id, plain, random);
  REQUIRE(sealed);
  CHECK(sealed->size() == plain.size() + 28);
  CHECK(*sealed != *ring.seal(Sealed::content, id, plain, random));
  const KeyId key = ring.writing();
  const auto opened = ring.unseal(key, Sealed::content, id, *sealed);
  REQUIRE(opened);
  CHECK(opened->reveal() == plain);
  CHECK(ring.unseal(key, Sealed::data, id, *sealed).error().code == Errc::corrupt);
  CHECK(ring.unseal(key, Sealed::content, id_of(2), *sealed).error().code == Errc::corrupt);
  const KeyId second = key_ring({'b'}).writing();
  CHECK(ring.unseal(second, Sealed::content, id, *sealed).error().code == Errc::corrupt);
  CHECK(ring.unseal(12345, Sealed::content, id, *sealed).error().code == Errc::not_found);
  for (const std::size_t at : {std::size_t{0}, std::size_t{12}, sealed->size() - 1}) {
    std::string touched = *sealed;
    touched[at] = static_cast<char>(touched[at] ^ 1);
    CHECK_FALSE(ring.unseal(key, Sealed::content, id, touched));
  }
  CHECK_FALSE(ring.unseal(key, Sealed::content, id, sealed->substr(0, sealed->size() - 1)));
  CHECK_FALSE(ring.unseal(key, Sealed::content, id, sealed->substr(0, 27)));
}

TEST_CASE("the key of the log is of its own, from the writing key") {
  const auto key = key_ring({'a', 'b'}).log_key();
  CHECK(key.size() == 32);
  CHECK(key.reveal() != key_ring({'a'}).token_keys()[0].reveal());
  CHECK(key.reveal() == key_ring({'a'}).log_key().reveal());
  CHECK(key.reveal() != key_ring({'b', 'a'}).log_key().reveal());
}

TEST_CASE("the keys of tokens are of their own, one from each key, the writing one's first") {
  const auto tokens = key_ring({'a', 'b'}).token_keys();
  REQUIRE(tokens.size() == 2);
  CHECK(tokens[0].size() == 32);
  CHECK(tokens[0].reveal() != tokens[1].reveal());
  CHECK(tokens[0].reveal() != std::string(32, 'a'));
  CHECK(tokens[1].reveal() == key_ring({'b'}).token_keys()[0].reveal());
}

TEST_CASE("a key ring takes keys of 32 bytes only") {
  std::vector<Secret> keys;
  CHECK(KeyRing::create(keys, "f").error().code == Errc::invalid);
  keys.emplace_back("short");
  CHECK(KeyRing::create(keys, "f").error().code == Errc::invalid);
}

}  // namespace mailotp::store::test
