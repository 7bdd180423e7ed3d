// The words of refusals, as data: what MTAs and providers write, and what it means. Only
// core/bounce_class.cpp reads them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/bounce.h"
#include "core/bounce_class.h"

namespace mailotp::core::words {

// What a phrase is worth against the enhanced status code beside it.
enum class Weight : std::uint8_t {
  hint,     // when neither a code nor other words say why
  plain,    // refines a generic code, as 5.7.1
  certain,  // stands even against a code that names another reason
  tag,      // a provider's own code for just this
};

// Who refused, from the remote host or the recipient's domain.
enum class Provider : std::uint8_t {
  any,
  microsoft,
  google,
  yahoo,
  apple,
  kddi,
  docomo,
  france,
  tencent,
};

struct Phrase {
  // Lower case, one space for any space, "@" for any address; pieces parted by '*' follow each other.
  std::string_view text;
  BounceClass bounce_class = BounceClass::unknown;
  Weight weight = Weight::plain;
  Provider provider = Provider::any;
};

struct ProviderHost {
  std::string_view suffix;  // of the remote host or of the recipient's domain: whole labels
  Provider provider;
};

// What one provider means by a code that says something else, or nothing, in the registry.
struct ProviderStatus {
  Provider provider;
  std::string_view detail;  // subject and detail, "1.10"
  BounceClass bounce_class;
  RefusedAt at = RefusedAt::unknown;  // unknown: anywhere
};

struct StatusMeaning {
  std::string_view code;  // subject and detail, or the whole code; '?' stands for any digit
  BounceClass bounce_class;
  bool specific;  // stands against plain words
};

struct Match {
  const Phrase* phrase;
  std::size_t begin;
  std::size_t end;
};
struct Matches {
  static constexpr std::size_t k_most = 24;
  std::array<Match, k_most> of{};
  std::size_t count = 0;
};
// In a text made as Phrase::text says.
[[nodiscard]] Matches matches_in(std::string_view text);

[[nodiscard]] std::span<const ProviderHost> provider_hosts();
[[nodiscard]] std::span<const ProviderStatus> provider_statuses();
[[nodiscard]] std::span<const StatusMeaning> status_meanings();

}  // namespace mailotp::core::words
