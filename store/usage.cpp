#include "store/usage.h"

#include <algorithm>

#include <fmt/format.h>

#include "store/transaction.h"

namespace mailotp::store {

using core::Errc;
using core::Result;
using core::WallTime;

namespace {

constexpr std::size_t k_time_size = 8;

std::string pack(const std::vector<WallTime>& times) {
  std::string out;
  out.reserve(times.size() * k_time_size);
  for (const WallTime time : times) {
    const auto ms = static_cast<std::uint64_t>(core::to_unix_ms(time));
    for (std::size_t i = 0; i < k_time_size; ++i)
      out += static_cast<char>(ms >> (56 - 8 * i) & 0xff);
  }
  return out;
}

std::optional<std::vector<WallTime>> unpack(std::string_view bytes) {
  if (bytes.empty() || bytes.size() % k_time_size != 0 || bytes.size() > k_uses_a_part * k_time_size)
    return std::nullopt;
  std::vector<WallTime> out;
  out.reserve(bytes.size() / k_time_size);
  for (std::size_t from = 0; from < bytes.size(); from += k_time_size) {
    std::uint64_t ms = 0;
    for (std::size_t i = 0; i < k_time_size; ++i)
      ms = ms << 8 | static_cast<unsigned char>(bytes[from + i]);
    out.push_back(core::from_unix_ms(static_cast<std::int64_t>(ms)));
  }
  return out;
}

}  // namespace

Result<std::optional<UsagePart>> read_usage(Rows rows) {
  const auto found = rows.next();
  if (!found) return tl::unexpected(found.error());
  if (!*found) return std::optional<UsagePart>{};
  auto times = unpack(rows.blob(1));
  if (!times || rows.integer(0) < 0) return core::fail(Errc::corrupt, "store: a row of usage cannot be");
  return std::optional(UsagePart{rows.integer(0), *std::move(times)});
}

Result<std::optional<WallTime>> Window::nth_newest(std::int64_t n) {
  if (!std::exchange(looked_, true)) {
    auto found = source_.newest(key_);
    if (!found) return tl::unexpected(found.error());
    newest_ = *std::move(found);
  }
  if (!newest_) return std::optional<WallTime>{};
  const auto in_newest = static_cast<std::int64_t>(newest_->times.size());
  if (n <= in_newest) return std::optional(newest_->times[static_cast<std::size_t>(in_newest - n)]);
  const std::int64_t before = n - in_newest - 1;  // 0 is the last one of the part before
  const auto part = load(newest_->part - 1 - before / k_uses_a_part);
  // One that is damaged is as good as gone: it must not keep its owner out for ever.
  if (!part && part.error().code != Errc::corrupt) return tl::unexpected(part.error());
  if (!part || *part == nullptr || std::cmp_not_equal((*part)->times.size(), k_uses_a_part))
    return std::optional<WallTime>{};
  return std::optional((*part)->times[static_cast<std::size_t>(k_uses_a_part - 1 - before % k_uses_a_part)]);
}

Result<const UsagePart*> Window::load(std::int64_t part) {
  if (part < 0) return nullptr;
  if (!older_ || older_->part != part) {
    auto found = source_.part(key_, part);
    if (!found) return tl::unexpected(found.error());
    older_ = *std::move(found);
  }
  return older_ ? &*older_ : nullptr;
}

bool Window::counts(WallTime time, const core::Rate& rate) const {
  return time + rate.period > now_ && time <= now_ + k_ahead;
}

Result<std::optional<WallTime>> Window::full_until(const core::Rate& rate) {
  const auto last = nth_newest(rate.max);
  if (!last) return tl::unexpected(last.error());
  if (!*last || !counts(**last, rate)) return std::optional<WallTime>{};
  return std::optional(**last + core::Millis{rate.period});
}

Result<int> Window::room(const core::Rate& rate, int most) {
  const int highest = static_cast<int>(std::min<std::int64_t>(most, rate.max));
  // Room for j more: the j-th of those that fill the window now has left it by then.
  for (int j = 1; j <= highest; ++j) {
    const auto in_the_way = nth_newest(rate.max - j + 1);
    if (!in_the_way) return tl::unexpected(in_the_way.error());
    if (*in_the_way && counts(**in_the_way, rate)) return j - 1;
  }
  return highest;
}

void UsageMemory::hold(const core::Rate& rate) {
  uses = std::max(uses, rate.max);
  time = std::max(time, core::Millis{rate.period});
}

Result<UsageCache::Entry*> UsageCache::entry(const std::string& key) {
  const auto known = entries_.find(key);
  if (known != entries_.end()) return &known->second;
  auto found = read_usage(tx_.sql(WriterSql::usage_newest).select(Blob{key}));
  // A log that cannot be read is begun anew: it must not keep its owner out for ever.
  if (!found && found.error().code != Errc::corrupt) return tl::unexpected(found.error());
  Entry made;
  if (found) made.newest = *std::move(found);
  if (!found) {
    ++tx_.unreadable();
    if (auto gone = tx_.sql(WriterSql::usage_trim).run(Blob{key}, INT64_MAX); !gone)
      return tl::unexpected(gone.error());
  }
  return &entries_.emplace(key, std::move(made)).first->second;
}

Result<std::optional<UsagePart>> UsageCache::newest(const std::string& key) {
  const auto found = entry(key);
  if (!found) return tl::unexpected(found.error());
  return (*found)->newest;
}

Result<std::optional<UsagePart>> UsageCache::part(const std::string& key, std::int64_t part) {
  return read_usage(tx_.sql(WriterSql::usage_part).select(Blob{key}, part));
}

Result<> UsageCache::add(const std::string& key, WallTime at, const UsageMemory& memory) {
  const auto found = entry(key);
  if (!found) return tl::unexpected(found.error());
  Entry& e = **found;
  if (e.newest && std::cmp_equal(e.newest->times.size(), k_uses_a_part)) {
    if (e.dirty) {
      if (auto saved = save(key, e); !saved) return saved;
    }
    const std::int64_t next = e.newest->part + 1;
    const std::int64_t needed = (memory.uses + k_uses_a_part - 1) / k_uses_a_part + 1;
    if (auto gone = tx_.sql(WriterSql::usage_trim).run(Blob{key}, next - needed); !gone) return gone;
    e.newest = UsagePart{next, {}};
  }
  if (!e.newest) e.newest.emplace();
  // From when the clock was ahead: it would count for as long as the clock was wrong.
  if (!e.newest->times.empty() && e.newest->times.back() > at + k_ahead) {
    if (auto gone = tx_.sql(WriterSql::usage_trim).run(Blob{key}, INT64_MAX); !gone) return gone;
    e = Entry{UsagePart{}, {}, false};
  }
  // A clock that crept back does not put a use before an earlier one.
  if (!e.newest->times.empty()) at = std::max(at, e.newest->times.back());
  e.newest->times.push_back(at);
  e.until = std::max(e.until, at + memory.time);
  e.dirty = true;
  return {};
}

Result<> UsageCache::save(const std::string& key, const Entry& e) {
  return tx_.sql(WriterSql::usage_save).run(Blob{key}, e.newest->part, e.until, Blob{pack(e.newest->times)});
}

Result<> UsageCache::flush() {
  for (auto& [key, e] : entries_) {
    if (!std::exchange(e.dirty, false)) continue;
    if (auto saved = save(key, e); !saved) return saved;
  }
  return {};
}

}  // namespace mailotp::store
