// Reads configuration and key file again while the daemon runs. All or nothing: what cannot be used changes
// nothing. This version takes over the keys; a changed configuration it can only check. Loop thread; the
// files are read on the reader's thread.
#pragma once

#include <memory>
#include <string>

#include "core/log.h"
#include "daemon/api/reloaded.h"
#include "daemon/app/current_tokens.h"
#include "daemon/state/reader_thread.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

// The key file, or systemd's copy of it.
struct KeyPlace {
  std::string path;
  bool is_credential = false;
};
[[nodiscard]] KeyPlace key_place(const std::string& configured);

class Reload {
 public:
  // The files as they were at the start; `config_text` is what the configuration said. All references outlive
  // it.
  Reload(std::string config_path, std::string config_text, std::string key_file, ReaderThread& reader,
         StoreThread& store, CurrentTokens& tokens, core::Log& log);

  // One at a time. Logs what came of it, too.
  void run(ReloadDone done);
  // The daemon stops: whoever waits is told so.
  void stop();

 private:
  struct Files;
  [[nodiscard]] static core::Result<std::shared_ptr<Files>> read_files(const std::string& path,
                                                                       const std::string& before,
                                                                       const KeyPlace& place);
  void take(const core::Result<std::shared_ptr<Files>>& read);
  void finish(tl::expected<Reloaded, ReloadFailure> result);

  std::string config_path_;
  std::string config_text_;
  std::string key_file_;
  ReaderThread& reader_;
  StoreThread& store_;
  CurrentTokens& tokens_;
  core::Log& log_;
  ReloadDone done_;  // of the one that is under way
};

}  // namespace mailotp::daemon
