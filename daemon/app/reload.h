// Reads configuration and key file again while the daemon runs. All or nothing: what cannot be used changes
// nothing. This version takes over the keys; a changed configuration it can only check. Loop thread; the
// files are read on the reader's thread.
#pragma once

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
  // `config_text`: what the file held at the start. All references outlive it.
  Reload(std::string config_path, std::string config_text, ReaderThread& reader, StoreThread& store,
         CurrentTokens& tokens, core::Log& log);

  // One at a time. Logs what came of it, too.
  void run(ReloadDone done);

 private:
  struct Files;
  void take(const core::Result<std::shared_ptr<Files>>& read);
  void finish(core::Result<Reloaded> result);

  std::string config_path_;
  std::string config_text_;
  ReaderThread& reader_;
  StoreThread& store_;
  CurrentTokens& tokens_;
  core::Log& log_;
  ReloadDone done_;  // of the one that is under way
};

}  // namespace mailotp::daemon
