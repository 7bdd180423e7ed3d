// Random sources for tests: one that is seeded, one that gives what the test says.
#pragma once

#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

#include "core/random.h"

namespace mailotp::core::test {

class SeededRandom final : public RandomSource {
 public:
  explicit SeededRandom(std::uint64_t seed) : engine_(seed) {}
  void fill(std::span<std::uint8_t> out) override {
    ++fills_;
    for (auto& byte : out)
      byte = static_cast<std::uint8_t>(engine_());
  }
  [[nodiscard]] int fills() const { return fills_; }

 private:
  std::mt19937_64 engine_;
  int fills_ = 0;
};

// Gives the words one after the other, each as four bytes with the highest first; then `rest` for ever.
class ScriptedRandom final : public RandomSource {
 public:
  explicit ScriptedRandom(std::vector<std::uint32_t> words, std::uint8_t rest = 0)
      : words_(std::move(words)), rest_(rest) {}
  void fill(std::span<std::uint8_t> out) override {
    for (auto& byte : out) {
      byte = at_ / 4 < words_.size() ? static_cast<std::uint8_t>(words_[at_ / 4] >> (24 - 8 * (at_ % 4)))
                                     : rest_;
      ++at_;
    }
  }
  [[nodiscard]] std::size_t bytes_taken() const { return at_; }

 private:
  std::vector<std::uint32_t> words_;
  std::uint8_t rest_;
  std::size_t at_ = 0;
};

}  // namespace mailotp::core::test
