// The text format of Prometheus.
#include "daemon/metrics/exposition.h"

#include <array>
#include <cmath>
#include <limits>
#include <string>

#include <catch2/catch.hpp>

using namespace mailotp::daemon;

namespace {

constexpr std::array k_bounds{0.005, 1.0, 2.5};

Family gauge(std::string name) {
  return {std::move(name), MetricType::gauge, "Help."};
}

}  // namespace

TEST_CASE("exposition: HELP and TYPE once, families by name, samples by label") {
  Family b = gauge("b");
  b.add({{"x", "2"}}, 2);
  b.add({{"x", "1"}}, 1);
  Family a{"a_total", MetricType::counter, "Of a."};
  a.add_count({}, 7);
  CHECK(exposition({b, a}) ==
        "# HELP a_total Of a.\n# TYPE a_total counter\na_total 7\n"
        "# HELP b Help.\n# TYPE b gauge\nb{x=\"1\"} 1\nb{x=\"2\"} 2\n");
}

TEST_CASE("exposition: a family without samples still says what it is") {
  CHECK(exposition({gauge("a")}) == "# HELP a Help.\n# TYPE a gauge\n");
  CHECK(exposition({}).empty());
}

TEST_CASE("exposition: a label is escaped where the format asks for it, and nowhere else") {
  Family a = gauge("a");
  a.help = "A \"quote\", a \\ and\na line.";
  a.add({{"app", "x\\y\"z\nw ä{}=,"}, {"relay", ""}}, 1);
  CHECK(exposition({a}) ==
        "# HELP a A \"quote\", a \\\\ and\\na line.\n# TYPE a gauge\n"
        "a{app=\"x\\\\y\\\"z\\nw ä{}=,\",relay=\"\"} 1\n");
}

TEST_CASE("exposition: numbers") {
  const auto shown = [](double value) {
    Family a = gauge("a");
    a.add({}, value);
    const std::string text = exposition({a});
    return text.substr(text.rfind("\na ") + 3);
  };
  CHECK(shown(0) == "0\n");
  CHECK(shown(-3) == "-3\n");
  CHECK(shown(0.1) == "0.1\n");
  CHECK(shown(1764302927.25) == "1764302927.25\n");
  CHECK(shown(9007199254740) == "9007199254740\n");
  CHECK(shown(1e300) == "1e+300\n");
  CHECK(shown(std::nan("")) == "NaN\n");
  CHECK(shown(std::numeric_limits<double>::infinity()) == "+Inf\n");
  CHECK(shown(-std::numeric_limits<double>::infinity()) == "-Inf\n");
}

TEST_CASE("exposition: a histogram is cumulative and ends with +Inf") {
  Histogram histogram(k_bounds);
  for (const double value : {0.001, 0.005, 0.5, 2.0, 2.5, 2.6, 100.0})
    histogram.observe(value);
  Family a{"a_seconds", MetricType::histogram, "Help."};
  a.samples.push_back({{{"kind", "otp"}}, histogram});
  a.samples.push_back({{}, Histogram(k_bounds)});
  CHECK(exposition({a}) ==
        "# HELP a_seconds Help.\n# TYPE a_seconds histogram\n"
        "a_seconds_bucket{le=\"0.005\"} 0\na_seconds_bucket{le=\"1\"} 0\na_seconds_bucket{le=\"2.5\"} 0\n"
        "a_seconds_bucket{le=\"+Inf\"} 0\na_seconds_sum 0\na_seconds_count 0\n"
        "a_seconds_bucket{kind=\"otp\",le=\"0.005\"} 2\na_seconds_bucket{kind=\"otp\",le=\"1\"} 3\n"
        "a_seconds_bucket{kind=\"otp\",le=\"2.5\"} 5\na_seconds_bucket{kind=\"otp\",le=\"+Inf\"} 7\n"
        "a_seconds_sum{kind=\"otp\"} 107.606\na_seconds_count{kind=\"otp\"} 7\n");
}
