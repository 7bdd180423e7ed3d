#include "daemon/state/snapshot_thread.h"

#include <chrono>
#include <memory>
#include <utility>

#include <pthread.h>

namespace mailotp::daemon {

using core::Errc;
using core::Result;

namespace {

constexpr std::size_t k_most_tasks = 64;  // there are never more than a few

}  // namespace

SnapshotThread::SnapshotThread(uv_loop_t* loop, std::string state_dir)
    : state_dir_(std::move(state_dir)),
      tasks_(k_most_tasks),
      done_(k_most_tasks),
      wakeup_(loop, [this] { deliver(); }) {}

SnapshotThread::~SnapshotThread() {
  stop();
}

template <class R>
void SnapshotThread::ask(std::function<Result<R>(Held&)> work, std::function<void(Result<R>)> done) {
  auto result = std::make_shared<Result<R>>(core::fail(Errc::internal, "not done"));  // from thread to thread
  tasks_.push({[work = std::move(work), result](Held& held) { *result = work(held); },
               [done = std::move(done), result] { done(std::move(*result)); }});
  if (thread_.joinable() || stopped_) return;
  thread_ = std::thread([this] { run(); });
  (void)pthread_setname_np(thread_.native_handle(), "backup");  // for people only
}

void SnapshotThread::take(std::int64_t keep_free, std::function<void(Result<std::uint64_t>)> done) {
  ask<std::uint64_t>(
      [this, keep_free](Held& held) -> Result<std::uint64_t> {
        held.reset();
        auto taken = store::Snapshot::take(state_dir_, keep_free, [this] { return tasks_.open_and_empty(); });
        if (!taken) return tl::unexpected(taken.error());
        held.emplace(*std::move(taken));
        return held->size();
      },
      std::move(done));
}

void SnapshotThread::read(std::uint64_t from, std::size_t most,
                          std::function<void(Result<std::string>)> done) {
  ask<std::string>(
      [from, most](Held& held) -> Result<std::string> {
        if (!held) return core::fail(Errc::internal, "there is no snapshot");
        return held->read(from, most);
      },
      std::move(done));
}

void SnapshotThread::drop() {
  if (thread_.joinable()) tasks_.push({[](Held& held) { held.reset(); }, nullptr});
}

void SnapshotThread::stop() {
  stopped_ = true;
  tasks_.close();
  if (thread_.joinable()) thread_.join();
  (void)done_.take(k_most_tasks);
}

void SnapshotThread::run() {
  Held held;
  while (!tasks_.closed_and_empty()) {
    // One at a time: what waits behind it tells take() to end.
    for (Task& task : tasks_.wait(1, std::chrono::steady_clock::now() + std::chrono::seconds{60})) {
      task.work(held);
      task.work = nullptr;
      if (!task.done) continue;
      done_.push(std::move(task.done));
      wakeup_.send();
    }
  }
}

void SnapshotThread::deliver() {
  for (auto& done : done_.take(k_most_tasks))
    done();
}

}  // namespace mailotp::daemon
