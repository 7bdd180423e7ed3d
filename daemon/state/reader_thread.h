// The reader's thread: lists, views and statistics on a read-only connection, and whatever else reads files,
// so that neither the loop nor a commit waits for it.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include <uv.h>

#include "core/store.h"
#include "daemon/loop/handles.h"
#include "daemon/loop/mailbox.h"

namespace mailotp::daemon {

class ReaderThread {
 public:
  ReaderThread(uv_loop_t* loop, std::unique_ptr<core::StoreReader> reader);
  ~ReaderThread();
  ReaderThread(const ReaderThread&) = delete;
  ReaderThread& operator=(const ReaderThread&) = delete;

  // Runs `work` on the reader's thread, then `done` with its result on the loop thread. False when too much
  // waits already.
  template <class R>
  [[nodiscard]] bool read(std::function<core::Result<R>(core::StoreReader&)> work,
                          std::function<void(core::Result<R>)> done) {
    auto result = std::make_shared<core::Result<R>>(
        core::fail(core::Errc::internal, "not read"));  // handed from thread to thread
    Task task{[work = std::move(work), result](core::StoreReader& reader) { *result = work(reader); },
              [done = std::move(done), result] { done(std::move(*result)); }};
    return tasks_.try_push(task);
  }

  // What must not be refused, before all that is asked later.
  void tell(std::function<void(core::StoreReader&)> work) {
    tasks_.push({std::move(work), [] {}});
  }

  // Finishes what was asked; no completion comes after this returns but those already on their way are
  // dropped.
  void stop();

 private:
  struct Task {
    std::function<void(core::StoreReader&)> work;
    std::function<void()> done;
  };
  void run();
  void deliver();

  Mailbox<Task> tasks_;
  Mailbox<std::function<void()>> done_;
  Wakeup wakeup_;
  std::unique_ptr<core::StoreReader> reader_;
  std::thread thread_;
};

}  // namespace mailotp::daemon
