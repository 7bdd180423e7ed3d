// The corpora of the fuzz targets, whole and cut: nothing of them may break what holds for every input.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

#include "tests/fuzz/address_invariants.h"
#include "tests/fuzz/config_invariants.h"
#include "tests/fuzz/http_invariants.h"
#include "tests/fuzz/json_invariants.h"
#include "tests/fuzz/template_invariants.h"

using namespace mailotp;

namespace {

struct Target {
  const char* name;
  void (*check)(std::string_view input);
  std::size_t cuts;  // how many beginnings and ends of an input are tried
};

// What a program of two seconds has time for.
constexpr Target k_targets[] = {{"address", fuzz::check_address, 200},
                                {"config", fuzz::check_config, 20},
                                {"http", fuzz::check_http, 100},
                                {"json", fuzz::check_json, 50},
                                {"template", fuzz::check_template, 20}};

std::vector<std::string> corpus(const std::string& name) {
  std::vector<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(CORPUS) + "/" + name)) {
    std::ifstream stream(entry.path(), std::ios::binary);
    out.emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
  }
  return out;
}

}  // namespace

TEST_CASE("the fuzzers' corpora hold, whole and cut") {
  for (const Target& target : k_targets) {
    const std::vector<std::string> inputs = corpus(target.name);
    INFO(target.name);
    CHECK(inputs.size() >= 20);
    for (const std::string& input : inputs) {
      target.check(input);
      const std::string_view whole = input;
      const std::size_t step = std::max<std::size_t>(1, whole.size() / target.cuts);
      for (std::size_t at = step; at < whole.size(); at += step) {
        target.check(whole.substr(0, at));
        target.check(whole.substr(at));
      }
    }
  }
}
