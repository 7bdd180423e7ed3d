#include "daemon/state/reader_thread.h"

#include <chrono>

#include <pthread.h>

namespace mailotp::daemon {

namespace {

constexpr std::size_t k_waiting_reads = 20'000;

}  // namespace

ReaderThread::ReaderThread(uv_loop_t* loop, std::unique_ptr<core::StoreReader> reader)
    : tasks_(k_waiting_reads),
      done_(k_waiting_reads),
      wakeup_(loop, [this] { deliver(); }),
      reader_(std::move(reader)) {
  thread_ = std::thread([this] { run(); });
  (void)pthread_setname_np(thread_.native_handle(), "reader");  // for people only
}

ReaderThread::~ReaderThread() {
  stop();
}

void ReaderThread::stop() {
  tasks_.close();
  if (thread_.joinable()) thread_.join();
}

void ReaderThread::run() {
  while (!tasks_.closed_and_empty()) {
    for (Task& task : tasks_.wait(64, std::chrono::steady_clock::now() + std::chrono::seconds{60})) {
      task.work(*reader_);
      task.work = nullptr;
      done_.push(std::move(task.done));
      wakeup_.send();
    }
  }
}

void ReaderThread::deliver() {
  for (auto& done : done_.take(k_waiting_reads))
    done();
}

}  // namespace mailotp::daemon
