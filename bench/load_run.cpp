#include "bench/load_run.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>

#include <fmt/format.h>
#include <sys/epoll.h>
#include <unistd.h>

namespace mailotp::bench {
namespace {

using Clock = std::chrono::steady_clock;

struct Slot {
  LoadConnection connection;
  Kind kind = Kind::create;
  std::uint64_t recipient = 0;
  Clock::time_point due;
  bool busy = false;
};

class Run {
 public:
  Run(const RunPlan& plan, const std::function<std::optional<Request>()>& next,
      const std::function<void(Kind, const Answer&)>& answered)
      : plan_(plan), next_(next), answered_(answered), slots_(plan.connections) {}
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;
  ~Run() {
    if (epoll_ >= 0) (void)::close(epoll_);
  }

  core::Result<Tally> go() {
    epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
    if (epoll_ < 0) return failed("epoll_create1");
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (auto open = open_slot(i); !open) return tl::unexpected(open.error());
      idle_.push_back(i);
    }
    start_ = Clock::now();
    while (true) {
      if (auto sent = send_what_is_due(); !sent) return tl::unexpected(sent.error());
      if (busy_ == 0 && (finished() || exhausted_)) break;
      if (auto heard = hear(); !heard) return tl::unexpected(heard.error());
    }
    tally_.began = start_;
    tally_.elapsed = Clock::now() - start_;
    return std::move(tally_);
  }

 private:
  static tl::unexpected<core::Error> failed(const char* call) {
    return core::fail(core::Errc::io, fmt::format("{}: {}", call, std::strerror(errno)));
  }

  core::Result<> open_slot(std::size_t index) {
    if (auto open = slots_[index].connection.open(plan_.socket); !open) return open;
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = index;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, slots_[index].connection.descriptor(), &event) != 0) {
      return failed("epoll_ctl");
    }
    return {};
  }

  [[nodiscard]] bool finished() const {
    return (plan_.requests && sent_ >= *plan_.requests) ||
           (plan_.duration && Clock::now() - start_ >= *plan_.duration);
  }

  [[nodiscard]] Clock::time_point due_of_next() const {
    if (plan_.rate <= 0) return Clock::now();
    const std::chrono::duration<double> offset(static_cast<double>(sent_) / plan_.rate);
    return start_ + std::chrono::duration_cast<Clock::duration>(offset);
  }

  core::Result<> send_what_is_due() {
    exhausted_ = false;
    while (!idle_.empty() && !finished()) {
      const Clock::time_point due = due_of_next();
      if (due > Clock::now()) return {};
      std::optional<Request> request = next_();
      if (!request) {
        exhausted_ = true;
        return {};
      }
      const std::size_t index = idle_.back();
      idle_.pop_back();
      ++sent_;
      ++busy_;
      Slot& slot = slots_[index];
      slot.kind = request->kind;
      slot.recipient = request->recipient;
      slot.due = due;
      slot.busy = true;
      if (!slot.connection.send(request->bytes)) {
        if (auto again = lost(index); !again) return again;
      }
    }
    return {};
  }

  core::Result<> hear() {
    std::array<epoll_event, 64> events{};
    const int count = ::epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), patience());
    if (count < 0 && errno != EINTR) return failed("epoll_wait");
    for (int i = 0; i < count; ++i) {
      if (auto heard = hear_slot(events[static_cast<std::size_t>(i)].data.u64); !heard) return heard;
    }
    return {};
  }

  // Milliseconds until the next request is due; below one it spins, or a fixed rate would have a grain of 1
  // ms.
  [[nodiscard]] int patience() const {
    if (plan_.rate <= 0 || idle_.empty() || finished()) return 100;
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(due_of_next() - Clock::now());
    return static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, 100));
  }

  core::Result<> hear_slot(std::size_t index) {
    Slot& slot = slots_[index];
    Answer answer;
    switch (slot.connection.receive(answer)) {
      case LoadConnection::Progress::pending:
        return {};
      case LoadConnection::Progress::lost:
        return lost(index);
      case LoadConnection::Progress::answered:
        break;
    }
    const auto took = std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - slot.due);
    tally_.latencies.push_back(static_cast<std::uint32_t>(std::max<std::int64_t>(0, took.count())));
    ++tally_.by_status[{slot.kind, answer.status}];
    if (is_acknowledged(slot.kind, answer.status)) {
      ++tally_.acknowledged;
      if (plan_.stamps && slot.kind == Kind::create) tally_.stamps.push_back({slot.recipient, slot.due});
    }
    answered_(slot.kind, answer);
    free(index);
    return {};
  }

  core::Result<> lost(std::size_t index) {
    ++tally_.lost;
    if (auto open = open_slot(index); !open) return open;
    if (slots_[index].busy) free(index);
    return {};
  }

  void free(std::size_t index) {
    slots_[index].busy = false;
    --busy_;
    idle_.push_back(index);
  }

  const RunPlan& plan_;
  const std::function<std::optional<Request>()>& next_;
  const std::function<void(Kind, const Answer&)>& answered_;
  int epoll_ = -1;
  std::vector<Slot> slots_;
  std::vector<std::size_t> idle_;
  std::size_t busy_ = 0;
  std::uint64_t sent_ = 0;
  bool exhausted_ = false;
  Clock::time_point start_;
  Tally tally_;
};

}  // namespace

core::Result<Tally> run_load(const RunPlan& plan, const std::function<std::optional<Request>()>& next,
                             const std::function<void(Kind, const Answer&)>& answered) {
  return Run(plan, next, answered).go();
}

}  // namespace mailotp::bench
