// Which of the store's statements are run, and how often.
#pragma once

#include <map>
#include <string>

namespace mailotp::bench {

// Sees every connection that is opened while it lives. One at a time; its connections are of one thread.
class TracedStatements {
 public:
  TracedStatements();
  ~TracedStatements();
  TracedStatements(const TracedStatements&) = delete;
  TracedStatements& operator=(const TracedStatements&) = delete;

  // Those that write, by their names in store/statements.h, since the last call.
  [[nodiscard]] static std::map<std::string, int> take_writes();
};

}  // namespace mailotp::bench
