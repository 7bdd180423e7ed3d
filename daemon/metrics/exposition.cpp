#include "daemon/metrics/exposition.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <iterator>

#include <fmt/format.h>

#include "core/check.h"

namespace mailotp::daemon {

namespace {

std::string_view name_of(MetricType type) {
  switch (type) {
    case MetricType::counter:
      return "counter";
    case MetricType::gauge:
      return "gauge";
    case MetricType::histogram:
      return "histogram";
  }
  return "";
}

// In HELP a quote stays as it is.
enum class Place : std::uint8_t { help, label };

std::string escaped(std::string_view text, Place place) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    if (c == '\\')
      out += "\\\\";
    else if (c == '\n')
      out += "\\n";
    else if (c == '"' && place == Place::label)
      out += "\\\"";
    else
      out += c;
  }
  return out;
}

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  // Whole numbers without an exponent: they are read by people.
  if (std::abs(value) < 1e15 && value == std::floor(value)) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

// `le` comes last, and not at all when empty.
std::string labels_text(const Labels& labels, std::string_view le = {}) {
  std::string out;
  for (const auto& [name, value] : labels)
    out += fmt::format("{}{}=\"{}\"", out.empty() ? "" : ",", name, escaped(value, Place::label));
  if (!le.empty()) out += fmt::format("{}le=\"{}\"", out.empty() ? "" : ",", le);
  return out.empty() ? out : "{" + out + "}";
}

void write_histogram(std::string& out, const Family& family, const Sample& sample) {
  const Histogram& histogram = std::get<Histogram>(sample.value);
  const auto to = std::back_inserter(out);
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < histogram.counts().size(); ++i) {
    total += histogram.counts()[i];
    const std::string le = i < histogram.bounds().size() ? number(histogram.bounds()[i]) : "+Inf";
    fmt::format_to(to, "{}_bucket{} {}\n", family.name, labels_text(sample.labels, le), total);
  }
  const std::string labels = labels_text(sample.labels);
  fmt::format_to(to, "{}_sum{} {}\n", family.name, labels, number(histogram.sum()));
  fmt::format_to(to, "{}_count{} {}\n", family.name, labels, total);
}

void write_family(std::string& out, Family& family) {
  std::ranges::sort(family.samples, {}, &Sample::labels);
  fmt::format_to(std::back_inserter(out), "# HELP {} {}\n# TYPE {} {}\n", family.name,
                 escaped(family.help, Place::help), family.name, name_of(family.type));
  for (const Sample& sample : family.samples) {
    if (family.type == MetricType::histogram)
      write_histogram(out, family, sample);
    else
      fmt::format_to(std::back_inserter(out), "{}{} {}\n", family.name, labels_text(sample.labels),
                     number(std::get<double>(sample.value)));
  }
}

}  // namespace

std::string exposition(std::vector<Family> families) {
  std::ranges::sort(families, {}, &Family::name);
  CHECK(std::ranges::adjacent_find(families, {}, &Family::name) == families.end());
  std::string out;
  for (Family& family : families)
    write_family(out, family);
  return out;
}

}  // namespace mailotp::daemon
