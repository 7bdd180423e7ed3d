// What the API's handlers work with. Everything is borrowed and outlives them; all calls are on the loop
// thread.
#pragma once

#include <functional>

#include "core/id.h"
#include "core/log.h"
#include "core/random.h"
#include "daemon/api/in_force.h"
#include "daemon/api/reloaded.h"
#include "daemon/state/reader_thread.h"
#include "daemon/state/store_thread.h"

namespace mailotp::daemon {

class Apps;
class Backups;
class EventStreams;
class Health;
class RefusalNotes;
class RelayTests;
class Waits;

struct Services {
  const InForce& in_force;
  Apps& apps;
  StoreThread& store;
  ReaderThread& reader;
  Waits& waits;
  EventStreams& events;
  const Health& health;
  RelayTests& relay_tests;
  Backups& backups;
  RefusalNotes& refusals;
  std::function<void(ReloadDone)> reload;                     // reads configuration and keys again
  std::function<void(const core::SuspendRelay&)> on_suspend;  // an order that has been committed: now obey it
  core::IdSource& ids;
  core::RandomSource& random;
  core::Log& log;
};

}  // namespace mailotp::daemon
