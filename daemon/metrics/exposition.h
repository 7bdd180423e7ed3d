// The text format of Prometheus, version 0.0.4. Pure.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "daemon/metrics/histogram.h"

namespace mailotp::daemon {

inline constexpr std::string_view k_exposition_type = "text/plain; version=0.0.4; charset=utf-8";

// Names are ours; values may have any bytes.
using Labels = std::vector<std::pair<std::string, std::string>>;

struct Sample {
  Labels labels;
  std::variant<double, Histogram> value;
};

enum class MetricType : std::uint8_t { counter, gauge, histogram };

struct Family {
  std::string name;
  MetricType type = MetricType::gauge;
  std::string help;
  std::vector<Sample> samples = {};  // a Histogram each where the type says so, else a number

  void add(Labels labels, double value) { samples.push_back({std::move(labels), value}); }
  // Counters and counts are exact up to 2^53.
  void add_count(Labels labels, auto count) { add(std::move(labels), static_cast<double>(count)); }
};

// Families by name, each with its HELP and TYPE once; samples by their labels. No two families have the same
// name.
[[nodiscard]] std::string exposition(std::vector<Family> families);

}  // namespace mailotp::daemon
