// A maildir that mails are put into: tmp, fsync, rename to new, fsync of new. Every call blocks on the disk;
// an object is immutable, so any thread may call it.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "core/delivery.h"
#include "core/result.h"
#include "core/time.h"

namespace mailotp::mail {

class CaptureMaildir {
 public:
  // `folder`: absolute; it and its tmp, new and cur are made by the daemon.
  explicit CaptureMaildir(std::string folder) : folder_(std::move(folder)) {}

  // "SECONDS.MESSAGE_ATTEMPT.HOST": the maildir's own form, unique by message and attempt, so that a repeat
  // is a second file that shows what it repeats.
  [[nodiscard]] static std::string file_name(const core::AttemptKey& key, core::WallTime now,
                                             std::string_view hostname);

  // Writes and syncs tmp/name, which must not exist; nothing is left of it when that fails. Errc::io.
  [[nodiscard]] core::Result<> write(const std::string& name, std::string_view content) const;
  // Renames it into new. Errc::io: it is not there, and not in tmp.
  [[nodiscard]] core::Result<> publish(const std::string& name) const;
  // After publish(): from here the mail survives a power loss. Errc::io.
  [[nodiscard]] core::Result<> sync() const;
  // Removes tmp/name, if it is there.
  void discard(const std::string& name) const;
  // Whether mails can be put in: makes, syncs and renames nothing for a reader to see. Errc::io.
  [[nodiscard]] core::Result<> probe(const std::string& name) const;

 private:
  std::string folder_;
};

}  // namespace mailotp::mail
